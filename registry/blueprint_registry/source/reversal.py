"""Made-up pairs: a text and the same backwards."""

import json
import random
import string
from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from blueprint.component import register
from blueprint.kinds import DataSource


@register("reversal")
class Reversal(DataSource):
    """Made-up pairs of lowercase letters and the same letters backwards, to try a sequence-to-sequence model with no
    data at hand (sequence reversal: Grefenstette et al., 2015, §4.1)."""

    gives: ClassVar[str] = "pairs"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    count: PositiveInt = 20_000
    """How many pairs."""

    length: PositiveInt = 12
    """Letters in the longest; every length from 1 is as likely."""

    seed: NonNegativeInt = 0
    """Draws the letters."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """As it is; few and short."""
        return [{}, {"count": 100, "length": 4, "seed": 1}]

    def documents(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Every pair as (its number, (letters, letters backwards))."""
        drawn = random.Random(self.seed)
        for number in range(self.count):
            text = "".join(drawn.choices(string.ascii_lowercase, k=drawn.randint(1, self.length)))
            yield f"pair {number}", (text, text[::-1])

    def fingerprint(self) -> str:
        """The settings, from which all follows."""
        return json.dumps(self.to_plain())
