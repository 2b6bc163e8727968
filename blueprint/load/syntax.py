"""What is wrong with text that is no YAML, in words for someone who does not know YAML's grammar."""

from __future__ import annotations

import re

import yaml

from blueprint.diagnosis import Problem
from blueprint.tree import Source, Span

CODE = "syntax"
#: Characters YAML does not allow anywhere, and halves of surrogate pairs.
_FORBIDDEN = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\U0010ffff]"
#: Those of them that are ASCII: a pattern that is much sooner compiled, and enough for most specs.
_ASCII = "[^\t\n\r\x20-\x7e]"
_GLUED = re.compile(r"\s*(?:- )*([\"']?[\w.-]+[\"']?):(?=[^\s:])")
_KEY = re.compile(r"\s*(?:- +)*[\"']?[\w. -]+[\"']?\s*:(?:\s|$)")
_CLOSERS = {"[": "]", "{": "}"}


def forbidden(text: str, source: Source) -> Problem | None:
    """The problem of the first character YAML does not allow, if there is one."""
    found = re.search(_ASCII if text.isascii() else _FORBIDDEN, text)
    if found is None:
        return None
    name = "a NUL byte" if found[0] == "\0" else f"the character U+{ord(found[0]):04X}"
    # The raw line could garble a terminal, and a control character may itself break it: show no text.
    lines = tuple(re.sub(_FORBIDDEN, "\ufffd", each) for each in text.split("\n"))
    clean = Source(source.name, lines, source.directory)
    before = text[: found.start()]
    line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
    return Problem(
        CODE,
        f"{name} cannot stand in a spec",
        span=Span(clean, line, column),
        fix="remove it, or write it as an escape in a double-quoted string",
    )


def explain(error: yaml.YAMLError, source: Source, shift: int = 0) -> Problem:
    """The problem a parser's error stands for; `shift` is the column at which the text starts in its line."""
    mark = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or error)
    about = str(getattr(error, "context", None) or "")
    if mark is None:
        return Problem(CODE, f"this is no YAML: {said}", span=Span(source))
    where = _Where(source, mark.line, mark.column, shift)
    start = where if context is None else _Where(source, context.line, context.column, shift)
    for look in (_tab, _quote, _bracket, _no_space, _second_colon, _indentation, _character, _escape):
        problem = look(said, about, where, start)
        if problem is not None:
            return problem
    return where.problem(f"this is no YAML: {about + ', ' if about else ''}{said}")


class _Where:
    """A place an error speaks of, counted from 0, with the text around it."""

    def __init__(self, source: Source, line: int, column: int, shift: int = 0) -> None:
        # The end of the text lies on a line of its own: point behind the last character instead.
        while line > 0 and line >= len(source.lines):
            line, column = line - 1, len(source.lines[line - 1]) if line <= len(source.lines) else 0
        self.source, self.line = source, line
        self.column = column + (shift if line == 0 else 0)
        self.text = source.lines[line] if source.lines else ""
        self.character = self.text[self.column : self.column + 1]

    def problem(self, message: str, fix: str | None = None, length: int = 1) -> Problem:
        return Problem(CODE, message, span=Span(self.source, self.line + 1, self.column + 1, length), fix=fix)

    def at(self, column: int) -> _Where:
        return _Where(self.source, self.line, column)

    def above(self) -> _Where | None:
        """The last line before this one that is neither empty nor a comment, at its first character."""
        for line in range(self.line - 1, -1, -1):
            text = self.source.lines[line].strip()
            if text and not text.startswith("#"):
                return _Where(self.source, line, _indent(self.source.lines[line]))
        return None


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _tab(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    lead = where.text[: _indent(where.text)]
    if "\t" not in lead or where.column > len(lead):
        return None
    return where.at(lead.index("\t")).problem("a tab cannot indent a line in YAML", "indent with spaces")


def _quote(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    if "quoted scalar" not in about or "escape" in said:
        return None
    quote = start.character
    return start.problem(f"the string that starts here is never closed by {quote}", f"end it with {quote}")


def _bracket(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    flow = "flow sequence" in about or "flow mapping" in about
    if flow and where.line == start.line and where.text[: where.column].endswith("$") and where.character == "{":
        return where.at(where.column - 1).problem("an interpolation inside [ ] or { } needs quotes", 'write "${…}"', 2)
    if flow:
        close = _CLOSERS.get(start.character, "]")
        inside = bool(where.character) and where.character in "{[" and where.text[where.column - 1] not in " ,{["
        if where.line == start.line and inside:
            return where.problem(f"a text with {where.character} in it needs quotes here", 'write "…"')
        if where.line == start.line and where.column < len(where.text):
            return where.problem(
                f"a comma or {close} is missing before this", f"put a comma between items, {close} last"
            )
        return start.problem(f"the {start.character} that opens here is never closed", f"end it with {close}")
    if "node content" in said and where.character and where.character in "]},":
        return where.problem(f"`{where.character}` stands where a value is expected", "quote it, or remove it")
    if "flow node" in about:
        return where.problem("the text ends inside [ ] or { }", "close what was opened")
    return None


def _no_space(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    """A key whose colon has no space after it, or no colon: the parser notices a line later."""
    if "could not find expected ':'" in said:
        suspect: _Where | None = start
    elif "mapping values are not allowed" in said and not _KEY.match(where.text[: where.column]):
        suspect = where.above()
    else:
        return None
    if suspect is None:
        return None
    glued = _GLUED.match(suspect.text)
    if glued:
        key = suspect.at(glued.start(1))
        return key.problem(f"`{glued[1]}:` needs a space after its colon", f"write `{glued[1]}: …`", len(glued[1]) + 1)
    text = suspect.text.strip()
    if not _KEY.match(suspect.text) and not text.startswith(("-", "[", "{", "#")):
        line = suspect.at(_indent(suspect.text))
        return line.problem("this line is neither `key: value` nor the end of one", "is a colon missing?", len(text))
    return None


def _second_colon(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    if "mapping values are not allowed" not in said:
        return None
    if _KEY.match(where.text[: where.column]):
        return where.problem(
            "a second `: ` stands in one line", "put the inner key on a line of its own, or quote the value"
        )
    above = where.above()
    if above is not None and _indent(where.text) > _indent(above.text):
        line = where.at(_indent(where.text))
        return line.problem(
            "this line is indented deeper than the key above it, which already has a value",
            f"indent it by {_indent(above.text)} spaces, or remove the value above",
            max(1, where.column - line.column),
        )
    return None


def _indentation(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    rest = max(1, len(where.text.rstrip()) - where.column)
    if "expected '-' indicator" in said or ("block collection" in about and "block end" in said):
        return where.problem("a list above takes only lines that start with `- `", "indent or outdent this line", rest)
    if "expected key" not in said and "block end" not in said:
        return None
    if where.column == _indent(where.text):
        if where.character == ":":
            return where.problem("a key is missing before this colon", "write `key: value`")
        return where.problem("this line's indentation matches no line above it", "align it with its neighbours", rest)
    return where.problem("this text stands behind a value that has already ended", "put it inside the quotes", rest)


def _character(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    if "cannot start any token" in said or "an alias" in about or "an anchor" in about:
        here = start if "an a" in about else where
        return here.problem(f"a plain value cannot start with `{here.character}`", "put the value in quotes")
    return None


def _escape(said: str, about: str, where: _Where, start: _Where) -> Problem | None:
    if "escape" not in said:
        return None
    return where.problem(
        "a double-quoted string does not know this escape", r"write \\ for a backslash, or use ' quotes"
    )
