"""Expressions of family files: the arithmetic of specs, and what choosing by a config needs besides.

To the operators and functions of `blueprint.arithmetic` come dotted names with indices (`hf.layer_types[i]`), strings,
lists, `true false null`, comparisons, `in`, `and or not`, `a if c else b`, and `len`, `has`, `default`. Precedence is
Python's. Parsed, bounded, never run as code.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from blueprint import arithmetic
from blueprint.diagnosis import nearest
from blueprint.interop.value import (
    COMPARISONS,
    OWN_FUNCTIONS,
    Expression,
    ExpressionFault,
    Literal,
    Missing,
    Name,
    Operation,
    Scope,
    Tree,
    said,
    same,
    truth,
)

__all__ = ["Expression", "ExpressionFault", "Missing", "Name", "Scope", "evaluate", "parse", "said", "same", "truth"]

MAX_LENGTH = 2000
MAX_DEPTH = 50
MAX_TOKENS = 300

FUNCTIONS = (*arithmetic.FUNCTIONS, *OWN_FUNCTIONS)
_WORDS = {"true": True, "false": False, "null": None}
_RESERVED = {*_WORDS, "and", "or", "not", "in", "if", "else"}
_UNARY = 3

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<string>'[^']*'|\"[^\"]*\")"
    r"|(?P<sign>\*\*|//|==|!=|<=|>=|[-+*/%(),.<>\[\]]))",
    re.ASCII,
)


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression; raises `ExpressionFault`."""
    return parse(text).evaluate(scope)


@lru_cache(maxsize=4096)
def parse(text: str, start: int = 0, closing: str = "") -> Expression:
    """Parse the expression that begins at `start` and ends with the text, or before `closing` (`}`).

    Raises `ExpressionFault` with the offset, in the whole text, of what cannot stand there.
    """
    parser = _Parser(text, start)
    tree = parser.expression(0)
    if closing and parser.kind == "character" and parser.token == closing:
        return Expression(text[start : parser.offset], tree, parser.offset)
    if closing and parser.kind == "end":
        raise ExpressionFault(f"`{closing}` is missing at the end", start, len(text) - start)
    if parser.kind != "end":
        raise parser.unexpected("an operator")
    return Expression(text[start:], tree, len(text))


