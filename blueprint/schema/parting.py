"""What two maps say alike, and what each says otherwise: the merge of two sides over what they share, undone."""

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
        # A flag is no number: true and 1 are equal only to Python.
        if a == b and repr(a) == repr(b):
            common[key] = a
        elif isinstance(a, dict) and isinstance(b, dict) and a.get("type") == b.get("type"):
            common[key], mine, theirs = parted(a, b)
            own |= {key: mine} if mine else {}
            others |= {key: theirs} if theirs else {}
        else:
            own[key], others[key] = a, b
    return common, own, others
