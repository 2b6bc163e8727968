"""A number that is said as arithmetic of the place where its part stands: `2 ** layer`, `d_model / 64`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from blueprint import arithmetic
from blueprint.diagnosis import nearest
from blueprint.unknown import UNUSABLE, refuse

if TYPE_CHECKING:
    from blueprint.site import Site

#: What an expression may name; evaluated where the part is built.
SITE_NAMES = ("d_model", "head_dim", "layer", "n_layers")


class Formula(str):
    """The text of a number that is not known yet: to compare it with one, or to reckon with it, raises `NotKnown`."""

    __slots__ = ()

    def __format__(self, form: str) -> str:
        """The text itself; a form of numbers is for one that is known."""
        return refuse() if form else str(self)

    @classmethod
    def of(cls, text: str) -> Formula | None:
        """The text as arithmetic, None where it is none (a word, or a quoted number); raises ValueError for a name that
        means nothing here."""
        try:
            names = arithmetic.parse(text).names
        except arithmetic.ArithmeticFault:
            return None
        unknown = sorted(names - set(SITE_NAMES))
        reckoned = any(sign in text for sign in "+-*/%(")
        if unknown and reckoned:
            raise ValueError(unknown_name(unknown[0]))
        return cls(text) if names and not unknown else None


def unknown_name(name: str) -> str:
    """What to say of a name that no expression knows."""
    meant = nearest(name, SITE_NAMES)
    hint = f"; did you mean `{meant}`?" if meant else ""
    return f"`{name}` is not known here; an expression may use {', '.join(SITE_NAMES)}{hint}"


for _use in UNUSABLE:
    setattr(Formula, f"__{_use}__", refuse)


@dataclass(frozen=True)
class Formed:
    """Marks a field of numbers `of` some type, which also takes a `Formula`."""

    of: Any = field(hash=False)

    @cached_property
    def _number(self) -> TypeAdapter[Any]:
        made: TypeAdapter[Any] = TypeAdapter(self.of)
        return made

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any, number: core_schema.ValidatorFunctionWrapHandler) -> Any:
            said = value if isinstance(value, Formula) else Formula.of(value) if isinstance(value, str) else None
            return number(value) if said is None else said

        return core_schema.no_info_wrap_validator_function(read, handler(source))

    def number(self, name: str, text: str, at: Site) -> Any:
        """What the text of the field `name` comes to at a site; raises `arithmetic.ArithmeticFault` where that is no
        number that the field takes."""
        number = at.number(str(text))
        try:
            return self._number.validate_python(int(number) if number == int(number) else number)
        except ValidationError as error:
            why = str(error.errors()[0]["msg"]).removeprefix("Input ").partition(", got")[0]
            raise arithmetic.ArithmeticFault(f"`{text}` is {number:g} here; {name} {why}") from None
