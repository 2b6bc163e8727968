"""Tensor names with holes: `layers.{i}.attention.{q,k,v}.weight`, letters numbers and commas choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

from blueprint.diagnosis import Problem
from blueprint.interop.config import FamilyError
from blueprint.interop.env import within
from blueprint.tree import Entry, Scalar

MAX_CHOICES = 1000
_LETTER = re.compile(r"\s*([a-z])\s*")
_NUMBER = re.compile(r"(?<![A-Za-z0-9_])\d+(?![A-Za-z0-9_])")
_PAIRS = {"(": ")", "[": "]", "{": "}"}

Letters = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Hole:
    """`{…}` in a name, its inside at an offset of the text."""

    text: str
    offset: int

    @property
    def letter(self) -> str | None:
        """The letter, where the inside is no more than one."""
        found = _LETTER.fullmatch(self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Template:
    """One name, choices made: plain text and holes, from a key or a value of a family file."""

    node: Scalar | Entry
    pieces: tuple[str | Hole, ...]

    @property
    def text(self) -> str:
        """The name as it is written."""
        return "".join(piece if isinstance(piece, str) else f"{{{piece.text}}}" for piece in self.pieces)

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The holes in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Hole))

    @property
    def letters(self) -> frozenset[str]:
        """The letters that stand for numbers; raises FamilyError where a hole is no letter."""
        found = set()
        for hole in self.holes:
            if hole.letter is None:
                message = f"`{{{hole.text}}}` stands for no number: a hole in this name is a letter, such as `{{i}}`"
                raise fault("weights", message, self.node, hole.offset, len(hole.text))
            found.add(hole.letter)
        return frozenset(found)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        out, seen = "", set[str]()
        for piece in self.pieces:
            if isinstance(piece, str):
                out += re.escape(piece)
            else:
                out += f"(?P={piece.letter})" if piece.letter in seen else rf"(?P<{piece.letter}>\d+)"
                seen.add(piece.letter or "")
        return re.compile(out)

    def match(self, name: str) -> dict[str, int] | None:
        """The numbers for which this is the name, if there are such."""
        found = self._pattern.fullmatch(name)
        return {letter: int(value) for letter, value in found.groupdict().items()} if found else None

    def covers(self, name: str) -> bool:
        """Whether this is the name, or, where it ends in `*`, how the name begins."""
        *first, last = self.pieces
        if not (isinstance(last, str) and last.endswith("*")):
            return self.match(name) is not None
        return Template(self.node, (*first, last[:-1]))._pattern.match(name) is not None

    def number(self, name: str) -> int | None:
        """The number that stands in another name where the first hole is in this one, if they begin alike."""
        start = self.pieces[0] if isinstance(self.pieces[0], str) else ""
        found = re.compile(re.escape(start) + r"(\d+)(?!\w)").match(name) if self.holes else None
        return int(found[1]) if found else None

    def laid(self, layout: Mapping[str, str]) -> Template:
        """The name with what a layout says filled in."""
        pieces = tuple(layout.get(each.text.strip(), each) if isinstance(each, Hole) else each for each in self.pieces)
        return Template(self.node, pieces)

    def filled(self, value: Callable[[Hole], object]) -> str:
        """The name with its holes filled."""
        return "".join(piece if isinstance(piece, str) else str(value(piece)) for piece in self.pieces)


def templates(node: Scalar | Entry) -> tuple[Template, ...]:
    """The names a text stands for, in order; raises FamilyError for braces that do not close and for too many."""
    text = node.key if isinstance(node, Entry) else str(node.value)
    found = list(_expanded(node, text, 0))
    if len(found) > MAX_CHOICES:
        raise fault("weights", f"a name stands for at most {MAX_CHOICES} tensors", node)
    return tuple(Template(node, pieces) for pieces in found)


def _expanded(node: Scalar | Entry, text: str, base: int) -> list[tuple[str | Hole, ...]]:
    parts: list[list[tuple[str | Hole, ...]]] = []
    at = 0
    while at < len(text):
        opening = text.find("{", at)
        plain = text[at:opening] if opening >= 0 else text[at:]
        if "}" in plain:
            raise fault("weights", "this brace was never opened", node, base + at + plain.index("}"), 1)
        if plain:
            parts.append([(plain,)])
        if opening < 0:
            break
        commas, close = _inside(text, opening)
        if close < 0:
            raise fault("weights", "this brace is never closed", node, base + opening, 1)
        if commas:
            cuts = [opening, *commas, close]
            choices = [
                each
                for start, stop in pairwise(cuts)
                for each in _expanded(node, text[start + 1 : stop], base + start + 1) or [()]
            ]
            parts.append(choices)
        else:
            parts.append([(Hole(text[opening + 1 : close], base + opening + 1),)])
        at = close + 1
    size = 1
    for part in parts:
        size *= len(part)
        if size > MAX_CHOICES:
            raise fault("weights", f"a name stands for at most {MAX_CHOICES} tensors", node)
    return [tuple(piece for each in choice for piece in each) for choice in product(*parts)] if parts else []


def _inside(text: str, opening: int) -> tuple[list[int], int]:
    """The commas between a brace and its counterpart, and the counterpart, or -1 without one."""
    stack, quote = ["}"], ""
    commas: list[int] = []
    for at in range(opening + 1, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in _PAIRS:
            stack.append(_PAIRS[sign])
        elif sign == stack[-1]:
            stack.pop()
            if not stack:
                return commas, at
        elif sign == "," and len(stack) == 1:
            commas.append(at)
    return [], -1


def general(name: str) -> str:
    """A name with its numbers as holes: `layers.{}.norm.weight`."""
    return _NUMBER.sub("{}", name)


def grouped(names: Iterable[str]) -> Iterator[str]:
    """Names that differ by numbers alone as one line each, with how many there are."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(general(name), []).append(name)
    for members in groups.values():
        yield members[0] if len(members) == 1 else f"{members[0]} … {members[-1]} ({len(members)})"


def fault(
    code: str,
    message: str,
    node: Scalar | Entry,
    offset: int = 0,
    length: int = 0,
    *,
    suggestion: str | None = None,
    fix: str | None = None,
    notes: tuple[str, ...] = (),
) -> FamilyError:
    """An error with one problem in a family file."""
    return FamilyError([problem(code, message, node, offset, length, suggestion=suggestion, fix=fix, notes=notes)])


def problem(
    code: str,
    message: str,
    node: Scalar | Entry,
    offset: int = 0,
    length: int = 0,
    *,
    suggestion: str | None = None,
    fix: str | None = None,
    notes: tuple[str, ...] = (),
) -> Problem:
    """A problem at a key or a value of a family file, or at a part of it."""
    text = node.key if isinstance(node, Entry) else str(node.value)
    span = within(node.span, text, offset, length) if length else node.span
    return Problem(code, message, span=span, suggestion=suggestion, fix=fix, notes=notes)
