"""What training holds in memory under each precision of the language, measured as `bp.cost` measures one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from blueprint.cost import memory
from blueprint.cost.cost import activations
from blueprint.cost.report import Memory
from blueprint.cost.units import size
from blueprint.model.build import build_plan
from blueprint.model.weights import freeze
from blueprint.plan import plan
from blueprint.schema.precision import PrecisionPolicy
from blueprint.schema.spec import Spec

#: The precisions of the language; those that stand together differ in no number's width.
PRECISIONS = (("32-true",), ("16-mixed", "bf16-mixed"), ("16-true", "bf16-true"), ("64-true",))


@dataclass(frozen=True)
class Under:
    """The memory of training under the precisions of one width, with the roles that then stay in float32."""

    names: tuple[str, ...]
    kept: tuple[str, ...]
    memory: Memory

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {"precisions": list(self.names), "float32": list(self.kept), **self.memory.to_plain()}


def precisions(spec: Spec, length: int | None, batch: int = 1) -> tuple[Under, ...]:
    """The memory of training with `batch` sequences of `length` tokens under each precision: for 16 bits with what the
    spec's policy keeps in float32, and with nothing kept.

    What does not run without data, and activations where no length is known, are None.
    """
    kept = tuple(sorted((spec.precision or PrecisionPolicy()).kept))
    rows = ((names, roles) for names in PRECISIONS for roles in (dict.fromkeys((kept, ())) if _low(names) else ((),)))
    return tuple(_under(spec, names, roles, length, batch) for names, roles in rows)


def _low(names: tuple[str, ...]) -> bool:
    """Whether a precision computes in 16 bits, so that something may be kept from it."""
    return "16" in names[0]


def _under(spec: Spec, names: tuple[str, ...], kept: tuple[str, ...], length: int | None, batch: int) -> Under:
    # Not read from text again: on this device it may be one that does not train.
    changed = spec.model_copy(
        update={
            "trainer": spec.trainer.model_copy(update={"precision": names[-1]}),
            "precision": PrecisionPolicy(float32=list(kept)),  # type: ignore[arg-type]
        }
    )
    written = plan(changed)
    model = memory.cast(build_plan(written, device="meta"), names[-1])
    freeze(model, changed)
    try:
        held = None if length is None else activations(changed, written, length, batch)["activations"]
        state: int | None = memory.optimizer_state(changed, model, written)
        update: int | None = memory.updating(changed, model, written)
    except Exception:  # a part may do anything; `bp.cost` says what it did
        held = state = update = None
    weights, gradients = memory.weights(model)
    return Under(names, kept, Memory(weights, gradients, state, held, memory.averages(changed, model), updating=update))


def table(found: Iterable[Under], length: int | None, batch: int) -> str:
    """The figures as a person reads them."""
    at = f"batch {batch}" + (f" x {length} tokens" if length else "")
    rows = [("precision", "weights", "gradients", "optimizer", "activations", "total", ""), *_rows(found)]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([f"  {name:<{wide[0]}}", *(f"{each:>{w}}" for each, w in zip(held, wide[1:-1], strict=True)), note])
        for name, *held, note in rows
    ]
    return "\n".join([f"memory of training by precision, {at}", *(line.rstrip() for line in lines)])


def _rows(found: Iterable[Under]) -> Iterator[tuple[str, ...]]:
    for each in found:
        held = each.memory
        parts = (held.weights, held.gradients, held.optimizer, held.activations, held.training)
        kept = f"in float32: {', '.join(each.kept)}" if each.kept else ""
        yield ", ".join(each.names), *("unknown" if part is None else size(part) for part in parts), kept