class _Parser:
    """Recursive descent, one method a level of precedence where arithmetic does not say it."""

    def __init__(self, text: str, start: int) -> None:
        if len(text) > MAX_LENGTH:
            raise ExpressionFault(f"an expression has at most {MAX_LENGTH:,} characters, this text {len(text):,}")
        self.text = text
        self.kind, self.token, self.offset, self._next = "", "", start, start
        self.tokens = 0
        self.advance()

    def advance(self) -> None:
        self.tokens += 1
        if self.tokens > MAX_TOKENS:
            raise ExpressionFault(f"an expression has at most {MAX_TOKENS} words and signs", self.offset)
        found = _TOKEN.match(self.text, self._next)
        if found is not None and found.lastgroup is not None:
            self.kind, self.token, self.offset = found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
            self._next = found.end()
            return
        rest = self.text[self._next :]
        self.offset = self._next + len(rest) - len(rest.lstrip())
        self.kind, self.token = ("character", self.text[self.offset]) if rest.strip() else ("end", "")

    def unexpected(self, wanted: str) -> ExpressionFault:
        if self.kind == "end":
            return ExpressionFault(f"the expression ends where {wanted} is expected", max(self.offset - 1, 0))
        fix = "write `==` to compare" if self.token == "=" else None
        if self.token in ("'", '"'):
            return ExpressionFault("this string is never closed", self.offset, fix=f"end it with {self.token}")
        return ExpressionFault(
            f"`{self.token}` stands where {wanted} is expected", self.offset, len(self.token), fix=fix
        )

    def word(self, *words: str) -> str | None:
        return self.token if self.kind in ("name", "sign") and self.token in words else None

    def expect(self, token: str) -> None:
        if self.word(token) is None:
            raise self.unexpected(f"`{token}`")
        self.advance()

    def expression(self, depth: int) -> Tree:
        """`a if c else b`, the weakest of all."""
        if depth > MAX_DEPTH:
            raise ExpressionFault(f"an expression nests at most {MAX_DEPTH} deep", self.offset)
        then = self.junction(depth, "or")
        if self.word("if") is None:
            return then
        offset = self.offset
        self.advance()
        condition = self.junction(depth + 1, "or")
        self.expect("else")
        return Operation(offset, "if", (then, condition, self.expression(depth + 1)))

    def junction(self, depth: int, sign: str) -> Tree:
        """A chain of `or`, each a chain of `and`, each a negation or a comparison."""
        offset, chain = self.offset, [self.member(depth, sign)]
        while self.word(sign) is not None:
            self.advance()
            chain.append(self.member(depth, sign))
        return chain[0] if len(chain) == 1 else Operation(offset, sign, tuple(chain))

    def member(self, depth: int, sign: str) -> Tree:
        return self.junction(depth, "and") if sign == "or" else self.negation(depth)

    def negation(self, depth: int) -> Tree:
        if self.word("not") is None:
            return self.comparison(depth)
        if depth > MAX_DEPTH:
            raise ExpressionFault(f"an expression nests at most {MAX_DEPTH} deep", self.offset)
        offset = self.offset
        self.advance()
        return Operation(offset, "not", (self.negation(depth + 1),))

    def comparison(self, depth: int) -> Tree:
        left = self.sum(depth, 0)
        sign, offset = self.word(*COMPARISONS, "in", "not"), self.offset
        if sign is None:
            return left
        self.advance()
        if sign == "not":
            self.expect("in")
            sign = "not in"
        tree = Operation(offset, sign, (left, self.sum(depth, 0)))
        if self.word(*COMPARISONS, "in", "not"):
            raise ExpressionFault("comparisons do not chain", self.offset, len(self.token), fix="join two with `and`")
        return tree

    def sum(self, depth: int, least: int) -> Tree:
        """Arithmetic operators that bind at least as strongly as `least`."""
        if depth > MAX_DEPTH:
            raise ExpressionFault(f"an expression nests at most {MAX_DEPTH} deep", self.offset)
        left = self.operand(depth)
        while self.kind == "sign" and (strength := arithmetic.STRENGTH.get(self.token, -1)) >= least:
            sign, offset = self.token, self.offset
            self.advance()
            right = self.sum(depth + 1, _UNARY if sign == "**" else strength + 1)
            left = Operation(offset, sign, (left, right))
        return left

    def operand(self, depth: int) -> Tree:
        token, offset, kind = self.token, self.offset, self.kind
        if kind == "sign" and token in "+-":
            self.advance()
            inner = self.sum(depth + 1, _UNARY)
            return Operation(offset, token, (inner,))
        if kind == "number":
            self.advance()
            return Literal(offset, int(token) if token.isdigit() else float(token))
        if kind == "string":
            self.advance()
            return Literal(offset, token[1:-1])
        if kind == "name" and token in _WORDS:
            self.advance()
            return Literal(offset, _WORDS[token])
        if kind == "name" and token not in _RESERVED:
            self.advance()
            return self.call(token, offset, depth) if self.word("(") else self.name(token, offset, depth)
        if kind == "sign" and token in "([":
            self.advance()
            if token == "[":
                return Operation(offset, "[", self.arguments("]", depth))
            inner = self.expression(depth + 1)
            self.expect(")")
            return inner
        raise self.unexpected("a value")

    def name(self, first: str, offset: int, depth: int) -> Tree:
        steps: list[str | Tree] = [first]
        end = offset + len(first)
        while (sign := self.word(".", "[")) is not None:
            self.advance()
            if sign == ".":
                # A key may begin with a digit or be a reserved word; what follows a point is a key.
                if self.kind not in ("name", "number"):
                    raise self.unexpected("a key")
                steps.append(self.token)
                end = self.offset + len(self.token)
                self.advance()
            else:
                steps.append(self.expression(depth + 1))
                end = self.offset + 1
                self.expect("]")
        return Name(offset, self.text[offset:end], tuple(steps))

    def call(self, name: str, offset: int, depth: int) -> Tree:
        if name not in FUNCTIONS:
            meant = nearest(name, FUNCTIONS)
            fix = None if meant else f"there are: {', '.join(FUNCTIONS)}"
            raise ExpressionFault(f"`{name}` is no function", offset, len(name), suggestion=meant, fix=fix)
        self.advance()
        arguments = self.arguments(")", depth)
        least, most = arithmetic.ARGUMENTS.get(name) or (OWN_FUNCTIONS[name],) * 2
        if not least <= len(arguments) <= most:
            takes = f"{least}" if least == most else f"{least} to {most}"
            plural = "" if most == 1 else "s"
            raise ExpressionFault(f"`{name}` takes {takes} argument{plural}, not {len(arguments)}", offset, len(name))
        return Operation(offset, name, arguments, call=True)

    def arguments(self, closing: str, depth: int) -> tuple[Tree, ...]:
        out: list[Tree] = []
        while self.word(closing) is None:
            out.append(self.expression(depth + 1))
            if self.word(",") is None:
                break
            self.advance()
        self.expect(closing)
        return tuple(out)
