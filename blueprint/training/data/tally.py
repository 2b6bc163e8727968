"""What a stage took, gave and left out, and why; and the table of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from blueprint.kinds import Document


@dataclass
class Tally:
    """The counts of one stage: documents and their characters, how many of what it gave it had changed or made, and how
    many it left out by the reason."""

    stage: str
    taken: int = 0
    taken_characters: int = 0
    given: int = 0
    given_characters: int = 0
    changed: int = 0
    why: dict[str, int] = field(default_factory=dict)

    def take(self, document: Document) -> None:
        """Count a document in."""
        self.taken += 1
        self.taken_characters += sum(map(len, document.texts))

    def give(self, document: Document, *, changed: bool) -> None:
        """Count a document out."""
        self.given += 1
        self.given_characters += sum(map(len, document.texts))
        self.changed += changed

    def leave(self, why: str) -> None:
        """Count a document that is left out."""
        self.why[why] = self.why.get(why, 0) + 1

    def add(self, other: Tally) -> None:
        """Count in what the same stage did to other documents."""
        for name in ("taken", "taken_characters", "given", "given_characters", "changed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for why, count in other.why.items():
            self.why[why] = self.why.get(why, 0) + count

    def plain(self) -> dict[str, Any]:
        """The counts as JSON has them."""
        return asdict(self)

    def __str__(self) -> str:
        lost = "".join(f"; {count:,} left out: {why}" for why, count in sorted(self.why.items()))
        return f"{self.stage}: {self.taken:,} in, {self.given:,} out{lost}"


def table(tallies: Sequence[Tally]) -> str:
    """The counts of all stages as a table in Markdown."""
    lines = [
        "| stage | documents in | out | characters in | out | changed or made | left out |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for each in tallies:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(each.why.items()))
        counts = [each.taken, each.given, each.taken_characters, each.given_characters, each.changed]
        lines.append(f"| {each.stage} | {' | '.join(f'{count:,}' for count in counts)} | {why} |")
    return "\n".join(lines) + "\n"
