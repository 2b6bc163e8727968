"""Arithmetic in specs: one small grammar, parsed and never evaluated as code.

`+ - * / // % **`, unary signs, parentheses, numbers, names (`head_dim`, `model.d_model`) and a few functions, with
Python's precedence and meaning. Everything is bounded: text, nesting and the size of every intermediate result.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from blueprint.diagnosis import nearest

MAX_LENGTH = 1000
MAX_DEPTH = 50
#: No result may exceed this; the bound keeps whole numbers exact and every step instant.
MAX_VALUE = 1e300


class ArithmeticFault(ValueError):
    """An expression that does not parse or has no value; `offset` counts characters from 0."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


def _power(base: float, exponent: float) -> float:
    # Refused before it is computed: `9**9**9` would take minutes to be found too large.
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * abs(base).bit_length() > 1100:
        raise OverflowError
    value = base**exponent
    if isinstance(value, complex):
        raise ValueError
    return float(value) if isinstance(value, float) else int(value)


_BINARY: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "+": (1, operator.add),
    "-": (1, operator.sub),
    "*": (2, operator.mul),
    "/": (2, operator.truediv),
    "//": (2, operator.floordiv),
    "%": (2, operator.mod),
    "**": (4, _power),
}
_SIGN = 3
#: Functions with the least and the greatest number of arguments they take.
_FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "sqrt": (math.sqrt, 1, 1),
    "min": (lambda *values: min(values), 1, 100),
    "max": (lambda *values: max(values), 1, 100),
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "round": (round, 1, 1),
    "log": (math.log, 1, 2),
    "log2": (math.log2, 1, 1),
    "exp": (math.exp, 1, 1),
    "int": (math.trunc, 1, 1),
    "abs": (abs, 1, 1),
}
FUNCTIONS = tuple(_FUNCTIONS)
#: How strongly each operator binds, and the least and most arguments of each function, for grammars that hold this one.
STRENGTH = {sign: strength for sign, (strength, _) in _BINARY.items()}
ARGUMENTS = {name: (least, most) for name, (_, least, most) in _FUNCTIONS.items()}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<sign>\*\*|//|[-+*/%(),]))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a stack machine: push a number, push a name's value, or apply a function to the top `count`."""

    offset: int
    number: float | None = None
    name: str = ""
    apply: Callable[..., float] | None = None
    count: int = 0


@dataclass(frozen=True)
class Expression:
    """A parsed expression and the names it reads."""

    text: str
    names: frozenset[str]
    _steps: tuple[_Step, ...] = field(default=(), repr=False, compare=False)

    def evaluate(self, names: Mapping[str, float]) -> float:
        """The value, an int where every step gives one; raises `ArithmeticFault` for a missing name, division by zero,
        a root or logarithm that does not exist, or a result out of bounds.
        """
        stack: list[float] = []
        for step in self._steps:
            if step.apply is not None:
                arguments = stack[-step.count :]
                del stack[-step.count :]
                value = _applied(step, arguments)
            elif step.number is not None:
                value = step.number
            else:
                value = _named(step, names)
            if not -MAX_VALUE <= value <= MAX_VALUE:
                raise ArithmeticFault("the result is out of bounds", step.offset)
            stack.append(value)
        return stack[0]


