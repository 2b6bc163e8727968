"""The merge undone: what two maps say alike, and what each says otherwise."""

from __future__ import annotations

from typing import Any

Said = dict[str, Any]


def parted(one: Said, other: Said) -> tuple[Said, Said, Said]:
    """(common, of one, of the other): each of the two is what comes of merging its own over the common part.

    Parts of different types, like lists, have nothing in common but their place.
    """
    common: Said = {}
    own: Said = {}
    others: Said = {}
    for key in dict.fromkeys([*one, *other]):
        if key not in one or key not in other:
            (own if key in one else others)[key] = one[key] if key in one else other[key]
            continue
        a, b = one[key], other[key]
        if same(a, b):
            common[key] = a
        elif isinstance(a, dict) and isinstance(b, dict) and a.get("type") == b.get("type"):
            common[key], mine, theirs = parted(a, b)
            own |= {key: mine} if mine else {}
            others |= {key: theirs} if theirs else {}
        else:
            own[key], others[key] = a, b
    return common, own, others


def difference(over: Said, base: Said) -> Said:
    """What must be laid on `base` for `over` to come of it; both say every field they have."""
    out: Said = {}
    for key, value in over.items():
        below = base.get(key)
        if key in base and same(value, below):
            continue
        alike = isinstance(value, dict) and isinstance(below, dict) and value.get("type") == below.get("type")
        out[key] = difference(value, below) if alike and isinstance(below, dict) else value
    return out


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are the same; a flag is no number, though true and 1 are equal to Python."""
    return bool(a == b) and repr(a) == repr(b)
