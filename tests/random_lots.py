"""What decides in specs by lot: a seed, each to be had again by its number, or hypothesis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from blueprint.component import MEMBERS
from blueprint.registry import load_plugin
from blueprint.testing.drawn import drawn
from tests.conftest import plugins_forgotten
from tests.shipped import shipped

#: Files of components that are a user's own.
PLUGINS = (
    Path(__file__).parent / "own" / "components.py",
    Path(__file__).parents[1] / "docs" / "examples" / "average.py",
)


@contextmanager
def own_components() -> Iterator[None]:
    """The user's own components are there, and gone afterwards."""
    with plugins_forgotten():
        for path in PLUGINS:
            load_plugin(str(path))
        yield


class _Lot:
    """A lot among what ships and the user's own: other tests have components of theirs."""

    def names(self, kind: str) -> Sequence[str]:
        """The members of a kind."""
        files = tuple(f"blueprint_plugin_{path.stem}_" for path in PLUGINS)
        own = [name for (of, name), cls in MEMBERS.items() if of == kind and cls.__module__.startswith(files)]
        return [*shipped(kind), *sorted(own)]


class Seeded(_Lot):
    """The lot of a seed: many at once, each to be had again by its number."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def among(self, options: Sequence[Any]) -> Any:
        """One of the options, the first ones a little more often."""
        return options[int(self.random.random() ** 1.3 * len(options))]

    def chance(self, of: float) -> bool:
        """True so often."""
        return self.random.random() < of


class Hypothesis(_Lot):
    """The lot of hypothesis: whole numbers alone, of which 0 is the simplest."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self.draw = draw

    def among(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[self.draw(st.integers(0, len(options) - 1))] if len(options) > 1 else options[0]

    def chance(self, of: float) -> bool:
        """True so often."""
        return self.draw(st.integers(0, 99)) >= 100 * (1 - of)


@st.composite
def specs(draw: Callable[[st.SearchStrategy[int]], int]) -> dict[str, Any]:
    """Specs as plain values, of every type, size and composition; hypothesis is to have `own_components` about."""
    return with_plugins(drawn(Hypothesis(draw)))


def seeded(number: int) -> dict[str, Any]:
    """The spec of a number, its plugins said."""
    return with_plugins(drawn(Seeded(number)))


def with_plugins(said: dict[str, Any]) -> dict[str, Any]:
    """The spec with the files it needs of the user's own."""
    names = set(_types(said))
    needed = []
    for path in PLUGINS:
        module = f"blueprint_plugin_{path.stem}_"
        if names & {name for (_, name), cls in MEMBERS.items() if cls.__module__.startswith(module)}:
            needed.append(str(path))
    return {"plugins": needed, **said} if needed else said


def _types(node: Any) -> Iterator[str]:
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        if isinstance(item, str):
            yield item
        else:
            yield from _types(item)
