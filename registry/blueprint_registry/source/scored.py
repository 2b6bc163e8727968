"""Texts with a number each, from files."""

import math
from typing import Any, ClassVar

from blueprint.component import register
from blueprint_registry.source._formats import Malformed
from blueprint_registry.source._rows import Column, Rows


@register("scored")
class Scored(Rows):
    """Texts with a number each, a row each of files of any format that `table` reads (as the similarity scores of Cer
    et al., 2017, §3). A row whose number cannot be read, or is not finite, is malformed."""

    gives: ClassVar[str] = "scored"
    columns: ClassVar[tuple[str, ...]] = ("text", "score")

    text: Column = 0
    """The column of the text: its number from 0, or its name, where the first row names the columns."""

    score: Column = 1
    """The column of the number."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The first two columns; columns by their names."""
        return [{"path": "stars.tsv"}, {"path": "prices.csv", "text": "title", "score": "price"}]

    def checked(self, *row: str) -> tuple[str, ...]:
        """The text and its number, as it is written."""
        try:
            number = float(row[1])
        except ValueError:
            raise Malformed(f"{row[1]!r} is no number") from None
        if not math.isfinite(number):
            raise Malformed(f"{row[1]!r} is not finite")
        return row
