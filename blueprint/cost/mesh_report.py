"""What a model costs on a mesh, as data and as a table; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blueprint.cost.mesh import Mesh, Speeds
from blueprint.cost.report import Memory, aligned, reasons, said
from blueprint.cost.units import count, flops, seconds, size


@dataclass(frozen=True)
class DeviceMemory(Memory):
    """Bytes of one training step on one device of a mesh; `transit` is what stands whole for a while besides: weights
    that are gathered, gradients that are yet to be reduced, DDP's buckets."""

    transit: int | None = None

    @property
    def training(self) -> int | None:
        """All together."""
        held = super().training
        return None if held is None or self.transit is None else held + self.transit

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        plain = super().to_plain()
        total = plain.pop("training")
        del plain["updating"]  # not told of what is spread
        return {**plain, "transit": self.transit, "training": total}


@dataclass(frozen=True)
class Sent:
    """Bytes that one device sends in a step by one kind of collective along one dimension, in how many `calls` (None:
    as many as the buckets that DDP makes)."""

    kind: str
    along: str
    bytes: int
    calls: int | None

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {"kind": self.kind, "along": self.along, "bytes": self.bytes, "calls": self.calls}


@dataclass(frozen=True)
class Bound:
    """Seconds that a step takes at least by the stated speeds; None where a speed was not stated, or the work is not
    known. `communication` is by dimension."""

    compute: float | None
    memory: float | None
    communication: dict[str, float] | None

    @property
    def known(self) -> dict[str, float]:
        """The bounds that there are."""
        links = None if self.communication is None else sum(self.communication.values())
        found = {"compute": self.compute, "memory": self.memory, "communication": links}
        return {name: bound for name, bound in found.items() if bound is not None}

    @property
    def overlapped(self) -> float | None:
        """What no step can do without, were all of it done at once: the longest."""
        return max(self.known.values(), default=None)

    @property
    def in_turn(self) -> float | None:
        """The same, one after the other: the sum."""
        return sum(self.known.values()) if self.known else None

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "compute": self.compute,
            "memory": self.memory,
            "communication": self.known.get("communication"),
            "communication_by_dimension": self.communication,
            "overlapped": self.overlapped,
            "in_turn": self.in_turn,
        }


@dataclass(frozen=True)
class MeshCost:
    """What a training step costs one device of a mesh; None is unknown, and `unknown` says why.

    `batch` are all sequences, `share` those of one device. `parameters` are the model's, `held` those that a device
    keeps between steps, `at_work` those it computes with, gathered. `flops_training` are a device's operations, forward
    and backward; `moved` the bytes its memory moves at the least. `sent` is None where it cannot be known without data.
    `uncut` are parts that tp does not divide, by how many pieces they come in: each device has them whole.
    """

    name: str
    mesh: Mesh
    speeds: Speeds
    length: int | None
    batch: int
    share: int
    precision: str
    parameters: int
    held: int
    at_work: int
    memory: DeviceMemory
    sent: tuple[Sent, ...] | None
    flops_training: int | None
    moved: int | None
    uncut: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def bound(self) -> Bound:
        """How long a step takes at least, by the stated speeds."""
        speeds, links = self.speeds, None
        if self.sent is not None and all(each.along in speeds.link for each in self.sent) and speeds.link:
            links = dict.fromkeys(self.mesh.sizes, 0.0)
            for each in self.sent:
                links[each.along] += each.bytes / speeds.link[each.along]
        return Bound(_over(self.flops_training, speeds.flops), _over(self.moved, speeds.memory), links)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values: counts, operations, bytes and seconds as plain numbers."""
        return {
            "name": self.name,
            "mesh": {**self.mesh.sizes, "devices": self.mesh.devices, "strategy": self.mesh.strategy},
            "length": self.length,
            "batch": self.batch,
            "batch_per_device": self.share,
            "precision": self.precision,
            "parameters": self.parameters,
            "parameters_held": self.held,
            "parameters_at_work": self.at_work,
            "memory": self.memory.to_plain(),
            "sent": None if self.sent is None else [each.to_plain() for each in self.sent],
            "flops_training": self.flops_training,
            "memory_moved": self.moved,
            "uncut": self.uncut,
            "speeds": {
                "link": dict(self.speeds.link),
                "memory_bandwidth": self.speeds.memory,
                "flops": self.speeds.flops,
            },
            "seconds_at_least": self.bound.to_plain(),
            "unknown": self.unknown,
        }

    def __str__(self) -> str:
        how = "fully sharded over dp" if self.mesh.sharded else f"the whole model on each ({self.mesh.strategy})"
        tokens = f" x {self.length} tokens" if self.length else ""
        devices = f"{self.mesh.devices} device{'s' if self.mesh.devices > 1 else ''}"
        sections = [
            ("parameters", self._parameter_rows()),
            (f"memory of a device, {self.precision}, {self.share} of {self.batch}{tokens}", self._memory_rows()),
            ("a device sends in a step", self._sent_rows()),
            ("a step takes at least", self._bound_rows()),
        ]
        out = [f"{self.name}: {count(self.parameters)} parameters on {devices}, {self.mesh}, {how}"]
        for head, rows in sections:
            table = aligned(list(rows))
            out += ["", head, *table] if table else []
        return "\n".join([*out, *reasons(self.unknown)])

    def _parameter_rows(self) -> Iterator[tuple[str, str, str]]:
        yield "all", f"{self.parameters:,}", ""
        yield "a device computes with", f"{self.at_work:,}", ""
        yield "a device holds", f"{self.held:,}", ""
        for name, pieces in self.uncut.items():
            yield f"whole over tp: {name}", "", f"comes in {pieces} pieces, which {self.mesh.tp} does not divide"

    def _memory_rows(self) -> Iterator[tuple[str, str, str]]:
        notes = {"transit": "weights and gradients while they are whole"}
        if not self.mesh.sharded:
            notes = {"transit": "gradients in buckets"}
        for name, number in self.memory.to_plain().items():
            if name != "averages" or number:
                yield ("total" if name == "training" else name), said(number, size), notes.get(name, "")

    def _sent_rows(self) -> Iterator[tuple[str, str, str]]:
        if self.sent is None:
            yield "in all", "unknown", ""
            return
        for each in self.sent:
            calls = "" if each.calls is None else f"in {each.calls:,} call{'s' if each.calls > 1 else ''}"
            yield f"{each.kind}, {each.along}", size(each.bytes), calls
        yield "in all", size(sum(each.bytes for each in self.sent)), ""

    def _bound_rows(self) -> Iterator[tuple[str, str, str]]:
        bound = self.bound
        notes = {
            "compute": f"{said(self.flops_training, flops)}, forward and backward",
            "memory": f"{said(self.moved, size)} read and written",
            "communication": ", ".join(f"{name} {seconds(each)}" for name, each in (bound.communication or {}).items()),
        }
        for name, each in bound.known.items():
            yield name, seconds(each), notes[name]
        if bound.overlapped is not None and bound.in_turn is not None:
            yield "overlapped", seconds(bound.overlapped), "the longest of them"
            yield "one after the other", seconds(bound.in_turn), "their sum"


def _over(work: int | None, speed: float | None) -> float | None:
    return None if work is None or speed is None else work / speed
