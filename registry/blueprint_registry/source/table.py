"""Texts from the rows of files."""

from typing import Any, ClassVar

from blueprint.component import register
from blueprint_registry.source._rows import Column, Rows


@register("table")
class Table(Rows):
    """Texts, one a row of files: JSON lines, CSV, tab-separated, Parquet or a saved `datasets` folder (as large sets of
    text are handed out: C4, Raffel et al., 2020, §2.2)."""

    beside: ClassVar[dict[str, Any]] = {}
    columns: ClassVar[tuple[str, ...]] = ("text",)

    text: Column = "text"
    """The column of the text: its name (`outer.inner` in JSON, for a field of a field), or its number from 0."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A field called `text`; another one; the first column."""
        return [{"path": "c4/*.jsonl.gz"}, {"path": "posts.parquet", "text": "body"}, {"path": "a.tsv", "text": 0}]

    def checked(self, *row: str) -> Any:
        """The text."""
        return row[0]
