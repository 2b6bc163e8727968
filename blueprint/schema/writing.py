"""The `writing` section: what the model writes for held-out sources, and how that is scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from blueprint.component import Fault, Faults, Section, rule, slot
from blueprint.kinds import TextScore


class Writing(Section):
    """Targets that the model writes for held-out sources, token by token, as it would be used: scored against the true
    ones once training is over, and by `blueprint evaluate`."""

    scores: TextScore | list[TextScore] = slot(["bleu", "chrf"])
    """What is measured of them, each beside what copying the source would reach."""
    documents: PositiveInt = 500
    """For how many held-out sources at most; where there are more, always the same lot of them."""
    beams: PositiveInt = 1
    """Above 1, so many texts are searched at once for the likeliest; 1 takes the likeliest token each time."""
    length_penalty: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """With beams: log-probabilities are compared over the number of tokens to this power."""

    @rule("scores")
    def _some(scores: Any) -> Faults:
        found = listed(scores)
        if not found:
            return Fault("nothing is measured: name a score, or leave out `writing`", "scores")
        for index, each in enumerate(found):
            if each in found[:index]:
                return Fault(f"`{each.spec_name}` is named twice with the same settings", "scores")
        return None

    @rule("beams", "length_penalty")
    def _compared(beams: int, length_penalty: float) -> Iterator[Fault]:
        if beams == 1 and length_penalty != 1:
            yield Fault("`length_penalty` does nothing without beams", "length_penalty", "raise `beams` above 1")

    @property
    def all_scores(self) -> list[TextScore]:
        """The scores in their order."""
        return listed(self.scores)


def listed(scores: TextScore | list[TextScore]) -> list[TextScore]:
    """One score or several, as a list."""
    return [scores] if isinstance(scores, TextScore) else list(scores)
