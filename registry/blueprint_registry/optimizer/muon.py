"""Steps along the nearest orthogonal matrix."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Optimizer
from blueprint_registry.optimizer._rates import Beta, Rated

if TYPE_CHECKING:
    import torch

    from blueprint.ops import Weight


@register("muon")
class Muon(Rated):
    """The momentum of each hidden matrix, made orthogonal by a Newton-Schulz iteration, is its step (Jordan et al.,
    2024, https://kellerjordan.github.io/posts/muon). Projections are such matrices, and each of a stack of experts is;
    tables, heads, convolutions and vectors are not, and move as `rest` says."""

    lr: PositiveFloat = 0.02
    """Peak learning rate of the matrices; the schedule multiplies it."""

    momentum: Beta = 0.95
    """Share of the running sum of gradients that stays from step to step."""

    nesterov: bool = True
    """Whether a step takes the gradient plus the momentum's share of the sum, in place of the sum."""

    iterations: PositiveInt = 5
    """Newton-Schulz iterations of a step: after five, singular values lie between about 0.7 and 1.2."""

    scale: Literal["shape", "rms"] = "shape"
    """What multiplies a step of an (out, in) matrix: `shape` √max(1, out/in) (Jordan et al., 2024), `rms`
    0.2 √max(out, in), the size of Adam's steps, so that rates tuned for Adam do (Liu et al., 2025, *Muon is Scalable
    for LLM Training*, §2.2)."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Share, times the learning rate, by which matrices shrink a step (Liu et al., 2025, take 0.1 with `rms`)."""

    rest: Optimizer = slot("adamw")
    """What moves everything else."""

    @rule("momentum", "nesterov")
    def _nesterov_needs_momentum(momentum: float, nesterov: bool) -> Faults:
        if nesterov and not momentum:
            return Fault("`nesterov` does nothing without `momentum`", "nesterov", "say `nesterov: false`")
        return None

    @rule("rest")
    def _rest_is_no_muon(rest: Optimizer) -> Faults:
        if isinstance(rest, Muon):
            return Fault("`muon` moves matrices, and has none left for another", "rest", "say `rest: adamw`")
        if rest.groups:
            return Fault("groups are of the whole optimizer", "rest.groups", "say them beside `rest`")
        return None

    def build(self, at: Site) -> "Callable[[Iterable[Weight]], torch.optim.Optimizer]":
        """A function from weights to the optimizer."""
        from blueprint.ops import Together, parameter_groups
        from blueprint_registry.optimizer.muon_nn import Orthogonal

        rest = self.rest.build(at.child("rest"))

        def make(weights: "Iterable[Weight]") -> "torch.optim.Optimizer":
            weights = list(weights)
            parts: list[torch.optim.Optimizer] = []
            if hidden := [each for each in weights if each.hidden]:
                groups = parameter_groups(hidden, self.lr, self.weight_decay)
                parts.append(Orthogonal(groups, self.momentum, self.nesterov, self.iterations, self.scale))
            if others := [each for each in weights if not each.hidden]:
                parts.append(rest(others))
            return Together(parts)

        return make
