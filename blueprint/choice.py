"""Which backend computes an attention, and why: plain data, so that a plan can say it without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from blueprint.visible import Visible


@dataclass(frozen=True)
class Choice:
    """The name of a backend and one phrase on why it was chosen."""

    name: str
    reason: str


@dataclass(frozen=True)
class Case:
    """An attention to be computed, as far as the choice depends on it."""

    visible: Visible
    plain: bool
    softcap: bool
    bias: bool
    sinks: bool
    dropout: float
    device: str
    q_len: int
    k_len: int
    values: bool = False

    @property
    def open(self) -> bool:
        """Every key is visible, as far as the symbolic mask goes."""
        return self.visible == Visible()

    @property
    def simple(self) -> bool:
        """Nothing needs to be materialised: every key, or plain causal over equal lengths."""
        return self.open or (self.plain and self.visible == Visible(ahead=0) and self.q_len == self.k_len)

    @property
    def banded(self) -> bool:
        """A query sees a bounded stretch on both sides."""
        return self.visible.back is not None and self.visible.ahead is not None


Test = Callable[[Case], bool]


@dataclass(frozen=True)
class Backend:
    """What one backend cannot do, when it is worth taking unasked, and the words for both."""

    name: str
    limits: tuple[tuple[Test, str], ...]
    worth: Test
    reason: Callable[[Case], str]

    def refusal(self, case: Case) -> str | None:
        """Why it cannot, or None if it can."""
        return next((why for applies, why in self.limits if applies(case)), None)


def _reason_sdpa(case: Case) -> str:
    if case.bias:
        return "scaled dot product, the bias as its mask"
    return "scaled dot product, no mask held" if case.simple else "scaled dot product under a boolean mask"


def _reason_dense(case: Case) -> str:
    causes = [word for word, applies in _CAUSES if applies(case)]
    return "all scores at once" + (f", for the {' and the '.join(causes)}" if causes else "")


_CAUSES: tuple[tuple[str, Test], ...] = (
    ("softcap", lambda c: c.softcap),
    ("sinks", lambda c: c.sinks),
    ("values of positions", lambda c: c.values),
)

SHORTEST_BLOCKED = 64  # below it one masked call costs less than several small ones

# In order of preference; the last can do everything.
BACKENDS: tuple[Backend, ...] = (
    Backend(
        "flex",
        limits=(
            (lambda c: c.device != "cuda", "FlexAttention trains only on CUDA"),
            (lambda c: c.values, "FlexAttention gathers nothing beside the values"),
            (lambda c: c.bias, "a bias is a function of tensors FlexAttention would have to be recompiled for"),
            (lambda c: c.sinks, "FlexAttention has no sinks"),
            (lambda c: c.dropout > 0, "FlexAttention has no dropout"),
        ),
        worth=lambda c: not c.simple and c.q_len >= 128,
        reason=lambda c: f"compiled blocks: {c.visible.describe()}",
    ),
    Backend(
        "blocked",
        limits=(
            (lambda c: not c.banded, "the mask has no finite window on both sides"),
            (lambda c: c.q_len != c.k_len, "queries and keys are not the same tokens"),
        ),
        worth=lambda c: c.k_len >= SHORTEST_BLOCKED,
        reason=lambda c: f"linear in length: {c.visible.describe()}",
    ),
    Backend(
        "sdpa",
        limits=(
            (lambda c: c.softcap, "scaled dot product has no softcap"),
            (lambda c: c.sinks, "scaled dot product has no sinks"),
            (lambda c: c.values, "scaled dot product gathers nothing beside the values"),
        ),
        worth=lambda c: True,
        reason=_reason_sdpa,
    ),
    Backend("dense", limits=(), worth=lambda c: True, reason=_reason_dense),
)


class BackendError(ValueError):
    """A backend that was asked for and cannot do it: on this device, or at all."""


@lru_cache(maxsize=1024)
def choose(
    visible: Visible,
    *,
    plain: bool,
    softcap: bool,
    bias: bool,
    sinks: bool,
    dropout: float,
    device: str,
    q_len: int,
    k_len: int,
    values: bool = False,
    forced: str | None = None,
) -> Choice:
    """The backend for an attention of `q_len` queries over `k_len` keys on `device` (a type: "cpu", "cuda").

    `plain` says that nothing is padded and the keys are the latest tokens. Bounds too wide to bind at this length
    are ignored, unless a backend is `forced`. Raises `BackendError`, saying why, if the forced one cannot.
    """
    case = Case(visible.within(k_len), plain, softcap, bias, sinks, dropout, device, q_len, k_len, values)
    if forced is None:
        chosen = next(b for b in BACKENDS if b.refusal(case) is None and b.worth(case))
        return Choice(chosen.name, chosen.reason(case))
    asked = next((b for b in BACKENDS if b.name == forced), None)
    if asked is None:
        raise BackendError(f"no attention backend {forced!r}: there are {', '.join(b.name for b in BACKENDS)}")
    case = Case(visible, plain, softcap, bias, sinks, dropout, device, q_len, k_len, values)
    if why := asked.refusal(case):
        raise BackendError(f"attention backend {forced!r} cannot: {why} (`auto` takes the fastest that can)")
    return Choice(forced, "asked for")
