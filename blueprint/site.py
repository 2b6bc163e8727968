"""Where a part stands, and the numbers that depend on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

from blueprint import arithmetic
from blueprint.formula import SITE_NAMES, unknown_name
from blueprint.unknown import UNKNOWN, NotKnown

if TYPE_CHECKING:
    from blueprint.component import Component

T = TypeVar("T")


def _expression(value: int | float | str) -> int | float | str:
    if isinstance(value, str):
        unknown = arithmetic.parse(value).names - set(SITE_NAMES)
        if unknown:
            raise ValueError(unknown_name(min(unknown)))
    return value


def _some(value: int | float | str) -> int | float | str:
    if value == 0:
        raise ValueError("expected any number but 0, which would leave nothing")
    return value


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Marks a field whose text is arithmetic, evaluated where the part stands; `whole` asks for a positive integer,
    `counts` for anything but 0."""

    whole: bool = False
    counts: bool = False

    def number(self, name: str, text: str, at: Site) -> float:
        """What the text of the field `name` comes to at a site; raises `arithmetic.ArithmeticFault`."""
        number = at.number(text)
        if self.whole and (number != int(number) or number < 1):
            raise arithmetic.ArithmeticFault(f"`{text}` is {number:g} here; {name} must be a whole number")
        if self.counts and number == 0:
            raise arithmetic.ArithmeticFault(f"`{text}` is 0 here, which would leave nothing")
        return int(number) if self.whole else number


@dataclass(frozen=True, slots=True)
class Means:
    """Marks a field that says by which means a part is computed, not what: it stays out of the plan's hash."""


#: A number, or an arithmetic expression of `d_model`, `head_dim`, `layer`, `n_layers`, such as `sqrt(d_model)`.
Number = Annotated[int | float | str, AfterValidator(_expression), Evaluated()]
#: A number to multiply with: any but 0.
Factor = Annotated[int | float | str, AfterValidator(_expression), AfterValidator(_some), Evaluated(counts=True)]
#: A positive whole number, or such an expression, such as `4 * d_model`.
Size = Annotated[Annotated[int, Field(gt=0)] | str, AfterValidator(_expression), Evaluated(whole=True)]


@dataclass(frozen=True)
class Site:
    """What a part may not choose: where it stands and what it is handed.

    `d_model` is the stream's width, `width` the width of what this part works on (a head, say); `layer` counts from 0
    of `layers`; `heads`, `kv_heads`, `head_dim` and `value_dim` are set inside an attention, `table`, the width of the
    embedding's token table (None: there is none), for a head; `ids` tells whether the tokens are ids (else: parts of an
    image, say), `extra` holds what only one kind of part is told; `float32` names the roles that compute in float32
    under a 16-bit precision (None: there is no such precision to keep them from). `memory` is the width of another
    stack's output that layers of this one may read (None: there is none); where `across` is true, the part reads it in
    place of the tokens beside its own.
    """

    d_model: int
    width: int
    path: str = ""
    max_length: int | None = None
    vocab_size: int | None = None
    layer: int = 0
    layers: int = 1
    side: str = "decoder"
    causal: bool = True
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_dim: int | None = None
    table: int | None = None
    memory: int | None = None
    across: bool = False
    dropout: float = 0.0
    ids: bool = True
    float32: frozenset[str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: Called with every part as it is built: (component, site, what `build` returned) -> what to use.
    built: Callable[[Component, Site, Any], Any] | None = field(default=None, compare=False)
    #: What the layers of one stack have made `once` so far; None where parts are built by themselves.
    stack: list[tuple[Any, Any]] | None = field(default=None, compare=False)

    def child(self, name: str, **changes: Any) -> Site:
        """The site of a part called `name` inside this one, with what differs there."""
        # As `replace`, which takes five times as long, and a deep model has very many sites.
        site = object.__new__(Site)
        vars(site).update(vars(self), path=f"{self.path}.{name}" if self.path else name, **changes)
        if len(vars(site)) != len(vars(self)):
            raise TypeError(f"a site has no {', '.join(changes.keys() - vars(self).keys())}")
        return site

    def once(self, name: str, part: Component, make: Callable[[], T]) -> T:
        """What `make` gives for `part`, made once for all layers of the stack whose part says the same at such a site.

        So a table belongs to the stack: layers that differ elsewhere share it, those whose part differs do not. Its
        parameters are the first such layer's; the others know them by names of their own.
        """
        if self.stack is None:
            return make()
        key = (name, part, replace(self, path="", layer=0))
        for known, made in self.stack:
            if known == key:
                return made  # type: ignore[no-any-return]
        self.stack.append((key, made := make()))
        return made

    def number(self, value: int | float | str) -> float:
        """A `Number` evaluated here; raises `arithmetic.ArithmeticFault` for a name that has no value here."""
        if not isinstance(value, str):
            return value
        known = {"d_model": self.d_model, "head_dim": self.head_dim, "layer": self.layer, "n_layers": self.layers}
        said = arithmetic.parse(value)
        if any(known.get(name) is UNKNOWN for name in said.names):
            raise NotKnown
        return said.evaluate({k: v for k, v in known.items() if v is not None})
