"""A mixture of experts: many feed-forwards, of which a few serve each token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PositiveInt

from blueprint.component import Component, Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Balance, FeedForward, Router
from blueprint_registry.feed_forward._capacity import Capacity

if TYPE_CHECKING:
    from blueprint_registry.feed_forward.experts_nn import ExpertsFeedForward


@register("experts")
class Experts(FeedForward):
    """A mixture of experts: Σ wᵢ(x) · expertᵢ(x) over the experts that a router chooses for a token (Jacobs et al.,
    1991, eq. 1; Shazeer et al., 2017, eq. 1), and what experts that all tokens share make of it (DeepSeekMoE, 2024,
    §3.2).

    Which layers have experts is said as for anything else of a layer: by `blocks` and `pattern`, or `overrides`.
    """

    experts: PositiveInt
    """How many experts there are, shared ones aside."""
    expert: FeedForward = slot("gated")
    """What each of them is; fine-grained experts are many with a small `d_ff`."""
    router: Router = slot("top_k")
    """Which of them serve a token, and with what weight."""
    weigh: Literal["output", "input"] = "output"
    """What a weight multiplies: what an expert gives, or what it is given (Llama 4, 2025)."""
    shared: FeedForward | None = slot(None)
    """What serves every token beside them: one feed-forward, as wide as all shared experts together; null for none."""
    shared_gate: bool = False
    """Whether what is shared is multiplied by the sigmoid of a linear map of the token (Qwen2-MoE, 2024, §2.2.2)."""
    balance: Balance | list[Balance] | None = slot(None)
    """What keeps experts evenly used, one or several; null for nothing."""

    capacity: Capacity | None = None
    """Room for so many tokens at every expert; null for all that come."""

    @rule("experts")
    def _leaves_a_choice(experts: int) -> Faults:
        if experts == 1:
            told = "among one expert there is nothing for a router to choose"
            return Fault(told, "experts", "say 2 or more, or let the `expert` be the feed-forward")
        return None

    @rule("shared", "shared_gate")
    def _gates_what_there_is(shared: FeedForward | None, shared_gate: bool) -> Faults:
        if shared_gate and shared is None:
            return Fault("there is nothing shared to gate", "shared_gate", "say `shared`, or leave `shared_gate` out")
        return None

    @rule("balance")
    def _balances_are_some(balance: Balance | list[Balance] | None) -> Faults:
        if isinstance(balance, list) and not balance:
            return Fault("an empty list names no balance", fix="say `balance: null`, or leave it out")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain; fine-grained beside a gated shared one, balanced; with biases, weights on the input, little room."""
        fine = {"experts": 8, "expert": {"type": "gated", "d_ff": 8}, "router": {"type": "top_k", "k": 3}}
        beside = {"shared": {"type": "gated", "d_ff": 16}, "shared_gate": True, "balance": "expert"}
        biased = {
            "experts": 4,
            "expert": {"type": "mlp", "d_ff": 16, "bias": True},
            "weigh": "input",
            "capacity": {"factor": 1.25},
        }
        return [{"experts": 4}, {**fine, **beside}, biased]

    @property
    def balances(self) -> tuple[Balance, ...]:
        """Every balance."""
        if self.balance is None:
            return ()
        return (self.balance,) if isinstance(self.balance, Balance) else tuple(self.balance)

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The expert, the router, what is shared, and the balances, each told how many experts there are."""
        router = self.router
        by_groups = self.capacity is not None and self.capacity.per == "group"
        told = {
            "experts": self.experts,
            "choices": router.choices(at.child("router", extra={"experts": self.experts})),
            "groups": router.group_count,
            "kept": router.groups_kept,
            "counted": by_groups or any("groups" in balance.needs for balance in self.balances),
            "gives": router.gives,
        }
        yield "expert", self.expert, at.child("experts")
        yield "router", self.router, at.child("router", extra=told)
        if self.shared is not None:
            yield "shared", self.shared, at.child("shared")
        for index, balance in enumerate(self.balances):
            name = "balance" if isinstance(self.balance, Balance) else f"balances.{index}"
            yield "balance", balance, at.child(name, extra=told)

    def serves(self, at: Site) -> str:
        """So many of the experts, and what is shared."""
        choices = self.router.choices(at.child("router", extra={"experts": self.experts}))
        shared = "" if self.shared is None else ", and what is shared"
        return f"{choices:.6g} of {self.experts} experts{shared}"

    def check(self, at: Site) -> Iterator[Fault]:
        """Balances get what they need of the router, and the capacity goes with it; no expert holds experts."""
        given = self.router.gives
        if self.capacity is not None:
            yield from self._crowded(self.capacity, at)
        for index, balance in enumerate(self.balances):
            where = "balance" if isinstance(self.balance, Balance) else f"balance.{index}"
            for need in sorted(balance.needs - given):
                told = f"balance `{balance.spec_name}` needs {_NEEDS.get(need, need)}, which router"
                yield Fault(f"{told} `{self.router.spec_name}` does not give here", where, _FIXES.get(need))
        if _chooses(self.expert):
            told = "an expert cannot choose among experts of its own: it is given tokens of many texts, and no texts"
            yield Fault(told, "expert", "say more and smaller `experts`; `groups` of the router choose in two steps")

    def _crowded(self, capacity: Capacity, at: Site) -> Iterator[Fault]:
        router = self.router
        if "looks_ahead" in router.traits:
            told = f"with router `{router.spec_name}` experts choose as many tokens as they have room for"
            yield Fault(told, "capacity", "leave `capacity` out, or choose another router")
            return
        choices = router.choices(at.child("router", extra={"experts": self.experts}))
        for fault in capacity.faults(router, choices, self.experts):
            yield replace(fault, at=f"capacity.{fault.at}")

    def passing(self) -> frozenset[str]:
        """So is a capacity that holds in training alone."""
        only = self.capacity is not None and not self.capacity.at_inference
        return super().passing() | ({"capacity"} if only else set())

    def miniature(self, at: Site) -> Self:
        """As few experts as keep the router's choices and groups apart."""
        few = self.router.fewest(at.child("router", extra={"experts": self.experts}))
        return super(Experts, self.model_copy(update={"experts": min(self.experts, few)})).miniature(at)

    def build(self, at: Site) -> ExpertsFeedForward:
        """The module from `at.width` to `at.width`."""
        from blueprint_registry.feed_forward.experts_nn import ExpertsFeedForward

        return ExpertsFeedForward(self, at)


def _chooses(part: Any) -> bool:
    """Whether a part is a router or holds one."""
    if isinstance(part, list | tuple):
        return any(map(_chooses, part))
    return isinstance(part, Component) and (part.kind == "router" or any(map(_chooses, vars(part).values())))


_NEEDS = {
    "probability": "probabilities that experts are chosen by",
    "weight": "learned weights of experts",
    "logits": "logits of experts",
    "load": "the chance of each expert's being chosen under noise",
    "correction": "a correction that it can adjust",
    "groups": "groups of experts",
}
_FIXES = {
    "probability": "leave the balance out, or say `router: top_k`",
    "weight": "leave the balance out, or say `router: top_k`",
    "logits": "leave the balance out, or say `router: top_k`",
    "load": "say `router: noisy_top_k`, or choose another balance",
    "correction": "say `correction: score` of a `top_k` router, or choose another balance",
    "groups": "say `groups` of a `top_k` router, or choose another balance",
}
