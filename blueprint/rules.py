"""Rules between fields, declared with what they read, and what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule found; `at` is a dotted path below its component (default: what its rule reads first)."""

    message: str
    at: str | None = None
    fix: str | None = None
    suggestion: str | None = None


Faults = None | str | Fault | Iterable[str | Fault]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check between fields with the names of the fields it reads."""

    reads: tuple[str, ...]
    check: Callable[..., Faults]

    def faults(self, values: Mapping[str, Any]) -> Iterator[Fault]:
        """What is wrong, where every field read is present (valid by itself) in `values`; else nothing."""
        if all(name in values for name in self.reads):
            yield from as_faults(self.check(*(values[name] for name in self.reads)), self.reads[0])


def as_faults(found: Faults, at: str | None = None) -> Iterator[Fault]:
    """What a rule returned, as `Fault`s; a bare sentence lies at `at`."""
    if found is None:
        return
    for fault in [found] if isinstance(found, str | Fault) else found:
        fault = Fault(fault) if isinstance(fault, str) else fault
        yield fault if fault.at is not None else replace(fault, at=at)


def rule(*reads: str) -> Callable[[Callable[..., Faults]], Any]:
    """Declare a check between fields.

    The function takes the named fields' values in that order and returns nothing, a sentence, a `Fault`, or several.
    It runs whenever those fields are valid by themselves, whatever else is wrong.
    """

    def mark(check: Callable[..., Faults]) -> Any:
        check.__blueprint_rule__ = Rule(reads, check)  # type: ignore[attr-defined]
        return staticmethod(check)

    return mark
