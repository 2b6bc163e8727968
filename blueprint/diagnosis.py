"""What is wrong with a spec, said so that the reader can mend it: place, key path, expectation, likely meaning, fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from blueprint.tree import Span

#: Problems that are written out; a text can have any number.
SHOWN = 100
#: Characters of a line that are shown: all of it, or those around the place.
LINE = 200
#: Pairs of letters that are compared to find what was meant; names of tensors can be very many.
EFFORT = 500_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: `message` says what and what was expected; `suggestion` is the likely intended word."""

    code: str
    message: str
    path: tuple[str, ...] = ()
    span: Span | None = None
    suggestion: str | None = None
    fix: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key path as a user writes it: `model.block.attention.heads`."""
        return ".".join(self.path)

    def __str__(self) -> str:
        where = str(self.span) if self.span else "spec"
        out = [f"{where}  {self.key}".rstrip()]
        said = self.message + (f"; did you mean `{self.suggestion}`?" if self.suggestion else "")
        if self.span and self.span.text:
            text, column = _excerpt(self.span.text, self.span.column)
            number = f"{self.span.line:>5} | "
            # Tabs cannot stand in YAML indentation, but may stand inside values: keep the caret under the text.
            lead = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
            width = max(1, min(self.span.length, len(text) - column + 1))
            out += [number + text, " " * (len(number) - 2) + "| " + lead + "^" * width + " " + said]
        else:
            out.append(f"      {said}")
        out += [f"      = fix: {self.fix}"] if self.fix else []
        out += [f"      = {note}" for note in self.notes]
        return "\n".join(out)

    def to_plain(self) -> dict[str, Any]:
        """The problem as JSON-ready values."""
        span = self.span
        return {
            "code": self.code,
            "file": span.source.name if span else None,
            "line": span.line if span and span.source.lines else None,
            "column": span.column if span and span.source.lines else None,
            "length": span.length if span and span.source.lines else None,
            "path": self.key,
            "message": self.message,
            "suggestion": self.suggestion,
            "fix": self.fix,
            "notes": list(self.notes),
        }


class SpecError(ValueError):
    """A spec that cannot be used; `problems` holds everything found, `str()` is the whole diagnosis."""

    #: What the problems were found in, as the last line of the diagnosis names it.
    about: ClassVar[str] = "1 spec"

    def __init__(self, problems: Iterable[Problem]) -> None:
        # One place in the text may stand in several layers: it is told once, by its first path.
        unique: dict[object, Problem] = {}
        for problem in problems:
            unique.setdefault((problem.code, problem.message, problem.span, problem.suggestion), problem)
        self.problems: tuple[Problem, ...] = tuple(sorted(unique.values(), key=_order))
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.problems)
        more = [f"and {count - SHOWN:,} more"] * (count > SHOWN)
        told = f"{count} error{'' if count == 1 else 's'} in {self.about}"
        return "\n".join([*map(str, self.problems[:SHOWN]), *more, told])


def _excerpt(text: str, column: int) -> tuple[str, int]:
    """A line, or what of a long one is around a column; and that column in it."""
    if len(text) <= LINE:
        return text, column
    start = max(0, min(column - 1 - LINE // 2, len(text) - LINE))
    lead = "…" if start else ""
    return lead + text[start : start + LINE] + "…" * (start + LINE < len(text)), column - start + len(lead)


def _order(problem: Problem) -> tuple[str, int, int]:
    span = problem.span
    return (span.source.name, span.line, span.column) if span else ("", 0, 0)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice a writer of `word` most likely meant, or None where none is near.

    Distance is Damerau-Levenshtein (optimal string alignment), case and `-`/`_` set aside; a choice is near within
    two edits, or a third of the word's length where that is more.
    """
    plain_word = _fold(word)
    if len(word) > LINE:
        return None
    best: tuple[int, int, int, str] | None = None
    spent = 0
    for choice in choices:
        other = _fold(choice)
        spent += len(plain_word) * len(other)
        if spent > EFFORT:
            break
        distance = _edits(plain_word, other)
        limit = max(2, len(other) // 3)
        if distance > limit and not (len(plain_word) > 3 and (plain_word in other or other in plain_word)):
            continue
        if distance >= max(len(other), len(plain_word)) and distance > 0:
            continue
        rank = (distance, -_shared(plain_word, other), abs(len(choice) - len(word)), choice)
        if best is None or rank < best:
            best = rank
    return None if best is None else best[-1]


def _shared(a: str, b: str) -> int:
    """The length of the longest run of letters, in order, that two words share."""
    row = [0] * (len(b) + 1)
    for ca in a:
        before = row
        row = [0]
        for j, cb in enumerate(b, 1):
            row.append(before[j - 1] + 1 if ca == cb else max(before[j], row[j - 1]))
    return row[-1]


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")


def _edits(a: str, b: str) -> int:
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        before, row, last = row, [i], before
        for j, cb in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (ca != cb))
            if i > 1 and j > 1 and ca == b[j - 2] and a[i - 2] == cb:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
