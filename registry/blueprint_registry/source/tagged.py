"""Sentences whose words have a label each, from files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from blueprint.component import Faults, register, rule
from blueprint_registry.source._columned import sentences
from blueprint_registry.source._files import saved
from blueprint_registry.source._formats import FORMATS, Cell, Malformed, Row
from blueprint_registry.source._opened import suffix
from blueprint_registry.source._rows import Column, Rows
from blueprint_registry.source._several import each_once, known, listed


@register("tagged")
class Tagged(Rows):
    """Sentences as words with a label each, such as parts of speech or names (Tjong Kim Sang & De Meulder, 2003, §2).

    In JSON lines, CSV, Parquet and saved `datasets` folders a row is a sentence, and a column holds a list or words
    with spaces between. In any other file a line is a word with its labels beside it, after tabs or spaces, and a blank
    line ends a sentence."""

    gives: ClassVar[str] = "tagged"
    columns: ClassVar[tuple[str, ...]] = ("word", "label")

    word: Column = 0
    """The column of the words: its number from 0, or its name, where rows are sentences."""

    label: Column = 1
    """The column of their labels."""

    labels: list[str] | None = None
    """The labels in the order of their numbers, any other being malformed; null takes those found, sorted."""

    @rule("labels")
    def _each_once(labels: list[str] | None) -> Faults:
        return each_once(labels, 2)

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A word a line, the last of four columns its label; a sentence a row."""
        return [{"path": "eng.train", "label": 3}, {"path": "names.parquet", "word": "tokens", "label": "ner_tags"}]

    @property
    def cells(self) -> list[Cell]:
        """Lists."""
        return [listed, listed]

    def read(self, path: Path, name: str, columns: Sequence[Column]) -> Iterator[tuple[int, Row]]:
        """(line, the words and the labels, or what is wrong) of every sentence."""
        tabular = saved(path) or suffix(path) in FORMATS
        yield from super().read(path, name, columns) if tabular else sentences(path, name, columns)

    def checked(self, *row: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The words and their labels, as many, which are among those named."""
        words, labels = row
        if not words or len(words) != len(labels):
            raise Malformed(f"it has {len(words)} words and {len(labels)} labels")
        known(self.labels, labels)
        return words, labels

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The labels named, or those found, sorted."""
        if self.labels is not None or not read:
            return self.labels
        return sorted({label for _, (_, labels) in self.documents() for label in labels})
