"""Labelled texts from files."""

from typing import Any, ClassVar

from blueprint.component import Faults, register, rule
from blueprint_registry.source._rows import Column, Rows
from blueprint_registry.source._several import each_once, known


@register("labelled")
class Labelled(Rows):
    """Texts with a label each, a row each of files of any format that `table` reads (as the text classification sets of
    Zhang et al., 2015, §4)."""

    gives: ClassVar[str] = "labelled"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")

    text: Column = 0
    """The column of the text: its number from 0, or its name, where the first row names the columns."""

    label: Column = 1
    """The column of the label."""

    labels: list[str] | None = None
    """The labels in the order of their numbers, any other being malformed; null takes those found, sorted."""

    @rule("labels")
    def _each_once(labels: list[str] | None) -> Faults:
        return each_once(labels, 2)

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The first two columns; columns by their names."""
        return [{"path": "reviews.tsv"}, {"path": "news.csv", "text": "title", "label": "topic", "labels": ["a", "b"]}]

    def checked(self, *row: str) -> tuple[str, ...]:
        """The text and its label, which is one of those named."""
        known(self.labels, row[1:])
        return row

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The labels named, or those found, sorted."""
        if self.labels is not None or not read:
            return self.labels
        return sorted({label for _, (_, label) in self.documents()})
