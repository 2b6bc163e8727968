"""Texts with any number of labels each, from files."""

from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from blueprint.component import Faults, register, rule
from blueprint_registry.source._formats import Cell, Malformed
from blueprint_registry.source._formats import text as written
from blueprint_registry.source._rows import Column, Rows
from blueprint_registry.source._several import each_once, known, listed


@register("multi_labelled")
class MultiLabelled(Rows):
    """Texts with any number of labels each, or none, a row each of files of any format that `table` reads (as the
    topics of news: Lewis et al., 2004, §2). The labels are a list (JSON, Parquet), or one text with separators."""

    gives: ClassVar[str] = "multi_labelled"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")

    text: Column = 0
    """The column of the text: its number from 0, or its name, where the first row names the columns."""

    label: Column = 1
    """The column of the labels; an empty text or list is a text without any."""

    separator: str = Field(default=",", min_length=1)
    """What stands between labels that are one text, spaces around them aside."""

    labels: list[str] | None = None
    """The labels in the order of their numbers, any other being malformed; null takes those found, sorted."""

    @rule("labels")
    def _each_once(labels: list[str] | None) -> Faults:
        return each_once(labels, 1)

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The first two columns; columns by their names."""
        named = {"text": "title", "label": "topics", "labels": ["art", "law"]}
        return [{"path": "topics.tsv", "separator": ";"}, {"path": "news.jsonl", **named}]

    @property
    def cells(self) -> list[Cell]:
        """A text, and labels."""
        return [written, partial(listed, separator=self.separator)]

    def checked(self, *row: Any) -> tuple[str, tuple[str, ...]]:
        """The text and its labels, which are among those named, each once."""
        text, labels = row
        known(self.labels, labels)
        if len(set(labels)) < len(labels):
            raise Malformed("a label stands there twice")
        return text, labels

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The labels named, or those found, sorted."""
        if self.labels is not None or not read:
            return self.labels
        return sorted({label for _, (_, labels) in self.documents() for label in labels})
