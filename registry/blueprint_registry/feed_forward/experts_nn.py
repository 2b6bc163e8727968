"""A mixture of experts, computed.

B batch, T tokens, N = B·T, D model width, E experts, R rows at work (a token stands in one for each of its experts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Groups, Linear, Routing, dispatch, merge_terms, run_stacked, stack
from blueprint_registry.feed_forward._measured_nn import Measured

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.feed_forward.experts import Experts


class ExpertsFeedForward(nn.Module):
    """`(x_BTD, flow) -> (x_BTD, terms)`: the weighted sum of a token's experts, and what is shared."""

    def __init__(self, said: Experts, at: Site) -> None:
        super().__init__()
        self.said = said
        built = [(site, part.build(site)) for _, part, site in said.parts(at)]
        made = {site.path.removeprefix(f"{at.path}."): part for site, part in built}
        self.router: Any = made["router"]
        self.experts = stack(made["experts"], said.experts)
        for module in self.experts.modules():
            # Of what experts hold, a token meets so many in all.
            module.active_share = said.router.choices(at) / said.experts  # type: ignore[assignment]
        self.shared = made.get("shared")
        self.shared_gate = Linear(at.width, 1, bias=False) if said.shared_gate else None
        self.balances = nn.ModuleList(part for name, part in made.items() if name.startswith("balance"))
        self.measured = Measured(said.experts)

    def forward(self, x_BTD: Tensor, flow: Flow) -> tuple[Tensor, dict[str, Tensor]]:
        """Route, serve, and while a model learns balance and measure."""
        asked: Routing = self.router(x_BTD, flow).kept(flow.keep_BT)
        routing = asked
        terms: dict[str, Tensor] = {}

        def run(x_RD: Tensor, token_R: Tensor, groups: Groups) -> Tensor:
            y_RD, more = run_stacked(self.experts, x_RD, flow, groups)
            merge_terms(terms, more)
            return y_RD

        x_ND = x_BTD.flatten(0, 1)
        y_BTD = dispatch(x_ND, routing, run, weigh_input=self.said.weigh == "input").view_as(x_BTD)
        if self.shared is not None:
            shared_BTD, more = self.shared(x_BTD, flow)
            merge_terms(terms, more)
            y_BTD = y_BTD + (shared_BTD if self.shared_gate is None else self.shared_gate(x_BTD).sigmoid() * shared_BTD)
        if torch.is_grad_enabled():
            for balance in self.balances:
                merge_terms(terms, balance(asked, flow))
        if self.training:
            self.measured.add(asked, routing)
        return y_BTD, terms

    @torch.no_grad()
    def settle(self, everyone: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """After an optimizer step: balances adjust the router by the load; what was measured, and begins anew."""
        load_E, statistics = self.measured.take(everyone)
        for balance in self.balances:
            adjust = getattr(balance, "adjust", None)
            if adjust is not None:
                adjust(self.router, load_E)
        return statistics
