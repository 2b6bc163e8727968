"""Rotary positions."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.component import Component, Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Position
from blueprint_registry.rope_scaling import RopeScaling

if TYPE_CHECKING:
    from blueprint_registry.position.rope_nn import RopePosition


@register("rope")
class Rope(Position):
    """Rotary positions: pairs of query and key channels turned by position · theta^(−2i/width), so that a score depends
    on the distance alone (Su et al., 2021, *RoFormer*, eq. 34)."""

    traits: ClassVar[frozenset[str]] = frozenset({"positional"})

    theta: PositiveFloat = 10000.0
    """The base of the frequencies; larger ones turn more slowly and tell longer distances apart."""

    pairs: Literal["half", "interleaved"] = "half"
    """Which channels turn together: `half` the i-th with the i-th of the second half (GPT-NeoX, Llama), `interleaved`
    neighbours (the paper, GPT-J). They differ by a permutation of channels."""

    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each head's channels, from the first, that are turned; the frequencies use this width."""

    width: PositiveInt | None = None
    """The same as a number of channels, such as 64 of GPT-J's 256; null for as many as `fraction` says."""

    scaling: RopeScaling | None = slot(None)
    """How the frequencies are stretched for longer sequences; null for not at all."""

    @rule("width", "fraction")
    def _said_once(width: int | None, fraction: float) -> Faults:
        if width is not None and fraction != 1:
            return Fault("`width` and `fraction` say the same thing", "width", "leave one of them out")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Whole heads by halves, half of each by neighbours, and four channels."""
        return [{}, {"pairs": "interleaved", "fraction": 0.5}, {"width": 4}]

    def rotated(self, at: Site) -> int:
        """How many of a head's `at.width` channels are turned."""
        return int(at.width * self.fraction) if self.width is None else self.width

    def filled(self, at: Site) -> Self:
        """The width as a share, so that the same positions are said in one way."""
        filled = super().filled(at)
        if self.width is None:
            return filled
        share = self.width / at.width
        # Where the quotient was rounded down, its product would be one channel short.
        share = share if int(at.width * share) == self.width else math.nextafter(share, 1)
        return filled.model_copy(update={"width": None, "fraction": share})

    def check(self, at: Site) -> Faults:
        """Channels turn in pairs, those there are."""
        width = self.rotated(at)
        if width > at.width:
            return Fault(f"a head has {at.width} channels, not {width} to turn", "width")
        share = "" if self.fraction == 1 else f" ({self.fraction:g} of a head of {at.width})"
        if width % 2:
            return Fault(f"rope turns channels in pairs: {width} rotated channels{share} is odd")
        if width == 0:
            return Fault(f"rope has nothing to turn: 0 rotated channels{share}")
        return None

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The scaling, at the width that is turned."""
        if self.scaling is not None:
            yield "scaling", self.scaling, at.child("scaling", width=self.rotated(at))

    def build(self, at: Site) -> "RopePosition":
        """The module for heads of `at.width`; it has neither parameters nor buffers."""
        from blueprint_registry.position.rope_nn import RopePosition

        return RopePosition(self, at)
