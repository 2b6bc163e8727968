"""Pairs of texts from files."""

from typing import Any, ClassVar

from blueprint.component import register
from blueprint_registry.source._rows import Column, Rows


@register("pairs")
class Pairs(Rows):
    """Pairs of a source and the target to write for it, a row each of files of any format that `table` reads (sentence
    pairs: Sutskever et al., 2014, §3.1)."""

    gives: ClassVar[str] = "pairs"
    columns: ClassVar[tuple[str, ...]] = ("source", "target")

    source: Column = 0
    """The column of what is read: its number from 0, or its name, where the first row names the columns."""

    target: Column = 1
    """The column of what is written."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The first two columns; columns by their names."""
        return [{"path": "pairs.tsv"}, {"path": "en-de/*.csv", "source": "english", "target": "german"}]