def _named(step: _Step, names: Mapping[str, float]) -> float:
    if step.name not in names:
        raise ArithmeticFault(f"`{step.name}` has no value here", step.offset)
    value: object = names[step.name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArithmeticFault(f"`{step.name}` is not a number", step.offset)
    return value


def apply(sign: str, arguments: list[float], *, call: bool = False) -> float:
    """What an operator or a function (`call`) makes of numbers; raises `ArithmeticFault`."""
    function: Callable[..., float]
    if call:
        function = _FUNCTIONS[sign][0]
    elif len(arguments) == 1:
        function = operator.neg if sign == "-" else operator.pos
    else:
        function = _BINARY[sign][1]
    value = _applied(_Step(0, name=sign, apply=function, count=len(arguments)), arguments)
    if not -MAX_VALUE <= value <= MAX_VALUE:
        raise ArithmeticFault("the result is out of bounds")
    return value


def _applied(step: _Step, arguments: list[float]) -> float:
    assert step.apply is not None
    try:
        return step.apply(*arguments)
    except ZeroDivisionError:
        raise ArithmeticFault("division by zero", step.offset) from None
    except OverflowError:
        raise ArithmeticFault("the result is out of bounds", step.offset) from None
    except ValueError:
        said = ", ".join(f"{value:g}" for value in arguments)
        raise ArithmeticFault(f"`{step.name}` has no real value at {said}", step.offset) from None


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Parse an expression; raises `ArithmeticFault` with the offset of what cannot stand there."""
    if len(text) > MAX_LENGTH:
        raise ArithmeticFault(f"an expression has at most {MAX_LENGTH} characters, this one {len(text)}")
    parser = _Parser(text)
    parser.expression(0, 0)
    if parser.kind != "end":
        raise parser.unexpected("an operator")
    return Expression(
        text, frozenset(step.name for step in parser.steps if step.name and not step.apply), parser.done()
    )


class _Parser:
    """Precedence climbing that writes the steps of a stack machine."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: list[_Step] = []
        self.kind, self.token, self.offset, self._next = "", "", 0, 0
        self.advance()

    def done(self) -> tuple[_Step, ...]:
        return tuple(self.steps)

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self._next)
        if found is not None and found.lastgroup is not None:
            self.kind, self.token, self.offset = found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)
            self._next = found.end()
            return
        rest = self.text[self._next :]
        self.offset = self._next + len(rest) - len(rest.lstrip())
        self.kind, self.token = ("character", self.text[self.offset]) if rest.strip() else ("end", "")

    def unexpected(self, wanted: str) -> ArithmeticFault:
        if self.kind == "end":
            return ArithmeticFault(f"the expression ends where {wanted} is expected", self.offset)
        return ArithmeticFault(f"`{self.token}` stands where {wanted} is expected", self.offset)

    def expression(self, least: int, depth: int) -> None:
        """Read operators that bind at least as strongly as `least`."""
        if depth > MAX_DEPTH:
            raise ArithmeticFault(f"an expression nests at most {MAX_DEPTH} deep", self.offset)
        self.operand(depth)
        while self.kind == "sign" and self.token in _BINARY:
            sign, offset = self.token, self.offset
            strength, apply = _BINARY[sign]
            if strength < least:
                return
            self.advance()
            # `**` groups from the right, and its exponent may carry a sign.
            self.expression(_SIGN if sign == "**" else strength + 1, depth + 1)
            self.steps.append(_Step(offset, name=sign, apply=apply, count=2))

    def operand(self, depth: int) -> None:
        token, offset = self.token, self.offset
        if self.kind == "sign" and token in "+-":
            self.advance()
            self.expression(_SIGN, depth + 1)
            if token == "-":
                self.steps.append(_Step(offset, name="-", apply=operator.neg, count=1))
        elif self.kind == "number":
            self.advance()
            whole = token.isdigit()
            self.steps.append(_Step(offset, number=int(token) if whole else float(token)))
        elif self.kind == "name":
            self.advance()
            if self.kind == "sign" and self.token == "(":
                self.call(token, offset, depth)
            else:
                self.steps.append(_Step(offset, name=token))
        elif self.kind == "sign" and token == "(":
            self.advance()
            self.expression(0, depth + 1)
            self.close()
        else:
            raise self.unexpected("a number, a name or `(`")

    def call(self, name: str, offset: int, depth: int) -> None:
        if name not in _FUNCTIONS:
            meant = nearest(name, _FUNCTIONS)
            hint = f"; did you mean `{meant}`?" if meant else f" (there are: {', '.join(_FUNCTIONS)})"
            raise ArithmeticFault(f"`{name}` is no function{hint}", offset)
        apply, least, most = _FUNCTIONS[name]
        count = 0
        while count == 0 or self.token == ",":
            self.advance()
            self.expression(0, depth + 1)
            count += 1
        if not least <= count <= most:
            takes = f"{least}" if least == most else f"{least} to {most}"
            raise ArithmeticFault(f"`{name}` takes {takes} argument{'' if most == 1 else 's'}, not {count}", offset)
        self.close()
        self.steps.append(_Step(offset, name=name, apply=apply, count=count))

    def close(self) -> None:
        if self.kind != "sign" or self.token != ")":
            raise self.unexpected("`)`")
        self.advance()
