"""What is wrong with parts where they stand: widths, lengths, expressions without a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from blueprint.arithmetic import ArithmeticFault
from blueprint.component import Component, Evaluated, Fault, Site, as_faults


def part_faults(part: Component, at: Site, path: str) -> Iterator[Fault]:
    """Every fault of a component and of the parts inside it, at their sites, with dotted paths."""
    try:
        filled = part.filled(at)
    except ArithmeticFault as error:
        yield from _failed(part, at, path, str(error))
        return
    except (TypeError, ValueError, ZeroDivisionError):
        # What cannot be filled has a fault of its own, which `check` says better.
        filled = part
    found = list(as_faults(part.check(at)))
    for fault in found:
        yield replace(fault, at=f"{path}.{fault.at}" if fault.at else path)
    if found:
        return
    counts: dict[str, int] = {}
    for name, inner, site in filled.parts(at):
        value = getattr(filled, name.split(".")[0], None)
        step = f"{name}.{counts.get(name, 0)}" if isinstance(value, list | tuple) else name
        counts[name] = counts.get(name, 0) + 1
        yield from part_faults(inner, site, f"{path}.{step}")


def _failed(part: Component, at: Site, path: str, message: str) -> Iterator[Fault]:
    """The field whose expression has no value here, in this part or one inside it."""
    inside = at if at.head_dim is not None else replace(at, head_dim=getattr(part, "head_dim", None) or at.width)
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, str) and any(isinstance(mark, Evaluated) for mark in info.metadata):
            try:
                inside.number(value)
            except ArithmeticFault as error:
                yield Fault(str(error), f"{path}.{name}")
                return
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Component):
            try:
                value.filled(inside.child(name))
            except ArithmeticFault as error:
                yield from _failed(value, inside.child(name), f"{path}.{name}", str(error))
                return
    yield Fault(message, path)
