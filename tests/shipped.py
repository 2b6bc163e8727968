"""What ships: other tests may have registered components of their own by now."""

from __future__ import annotations

from blueprint.registry import member, names


def shipped(kind: str) -> list[str]:
    """The names of the members of a kind that come with the project."""
    ours = ("blueprint.", "blueprint_registry.")
    return [name for name in names(kind) if member(kind, name).__module__.startswith(ours)]
