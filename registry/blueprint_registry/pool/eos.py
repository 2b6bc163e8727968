"""The token that ends the text."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field

from blueprint.component import Fault, Faults, Site, as_faults, register
from blueprint_registry.pool._ids import IdPool

if TYPE_CHECKING:
    from blueprint_registry.pool.ids_nn import EosPool


@register("eos")
class Eos(IdPool):
    """The first token with the id that ends a text (Radford et al., 2021, §2.4); the first token of a text without."""

    id: Annotated[int, Field(ge=0)]
    """The id that ends a text."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """An id that random texts hold."""
        return [{"id": 2}]

    def check(self, at: Site) -> Faults:
        """The id is one of the vocabulary's."""
        return self._faults(at)

    def _faults(self, at: Site) -> Iterator[Fault]:
        yield from as_faults(super().check(at))
        if at.ids and at.vocab_size is not None and self.id >= at.vocab_size:
            yield Fault(f"there is no id {self.id} among {at.vocab_size}", "id")

    def miniature(self, at: Site) -> Self:
        """An id that a small vocabulary has."""
        known = at.vocab_size
        return self if known is None else self.model_copy(update={"id": min(self.id, known - 1)})

    def build(self, at: Site) -> "EosPool":
        """The module; it has no parameters."""
        from blueprint_registry.pool.ids_nn import EosPool

        return EosPool(self.id)
