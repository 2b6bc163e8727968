"""What cannot be known because what was said for it is wrong: a rule that asks for it stops, all others still judge."""

from __future__ import annotations

from typing import Any


class NotKnown(Exception):
    """Asked for something that is not known; a rule that meets this has nothing to say."""


class _Unknown:
    """A value nobody knows: any use of it raises `NotKnown`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


def _refuse(*_: Any, **__: Any) -> Any:
    raise NotKnown


_USES = (
    "getattr bool int float index iter len contains call getitem format str eq ne lt le gt ge hash neg pos abs round"
)
_ARITHMETIC = "add sub mul truediv floordiv mod pow and or xor matmul divmod"
for _use in (*_USES.split(), *_ARITHMETIC.split(), *(f"r{name}" for name in _ARITHMETIC.split())):
    setattr(_Unknown, f"__{_use}__", _refuse)

#: Stands where a value could not be had: for an invalid field, and for a site's numbers that follow from one.
UNKNOWN: Any = _Unknown()
