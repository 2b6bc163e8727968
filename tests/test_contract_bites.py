"""The contract test catches what breaks the contract: components with one mistake each, and the promise each breaks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blueprint.component import MEMBERS, Component, Number, register
from blueprint.kinds import Attention, FeedForward, Norm, Objective, Optimizer, Position, Schedule, Tokenizer
from blueprint.ops import KVState, Linear
from blueprint.testing import ContractError, contract

Mistake = tuple[type[Component], Callable[[Any, Any], Any], str]


class Mixer(nn.Module):
    """A running mean of what came before; each mistake changes one line of it."""

    def __init__(self, at: Any) -> None:
        super().__init__()
        self.v = Linear(at.width, at.width, bias=False)

    def weighed(self, flow: Any, x_BTD: Tensor) -> Tensor:
        """Which tokens count (B, T, 1)."""
        return torch.ones_like(x_BTD[..., :1]) if flow.keep_BT is None else flow.keep_BT[..., None].to(x_BTD)

    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        keep_BT1 = self.weighed(flow, x_BTD)
        return (self.v(x_BTD) * keep_BT1).cumsum(1) / keep_BT1.cumsum(1).clamp(min=1), {}


class Sound(Mixer):
    """No mistake at all."""


class SeesTheFuture(Mixer):
    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        keep_BT1 = self.weighed(flow, x_BTD)
        return ((self.v(x_BTD) * keep_BT1).sum(1, True) / keep_BT1.sum(1, True)).expand_as(x_BTD), {}


class SeesTheFutureInTraining(Mixer):
    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        return (SeesTheFuture if self.training else Mixer).forward(self, x_BTD, flow, state)


class SeesPadding(Mixer):
    def weighed(self, flow: Any, x_BTD: Tensor) -> Tensor:
        return torch.ones_like(x_BTD[..., :1])


class SeesOtherRows(Mixer):
    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        return super().forward(x_BTD - x_BTD.mean(0, keepdim=True), flow)


class Forgets(Mixer):
    def new_state(self, batch: int, length: int, dtype: Any = None, device: Any = None) -> Any:
        return KVState(batch, 1, length, 4, 4, dtype=dtype, device=device)


class Draws(Mixer):
    """Numbers that no seed decides, and no checkpoint keeps."""

    def __init__(self, at: Any) -> None:
        super().__init__(at)
        self.noise = torch.tensor(list(os.urandom(at.width))).float()

    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        return super().forward(x_BTD + self.noise.to(x_BTD), flow)


class BeginsAnywhere(Mixer):
    """Weights that no seed decides."""

    def __init__(self, at: Any) -> None:
        super().__init__(at)
        self.gain = nn.Parameter(torch.tensor(list(os.urandom(at.width))) / 255)

    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        return super().forward(x_BTD * self.gain, flow)


class OnlyFloat32(Mixer):
    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        return super().forward(x_BTD.float(), flow)


class ReadsValues(Mixer):
    def __init__(self, at: Any) -> None:
        super().__init__(at)
        self.scale = float(self.v.weight.detach().sum()) + 1

    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        return super().forward(x_BTD * self.scale, flow)


class OneWidth(Mixer):
    def __init__(self, at: Any) -> None:
        super().__init__(replace(at, width=32))


class Unused(Mixer):
    def __init__(self, at: Any) -> None:
        super().__init__(at)
        self.bias = nn.Parameter(torch.zeros(at.width))


class Explodes(Mixer):
    def forward(self, x_BTD: Tensor, flow: Any, state: Any = None) -> Any:
        y_BTD, terms = super().forward(x_BTD, flow)
        return y_BTD + (self.v.weight[0, 0] * 0).sqrt(), terms


MIXERS = {
    SeesTheFuture: "causality",
    SeesTheFutureInTraining: "causality",
    SeesPadding: "padding is nothing",
    SeesOtherRows: "rows do not see each other",
    Forgets: "step by step equals at once",
    Draws: "state dict copy and meta",
    BeginsAnywhere: "same seed same weights",
    OnlyFloat32: "runs in bfloat16",
    ReadsValues: "state dict copy and meta",
    OneWidth: "builds at several sites",
    Unused: "finite gradient to every parameter",
    Explodes: "finite gradient to every parameter",
}


class ShiftedNorm(nn.Module):
    """A bias beside the graph."""

    def __init__(self, at: Any) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(at.width))

    def forward(self, x: Tensor) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True) + self.bias.detach()


class Wide(nn.Module):
    def forward(self, x_BTD: Tensor, flow: Any) -> Any:
        return x_BTD.double(), {}


class CountsPlaces(nn.Module):
    """A bias by where tokens lie, whatever their positions."""

    def bias(self, q_position_BT: Tensor, k_position_BS: Tensor) -> Tensor:
        bias_S = 0.1 * torch.arange(k_position_BS.shape[1]).square()
        return bias_S.expand(1, 1, q_position_BT.shape[1], -1)


class Silent:
    """A loss that teaches nothing."""

    def __call__(self, model: Any, batch: Any) -> Any:
        loss = model(batch["input_ids"]).hidden.square().mean()
        return loss, {"loss": loss}


class Lossy(Tokenizer):
    vocab_size = property(lambda self: 256)

    def encode(self, text: str) -> Any:
        return list(text.lower().encode())

    def decode(self, ids: Any) -> str:
        return bytes(ids).decode()


def half(at: Any) -> Any:
    """An optimizer of every other parameter."""
    return lambda named: torch.optim.SGD([parameter for _, parameter in list(named)[::2]], lr=1e-2)


OTHERS: dict[str, tuple[type[Component], dict[str, Any], str]] = {
    "norm": (Norm, {"build": lambda said, at: ShiftedNorm(at)}, "finite gradient to every parameter"),
    "dtype": (FeedForward, {"build": lambda said, at: Wide()}, "RuntimeError"),
    "places": (Position, {"build": lambda said, at: CountsPlaces()}, "documents in a row are as alone"),
    "negative": (Schedule, {"factor": lambda said, step, total: 1 - step}, "factor is finite and not negative"),
    "half": (Optimizer, {"build": lambda said, at: half(at)}, "a step moves every parameter downhill"),
    "silent": (Objective, {"build": lambda said, at: Silent()}, "loss is finite and teaches every parameter"),
    "lossy": (Lossy, {"build": lambda said, at: said}, "text comes back"),
}


@pytest.fixture
def made() -> Iterator[Callable[..., tuple[str, str]]]:
    """Registers a component for a test: (kind, name)."""
    made: list[type[Component]] = []

    def make(base: type[Component], doc: str = "A component with a mistake (nobody, 2024).", **body: Any) -> Any:
        cls = type("Broken", (base,), {"__doc__": doc, "__module__": __name__, **body})
        made.append(register("broken")(cls))
        return cls.kind, cls.spec_name

    yield make
    for cls in made:
        del MEMBERS[cls.kind, cls.spec_name]


def test_a_sound_component_keeps_it(made: Callable[..., tuple[str, str]]) -> None:
    assert contract(*made(Attention, build=lambda said, at: Sound(at)))


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda cls: cls.__name__)
def test_a_mixers_mistake_is_caught(mixer: type[Mixer], made: Callable[..., tuple[str, str]]) -> None:
    kind, name = made(Attention, build=lambda said, at: mixer(at))
    with pytest.raises(ContractError, match=f"- {MIXERS[mixer]}, with"):
        contract(kind, name)


@pytest.mark.parametrize("mistake", OTHERS)
def test_mistakes_of_other_kinds_are_caught(mistake: str, made: Callable[..., tuple[str, str]]) -> None:
    base, body, promise = OTHERS[mistake]
    kind, name = made(base, **body)
    with pytest.raises(ContractError, match=promise):
        contract(kind, name)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"doc": "Mixes."}, "has no docstring"),
        ({"doc": "A component with a mistake, from nowhere."}, "names no source"),
        ({"__annotations__": {"inner": Number}, "inner": 1}, "no description of inner"),
    ],
)
def test_what_is_not_documented_is_caught(body: Any, words: str, made: Callable[..., tuple[str, str]]) -> None:
    kind, name = made(Attention, build=lambda said, at: Sound(at), **body)
    with pytest.raises(ContractError, match=words):
        contract(kind, name)


def test_a_shipped_attention_whose_state_forgets_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    append = KVState.append

    def forgets(self: KVState, k: Tensor, v: Tensor, flow: Any) -> Any:
        return append(self, torch.zeros_like(k), v, flow)

    monkeypatch.setattr(KVState, "append", forgets)
    with pytest.raises(ContractError, match="step by step equals at once"):
        contract("attention", "multi_head", {"heads": 4})
