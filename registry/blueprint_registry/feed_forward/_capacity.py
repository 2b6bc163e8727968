"""How many tokens an expert takes, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Section, rule
from blueprint.kinds import Router


class Capacity(Section):
    """Room for so many tokens at every expert (Lepikhin et al., 2020, *GShard*, §2.2; Fedus et al., 2021, *Switch*,
    §2.2, eq. 3).

    Tokens are counted in one forward, padding never. A row's documents share its room.
    """

    formulas: ClassVar[bool] = True

    factor: PositiveFloat | None = None
    """The room of an expert: ⌈factor · k · tokens / experts⌉ of its tokens' choices, 1 being just enough where all
    experts are used evenly; either this or `tokens`."""
    tokens: PositiveInt | None = None
    """The room of an expert as a number, however many tokens there are."""
    over: Literal["sequence", "batch"] = "sequence"
    """Which tokens compete: those of each `sequence`, or all of the `batch` (of one process), whose rows then bear on
    each other."""
    per: Literal["expert", "group"] = "expert"
    """Whose room it is: each expert's, or that of each `group` of the router's, as large as its experts' together
    (DeepSeek-V2, 2024, §2.2.4: of each device)."""
    keep: Literal["first", "first_choices", "best", "best_tokens"] = "first"
    """Who gets a place: the `first` tokens in order, each with all its choices (so no token is left out for a later
    one); all `first_choices` ahead of all second ones, and so on, in order of tokens (GShard, 2020, Algorithm 1); the
    `best` choices, those with the highest weights (DeepSeek-V2, 2024, §2.2.4); or first choices ahead of second ones,
    in order of the tokens' highest weights (Riquelme et al., 2021, *V-MoE*, Algorithm 2). All but `first` leave
    tokens out for later ones, while a model learns, as these papers do."""
    overflow: Literal["drop", "reroute"] = "drop"
    """What becomes of a choice without a place: nothing, or once all others have theirs it goes, in rounds, to the
    best of the experts with room that the token has not got yet (Fedus et al., 2021, appendix B)."""
    spared: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """While training, the share of sequences that lose no choice, drawn by lot; they take places ahead of all others
    (DeepSeek-V2, 2024, §2.2.4: 0.1)."""
    at_inference: bool = False
    """Whether it holds outside training too. A forward counts its own tokens: one that decodes step by step then
    finds room at every step that a forward over the whole text may not find."""

    @rule("factor", "tokens")
    def _one_room(factor: float | None, tokens: int | None) -> Faults:
        if factor is not None and tokens is not None:
            return Fault("the room of an expert is said twice", "tokens", "say `factor` or `tokens`")
        if factor is None and tokens is None:
            return Fault("the room of an expert is not said", ".", "say `factor`, such as 1.25, or `tokens`")
        return None

    @rule("factor", "overflow")
    def _places_for_all(factor: float | None, overflow: str) -> Faults:
        if overflow == "reroute" and factor is not None and factor < 1:
            told = f"a capacity of {factor:g} has no place for every choice, wherever it is sent"
            return Fault(told, "factor", "say 1 or more, or `overflow: drop`")
        return None

    def room(self, choices: float, share: Fraction) -> Fraction:
        """The room for each token that is counted, at what holds `share` of the experts: a factor's alone."""
        assert self.factor is not None
        return Fraction(self.factor).limit_denominator(10**6) * Fraction(choices).limit_denominator(10**6) * share

    def faults(self, router: Router, choices: float, experts: int) -> Iterator[Fault]:
        """What is wrong beside a router that makes so many `choices` a token, of so many experts."""
        groups, name = router.group_count, router.spec_name
        if self.per == "group" and not groups:
            yield Fault(
                f"router `{name}` has no groups here", "per", "say `groups` of a `top_k` router, or `per: expert`"
            )
            return
        if self.overflow == "reroute" and "weigh" not in router.gives:
            told = f"router `{name}` does not weigh other experts than those it chose"
            yield Fault(told, "overflow", "say `overflow: drop`, or a `top_k` router")
        if choices == 1 and self.keep in _ALIKE:
            told = f"with one choice a token `{self.keep}` is `{_ALIKE[self.keep]}`"
            yield Fault(told, "keep", f"say `keep: {_ALIKE[self.keep]}`")
        buckets = groups if self.per == "group" and groups else experts
        most = min(choices, experts / buckets)
        if self.factor is not None and self.room(choices, Fraction(1, buckets)) >= most:
            told = f"a capacity of {self.factor:g} leaves every {self.per} room for all that can come: it does nothing"
            yield Fault(told, "factor", f"say less than {most * buckets / choices:g}, or leave `capacity` out")


_ALIKE = {"first_choices": "first", "best_tokens": "best"}
