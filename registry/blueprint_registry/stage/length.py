"""Neither too short nor too long."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, register, rule
from blueprint.kinds import Document, Dropped, Stage


@register("length")
class Length(Stage):
    """Leaves out documents that are too short or too long (Rae et al., 2021, appendix A.1.1: 50 to 100,000 words)."""

    least: PositiveInt | None = None
    """What each text has at least."""

    most: PositiveInt | None = None
    """What each text has at most."""

    unit: Literal["characters", "words"] = "characters"
    """What is counted; words are what stands between white space."""

    @rule("least", "most")
    def _bounds(least: int | None, most: int | None) -> Faults:
        if least is None and most is None:
            return Fault("say `least` or `most`; without either, nothing is left out", "least")
        if least is not None and most is not None and least > most:
            return Fault("`least` is more than `most`: nothing would be left", "least")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Characters; words, both ways."""
        return [{"least": 3}, {"least": 50, "most": 100_000, "unit": "words"}]

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """The document as it is."""
        sizes = [len(text) if self.unit == "characters" else len(text.split()) for text in document.texts]
        if self.least is not None and min(sizes) < self.least:
            raise Dropped(f"fewer than {self.least:,} {self.unit}")
        if self.most is not None and max(sizes) > self.most:
            raise Dropped(f"more than {self.most:,} {self.unit}")
        yield document
