"""Components of a user's own, one of each of several kinds: what they share with those that ship is the contract."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

import blueprint as bp
from blueprint.component import Fault, Faults, Number, Site, Size, rule
from blueprint.kinds import Attention, FeedForward, Init, Mask, Norm, Position, Residual, Schedule
from blueprint.ops import Linear
from blueprint.visible import Visible
from blueprint_registry.activation import Activation


@bp.register("own_shift")
class Shift(Attention):
    """Every token sees itself and the one before it, in halves (RWKV's token shift: Peng et al., 2023, §3.1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"causal", "linear_cost"})

    inner: Size = "d_model"
    """Width of what is shifted."""

    def build(self, at: Site) -> nn.Module:
        """The module."""
        assert isinstance(self.inner, int)
        return ShiftMixer(self.inner, at.width)


class ShiftMixer(nn.Module):
    """o(v(x) + v of the token before)."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.v, self.o = Linear(width, inner, bias=False), Linear(inner, width, bias=False, role="residual")

    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D) to (B, T, D); padding is nothing, to the left of a token too."""
        v_BTI = self.v(x_BTD)
        if flow.keep_BT is not None:
            v_BTI = v_BTI * flow.keep_BT[..., None].to(v_BTI)
        return self.o(v_BTI + nn.functional.pad(v_BTI, (0, 0, 1, -1))), {}


@bp.register("own_mean_size")
class MeanSize(Norm):
    """x over the mean of its absolute values, to a power (as ‖x‖₁ in Wu et al., 2018, *L1-Norm*, §3)."""

    eps: PositiveFloat = 1e-4
    """Added to the mean."""
    affine: bool = True
    """Whether each channel has a weight."""

    def build(self, at: Site) -> nn.Module:
        """The module."""
        return MeanSizeNorm(self, at.width)


class MeanSizeNorm(nn.Module):
    """x / (mean |x| + eps) · weight."""

    def __init__(self, said: MeanSize, width: int) -> None:
        super().__init__()
        self.eps = said.eps
        self.weight = nn.Parameter(torch.ones(width)) if said.affine else None

    def forward(self, x_ND: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        y_ND = x_ND / (x_ND.abs().mean(-1, keepdim=True) + self.eps)
        return y_ND if self.weight is None else y_ND * self.weight


@bp.register("own_low_rank")
class LowRank(FeedForward):
    """Two maps through a narrow middle, with nothing between them (Hu et al., 2021, §4.1)."""

    rank: PositiveInt = 4
    """Width of the middle."""
    gain: Number = 1
    """What the output is multiplied with."""

    def check(self, at: Site) -> Faults:
        """The middle must be the narrower."""
        return None if self.rank < at.width else Fault(f"{self.rank} is not narrow in {at.width}", "rank", "say less")

    def build(self, at: Site) -> nn.Module:
        """The module."""
        return LowRankMap(self.rank, at.number(self.gain), at.width)


class LowRankMap(nn.Module):
    """gain · up(down(x))."""

    def __init__(self, rank: int, gain: float, width: int) -> None:
        super().__init__()
        self.gain = gain
        self.down, self.up = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)

    def forward(self, x_BTD: Tensor, flow: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, D) to (B, T, D), and a statistic."""
        y_BTD = self.gain * self.up(self.down(x_BTD))
        return y_BTD, {"own_size": y_BTD.detach().float().square().mean()}


@dataclass(frozen=True)
class EveryNth:
    """Whether two places are a multiple of n apart."""

    n: int

    def __call__(self, q_order: Any, k_order: Any) -> Any:
        """(i − j) mod n = 0."""
        return (q_order - k_order) % self.n == 0


@bp.register("own_every_nth")
class Nth(Mask):
    """Keys that lie a multiple of n before or behind the query (Child et al., 2019, §4.3, second head)."""

    n: Annotated[int, Field(gt=1)] = 2
    """How far the keys lie apart."""

    def visible(self, at: Site) -> Visible:
        """A predicate alone, however far."""
        return Visible(tests=(EveryNth(self.n),))


@bp.register("own_log_distance")
class LogDistance(Position):
    """−slope · log(1 + |i − j|) added to the scores, with a slope that is learned (Chi et al., 2022, *KERPLE*, §4)."""

    traits: ClassVar[frozenset[str]] = frozenset({"positional", "bias"})

    slope: PositiveFloat = 1.0
    """Where the slope begins."""

    def build(self, at: Site) -> nn.Module:
        """The module."""
        return LogDistanceBias(self.slope)


class LogDistanceBias(nn.Module):
    """One slope for all heads."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def bias(self, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
        """Positions (B, T) of queries and (B, S) of keys to (B, 1, T, S)."""
        distance_BTS = (q_position_BT[:, :, None] - k_position_BS[:, None, :]).abs()
        return -self.slope * distance_BTS[:, None].to(self.slope).log1p()


@bp.register("own_leaky")
class Leaky(Residual):
    """A stream that forgets a share of itself (Srivastava et al., 2015, with a fixed gate)."""

    keep: Annotated[float, Field(gt=0, le=1)] = 0.9
    """What is left of the stream."""

    def build(self, at: Site) -> nn.Module:
        """The module."""
        return LeakyStream(self.keep)


class LeakyStream(nn.Module):
    """keep · x + y."""

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        """(B, T, D) twice to (B, T, D)."""
        return self.keep * x_BTD + y_BTD


@bp.register("own_sine")
class Sine(Activation):
    """sin(ω x) (Sitzmann et al., 2020, eq. 3)."""

    omega: PositiveFloat = 1.0
    """How fast it goes round."""

    def build(self, at: Site) -> nn.Module:
        """The module."""
        return SineActivation(self.omega)


class SineActivation(nn.Module):
    """Elementwise."""

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return torch.sin(self.omega * x)


@bp.register("own_uniform")
class Uniform(Init):
    """Every matrix and table from U(−a, a) (LeCun et al., 1998, §4.6)."""

    bound: PositiveFloat = 0.05
    """The end a of the interval."""

    def build(self, at: Site) -> "Uniform":
        """Itself: it holds nothing but what is said."""
        return self

    def fill(
        self, role: str, tensor: Tensor, fan_in: int, fan_out: int, generator: torch.Generator, layers: int
    ) -> None:
        """Fill `tensor` in place, whatever its role."""
        tensor.uniform_(-self.bound, self.bound, generator=generator)


@bp.register("own_stairs")
class Stairs(Schedule):
    """The rate halved again and again (He et al., 2016, §3.4, with tenths)."""

    every: PositiveInt = 10
    """Steps between two stairs."""
    down_to: Annotated[float, Field(gt=0, le=1)] = 0.5
    """What is left of the rate after each."""

    @rule("every", "down_to")
    def _goes_down(every: int, down_to: float) -> Faults:
        return Fault("a stair that is level is no stair", "down_to", "say less than 1") if down_to == 1 else None

    def factor(self, step: int, total: int) -> float:
        """How much is left after so many steps."""
        return self.down_to ** (step // self.every)
