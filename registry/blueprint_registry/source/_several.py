"""What sources share whose rows have several labels or words each."""

from collections.abc import Iterable
from typing import Any

from blueprint.component import Faults
from blueprint_registry.source._formats import Malformed, text


def listed(value: Any, separator: str | None = None) -> tuple[str, ...]:
    """The texts of a list, or those between the separators of one text, spaces around them aside (None: those between
    spaces); none of them is empty. Raises `Malformed`."""
    if isinstance(value, str):
        parts = text(value).split(separator or " ") if value.strip() else []
        value = [part for part in parts if part] if separator is None else [part.strip() for part in parts]
    if not isinstance(value, list | tuple):
        raise Malformed(f"holds no list ({type(value).__name__})")
    found = []
    for part in value:
        try:
            found.append(text(part))
        except Malformed as error:
            raise Malformed(f"has an item that {error}") from None
    return tuple(found)


def each_once(labels: list[str] | None, least: int) -> Faults:
    """What is wrong with labels that are to be named."""
    if labels is not None and (len(labels) < least or len(set(labels)) < len(labels)):
        few = {1: "one label", 2: "two labels"}[least]
        return f"name at least {few}, each once; or leave it out to take those found"
    return None


def known(labels: list[str] | None, found: Iterable[str]) -> None:
    """Raise `Malformed` for a label that is none of those named."""
    for label in found:
        if labels is not None and label not in labels:
            raise Malformed(f"the label {label!r} is none of those named")
