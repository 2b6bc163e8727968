"""Plain scalars as YAML 1.2's core schema reads them: `1e-4` is a number, `no` is text."""

from __future__ import annotations

import re

MAX_DIGITS = 4300
_MAX_BITS = 14_000

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
#: What the first character of a plain scalar that is no string can be.
_FIRST = frozenset("0123456789+-.~nNtTfF")

_LOOKS_BOOLEAN = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:_\d{3})+|[-+]?\d[\d_]*_\d[\d_]*")
_GLUED = re.compile(r"([A-Za-z_][\w-]*):[^\s/:]")


def resolve(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar; raises ValueError, in words for the user, for a number out of bounds."""
    if text in _NULL:
        return None
    if text[0] not in _FIRST:
        return text
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a whole number has at most {MAX_DIGITS} digits, this one {len(text.lstrip('+-'))}")
        return int(text)
    if _BASED.fullmatch(text):
        if 4 * len(text) > _MAX_BITS:
            raise ValueError(f"a number written as {text[:2]}… has at most {_MAX_BITS // 4} digits")
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError("the number is too large for a floating-point number; infinity is written .inf")
        return value
    if _INF.fullmatch(text):
        return float("-inf") if text[0] == "-" else float("inf")
    return float("nan") if text in _NAN else text


def hint(text: str) -> str | None:
    """What to tell someone who expected another reading of a plain scalar that is text."""
    boolean = _LOOKS_BOOLEAN.get(text.lower())
    if boolean:
        return f"`{text}` is text in YAML 1.2; the boolean is written {boolean}"
    if _GROUPED.fullmatch(text):
        return f"`{text}` is text in YAML 1.2; write the number as {text.replace('_', '')}"
    return glued(text)


def glued(text: str) -> str | None:
    """What to tell someone who left out the space after a key's colon."""
    found = _GLUED.search(text) if "${" not in text else None
    return f"if `{found[1]}` was meant as a key, put a space after its colon" if found else None
