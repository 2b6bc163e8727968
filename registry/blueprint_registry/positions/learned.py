"""A learned vector for every position."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Faults, Site, register
from blueprint.kinds import Positions

if TYPE_CHECKING:
    from blueprint_registry.positions.learned_nn import LearnedPositions


@register("learned")
class Learned(Positions):
    """A learned vector for every position below the model's `max_length` (Gehring et al., 2017, §3.1)."""

    traits: ClassVar[frozenset[str]] = frozenset({"needs_length"})

    offset: Annotated[int, Field(ge=0)] = 0
    """Rows of the table before the one of position 0 (2 in BART, the padding id + 1 in RoBERTa)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """From row 0, and from row 2."""
        return [{}, {"offset": 2}]

    def check(self, at: Site) -> Faults:
        """The table needs a length."""
        if at.max_length is None:
            return "learned positions need to know how many there are: say `max_length` in the model"
        return None

    def build(self, at: Site) -> "LearnedPositions":
        """The table of `at.max_length + offset` rows."""
        from blueprint_registry.positions.learned_nn import LearnedPositions

        return LearnedPositions(self, at)
