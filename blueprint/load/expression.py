"""The text around and inside `${…}`: what a string refers to, found before anything is resolved."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blueprint.arithmetic import ArithmeticFault, parse

MAX_LENGTH = 10_000
MAX_PARTS = 200

_OPEN = re.compile(r"(?P<escape>\\*)\$\{")
_NAME = re.compile(r"\s*(?P<name>\.*[\w-]+(?:\.[\w-]+|\[\d+\])*)\s*\}")
_RESOLVER = re.compile(r"\s*(?P<name>[A-Za-z_][\w.]*)\s*:")
_CALC = re.compile(r"""\s*calc\s*:\s*(?P<quote>['"])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*\}""")


class ExpressionFault(ValueError):
    """A `${…}` that cannot be read; it lies at `offset` and is `length` characters long."""

    def __init__(self, message: str, offset: int, length: int, fix: str | None = None) -> None:
        super().__init__(message)
        self.offset, self.length, self.fix = offset, length, fix


@dataclass(frozen=True)
class Part:
    """One `${name}`, or one `${calc:'…'}` with the references nested in it; `text` is the name or the arithmetic."""

    start: int
    end: int
    text: str
    calc: bool = False
    text_start: int = 0
    inner: tuple[Part, ...] = ()


def parts(text: str) -> tuple[Part, ...]:
    """The `${…}` of a string in order; raises `ExpressionFault` for one that is neither a name nor `calc`."""
    if len(text) > MAX_LENGTH:
        raise ExpressionFault(f"text with ${{…}} has at most {MAX_LENGTH:,} characters", 0, 1)
    return _parts(text, 0, len(text), nested=False)


def _parts(text: str, start: int, end: int, *, nested: bool) -> tuple[Part, ...]:
    out: list[Part] = []
    while (found := _OPEN.search(text, start, end)) is not None:
        start = found.end()
        if len(found["escape"]) % 2:
            continue
        out.append(_part(text, found.end() - 2, start, end, nested))
        start = out[-1].end
        if len(out) > MAX_PARTS:
            raise ExpressionFault(f"one string has at most {MAX_PARTS} ${{…}}", out[-1].start, 2)
    return tuple(out)


def _part(text: str, start: int, inside: int, end: int, nested: bool) -> Part:
    name = _NAME.match(text, inside, end)
    if name:
        return Part(start, name.end(), name["name"])
    calc = _CALC.match(text, inside, end)
    if calc and not nested:
        inner = _parts(text, calc.start("text"), calc.end("text"), nested=True)
        return Part(start, calc.end(), calc["text"], True, calc.start("text"), inner)
    close = text.find("}", inside, end)
    length = (close + 1 if close >= 0 else end) - start
    body = text[inside : start + length].rstrip("}").strip()
    resolver = _RESOLVER.match(text, inside, end)
    if close < 0:
        raise ExpressionFault("this ${ is never closed", start, 2, "end it with }")
    if resolver and resolver["name"] == "calc":
        what = "a calc inside a calc needs no ${…}" if nested else "calc takes arithmetic in quotes"
        raise ExpressionFault(what, start, length, "write ${calc:'4 * model.d_model'}")
    if resolver:
        message = f"`{resolver['name']}` cannot be used: a spec reads neither the environment nor code"
        raise ExpressionFault(message, start, length, "name another key of the spec, or use ${calc:'…'}")
    try:
        parse(body)
    except ArithmeticFault:
        raise ExpressionFault("${…} holds the path of a key", start, length, "write ${model.d_model}") from None
    raise ExpressionFault("${…} holds one path; arithmetic needs calc", start, length, f"write ${{calc:'{body}'}}")
