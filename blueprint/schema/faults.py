"""What is wrong with parts where they stand: widths, lengths, expressions without a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from blueprint.arithmetic import ArithmeticFault
from blueprint.component import Component, Evaluated, Fault, Faults, Site, as_faults
from blueprint.formula import Formed
from blueprint.unknown import UNKNOWN, NotKnown


def part_faults(part: Component, at: Site, path: str) -> Iterator[Fault]:
    """Every fault of a component and of the parts inside it, at their sites, with dotted paths.

    A fault hides no other: what is wrong with a part leaves the parts inside it to be judged, by what is known of them.
    """
    if part is UNKNOWN:
        return
    filled, failed = part, None
    try:
        filled = part.filled(at)
    except ArithmeticFault as error:
        failed = str(error)
    except (NotKnown, TypeError, ValueError, ZeroDivisionError):
        # What cannot be filled has a fault of its own, which `check` says better.
        pass
    told = [*(_expressions(part, at) if filled is part else ()), *judged(lambda: _numbered(part, at).check(at))]
    found = [replace(fault, at=f"{path}.{fault.at}" if fault.at else path) for fault in told]
    counts: dict[str, int] = {}
    for name, inner, site in _parts(filled, at):
        value = vars(part).get(name.split(".")[0])
        step = f"{name}.{counts.get(name, 0)}" if isinstance(value, list | tuple) else name
        counts[name] = counts.get(name, 0) + 1
        found += part_faults(inner, site, f"{path}.{step}")
    yield from found if found or failed is None else [Fault(failed, path)]


def _numbered(part: Component, at: Site) -> Component:
    """The part with its numbers, where they come to something."""
    try:
        return part.evaluated(at)
    except (ArithmeticFault, NotKnown, ValueError):
        return part


def judged(judge: Callable[[], Faults]) -> Iterator[Fault]:
    """What a rule finds, up to where it asks for something that is not known."""
    try:
        yield from as_faults(judge())
    except NotKnown:
        return


def _expressions(part: Component, at: Site) -> Iterator[Fault]:
    """The fields whose expressions have no value here."""
    inside = at if at.head_dim is not None else replace(at, head_dim=vars(part).get("head_dim") or at.width)
    marks: list[tuple[str, Evaluated | Formed]] = [*type(part).expressions(), *type(part).formed()]
    for name, mark in marks:
        text = vars(part).get(name)
        try:
            if isinstance(text, str):
                mark.number(name, text, inside)
        except ArithmeticFault as error:
            yield Fault(str(error), name)
        except NotKnown:
            continue


def _parts(part: Component, at: Site) -> Iterator[tuple[str, Component, Site]]:
    """The parts inside; where the part cannot say their sites, what depends on the width there is not known."""
    inside = at
    try:
        if type(part).parts is not Component.parts:
            yield from list(part.parts(at))
            return
    except (NotKnown, ArithmeticFault, TypeError, ValueError):
        inside = replace(at, width=UNKNOWN, heads=UNKNOWN, kv_heads=UNKNOWN, head_dim=UNKNOWN, extra=UNKNOWN)
    for name, value in vars(part).items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is UNKNOWN or isinstance(item, Component):
                yield name, item, inside.child(name)


def known_at(part: Any, *steps: str) -> Any:
    """The part inside a part at the end of `steps`; None where there is none, or none that is known."""
    for step in steps:
        part = None if part is None or part is UNKNOWN else vars(part).get(step)
    return None if part is UNKNOWN else part
