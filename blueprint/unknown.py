"""What cannot be known because what was said for it is wrong: a rule that asks for it stops, all others still judge."""

from __future__ import annotations

from typing import Any


class NotKnown(Exception):
    """Asked for something that is not known; a rule that meets this has nothing to say."""


class _Unknown:
    """A value nobody knows: any use of it raises `NotKnown`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


def refuse(*_: Any, **__: Any) -> Any:
    """In place of a use that would need to know the value."""
    raise NotKnown


_OTHERS = "getattr bool iter len contains call getitem format str eq ne hash"
_NUMBERS = "int float index lt le gt ge neg pos abs round"
_ARITHMETIC = "add sub mul truediv floordiv mod pow and or xor matmul divmod"
#: What numbers are used for, by the names of its methods.
UNUSABLE = (
    *_NUMBERS.split(),
    *_ARITHMETIC.split(),
    *(f"r{name}" for name in _ARITHMETIC.split()),
)
for _use in (*_OTHERS.split(), *UNUSABLE):
    setattr(_Unknown, f"__{_use}__", refuse)

#: Stands where a value could not be had: for an invalid field, and for a site's numbers that follow from one.
UNKNOWN: Any = _Unknown()
