"""What was measured, as data and as a table; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blueprint.cost.units import count, decimal, flops, size

#: Bits of a number.
FORMATS = {"float32": 32, "bfloat16": 16, "float16": 16, "float8": 8, "int8": 8, "int4": 4}


@dataclass(frozen=True)
class Layers:
    """A run of equal layers: `parameters` and `by_part` of one, `own` how many have weights of their own.

    `shared` are parameters besides, of parts that belong to the stack and that other layers use too.
    """

    side: str
    indices: tuple[int, ...]
    variant: str
    parameters: int
    by_part: dict[str, int]
    own: int
    shared: int = 0
    #: Of one layer's parameters, those a token passes through.
    active: int | None = None

    @property
    def span(self) -> str:
        """The layers meant, as `3` or `0-31`."""
        first, last = self.indices[0], self.indices[-1]
        return str(first) if first == last else f"{first}-{last}"

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "side": self.side,
            "layers": list(self.indices),
            "variant": self.variant,
            "parameters": self.parameters,
            "active_parameters": self.parameters if self.active is None else self.active,
            "by_part": self.by_part,
            "own": self.own,
            "shared": self.shared,
        }


@dataclass(frozen=True)
class Memory:
    """Bytes of one training step on one device; `activations` is the most that forward and backward hold beyond the
    others, `updating` the most that the optimizer takes for a moment once these are gone, `averages` what the means of
    the weights take (`ema`)."""

    weights: int
    gradients: int
    optimizer: int | None
    activations: int | None
    averages: int = 0
    updating: int | None = field(default=0, kw_only=True)

    @property
    def training(self) -> int | None:
        """The most at one time: the gradients of the step before still stand while the next forward runs."""
        if self.optimizer is None or self.activations is None or self.updating is None:
            return None
        kept = self.weights + self.gradients + self.optimizer + self.averages
        return kept + max(self.activations, self.updating)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "activations": self.activations,
            "averages": self.averages,
            "updating": self.updating,
            "training": self.training,
        }


@dataclass(frozen=True)
class Cost:
    """What a model costs in parameters, operations and bytes; None is unknown, and `unknown` says why.

    Parameters are counted once, however often they are used. Active are those a token passes through; a table that is
    looked up counts whole. Operations are those of matrix products, convolutions and attention, a multiplication with
    its addition being two; attention counts the visible pairs alone. `flops_per_token` is the forward's mean over a
    sequence of `length`; `flops_training` is forward and backward of one batch. `cache_bytes_per_token` is what one
    more token of one sequence adds at `length`, `cache_bytes` what the whole batch holds there. A model that reads a
    source and writes a target is taken to do so with `length` tokens each. Experts are taken to be used evenly: whom a
    token goes to is unknown without data, to how many is not.
    """

    name: str
    length: int | None
    batch: int
    precision: str
    parameters: int
    active_parameters: int
    by_part: dict[str, int]
    layers: tuple[Layers, ...]
    flops_forward: int | None
    flops_attention: int | None
    flops_training: int | None
    cache_bytes_per_token: int | None
    cache_bytes: int | None
    memory: Memory
    unknown: dict[str, str] = field(default_factory=dict)
    #: Tokens of one sample in all stacks, where they are more than `length`.
    tokens: int | None = None

    @property
    def weights_by_format(self) -> dict[str, float]:
        """Bytes of all parameters, were each held in a number format alone; the scales of the narrow ones are extra."""
        return {name: self.parameters * bits / 8 for name, bits in FORMATS.items()}

    @property
    def flops_per_token(self) -> float | None:
        """Operations of a forward for each token."""
        tokens = self.tokens or self.length
        if self.flops_forward is None or tokens is None:
            return None
        return self.flops_forward / (self.batch * tokens)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values: counts, operations and bytes as plain numbers."""
        return {
            "name": self.name,
            "length": self.length,
            "batch": self.batch,
            "precision": self.precision,
            "parameters": self.parameters,
            "active_parameters": self.active_parameters,
            "by_part": self.by_part,
            "layers": [layers.to_plain() for layers in self.layers],
            "flops_forward": self.flops_forward,
            "flops_attention": self.flops_attention,
            "flops_training": self.flops_training,
            "flops_per_token": self.flops_per_token,
            "cache_bytes_per_token": self.cache_bytes_per_token,
            "cache_bytes": self.cache_bytes,
            "memory": self.memory.to_plain(),
            "weights_by_format": {name: int(held) for name, held in self.weights_by_format.items()},
            "unknown": self.unknown,
        }

    def __str__(self) -> str:
        at = f"batch {self.batch}" + (f" x {self.length} tokens" if self.length else "")
        title = f"{self.name}: {count(self.parameters)} parameters ({self.parameters:,})"
        sections = [
            ("parameters", self._parameter_rows()),
            (f"operations, {at}", self._operation_rows()),
            (f"memory of training, {self.precision}, {at}", self._memory_rows()),
            ("decoding", self._cache_rows()),
            ("weights alone, by number format", self._format_rows()),
        ]
        out = [title]
        for head, rows in sections:
            out += ["", head, *aligned(list(rows))]
        return "\n".join([*out, *reasons(self.unknown)])

    def _parameter_rows(self) -> Iterator[tuple[str, str, str]]:
        for part, number in self.by_part.items():
            yield part, f"{number:,}", f"{number / max(1, self.parameters):.1%}"
        yield "total", f"{self.parameters:,}", ""
        share = f"{self.active_parameters / max(1, self.parameters):.1%}"
        yield "active for a token", f"{self.active_parameters:,}", f"{share}, tables that are looked up counted whole"
        sides = {layers.side for layers in self.layers}
        for layers in self.layers:
            shared = "" if layers.own == len(layers.indices) else f", {layers.own} with weights of their own"
            shared += f", beside {layers.shared:,} of the stack" if layers.shared else ""
            name = f"layer {layers.span}" if len(layers.indices) == 1 else f"layers {layers.span}, each"
            name = f"{layers.side} {name}" if len(sides) > 1 else name
            if layers.active not in (None, layers.parameters):
                shared = f", {layers.active:,} active{shared}"
            yield name, f"{layers.parameters:,}", f"{layers.variant}{shared}"

    def _operation_rows(self) -> Iterator[tuple[str, str, str]]:
        share = None
        if self.flops_attention is not None and self.flops_forward:
            share = f"{self.flops_attention / self.flops_forward:.1%} in attention's scores"
        yield "forward", said(self.flops_forward, flops), share or ""
        even = "experts taken to be used evenly" if self.active_parameters < self.parameters else ""
        yield "forward, a token", said(self.flops_per_token, flops), even
        yield "training step", said(self.flops_training, flops), "forward and backward"

    def _memory_rows(self) -> Iterator[tuple[str, str, str]]:
        for name, number in self.memory.to_plain().items():
            if name == "averages" and not number:
                continue
            if name == "updating":
                if (number or 0) > (self.memory.activations or 0):
                    yield name, said(number, size), "the optimizer, once activations are gone"
                continue
            yield ("total" if name == "training" else name), said(number, size), ""

    def _format_rows(self) -> Iterator[tuple[str, str, str]]:
        held = self.weights_by_format
        for names in (("float32",), ("bfloat16", "float16"), ("float8", "int8"), ("int4",)):
            scales = ", and the scales" if FORMATS[names[0]] <= 8 else ""
            yield ", ".join(names), size(held[names[0]]), f"{decimal(held[names[0]])}{scales}"

    def _cache_rows(self) -> Iterator[tuple[str, str, str]]:
        yield "weights", size(self.memory.weights), ""
        yield "cache", said(self.cache_bytes, size), ""
        yield "cache, one more token", said(self.cache_bytes_per_token, size), ""


def reasons(unknown: dict[str, str]) -> list[str]:
    """Lines that say what is unknown, and why."""
    found: dict[str, list[str]] = {}
    for name, reason in unknown.items():
        found.setdefault(reason, []).append(name)
    return ["", *(f"unknown: {', '.join(names)}: {reason}" for reason, names in found.items())] if found else []


def said(number: float | None, say: Any) -> str:
    """A number in words, or that it is unknown."""
    return "unknown" if number is None else str(say(number))


def aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    """Rows of a name, a number and a note as lines."""
    if not rows:
        return []
    names = max(len(row[0]) for row in rows)
    numbers = max(len(row[1]) for row in rows)
    return [f"  {name:<{names}}  {number:>{numbers}}  {note}".rstrip() for name, number, note in rows]
