"""The cosine of two vectors, scaled."""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Site, register, rule
from blueprint.kinds import Contrast

if TYPE_CHECKING:
    from blueprint_registry.contrast.cosine_nn import CosineContrast


@register("cosine")
class Cosine(Contrast):
    """exp(scale) · cos(image W, text V) + bias, of every image with every text (Radford et al., 2021, §2.3 and figure
    3; the bias is of Zhai et al., 2023, §3.2)."""

    width: PositiveInt | None
    """Width that vectors are projected to; null compares them as they are."""

    projected: Literal["both", "text", "image"] = "both"
    """Which of the two is projected; the other is `width` wide as it is (SigLIP projects the text's alone)."""

    projection_bias: bool = False
    """Whether the projections have a bias."""

    scale: float = 2.6592
    """What the learned logarithm of the scale begins with: ln(1 / 0.07) in CLIP."""

    scale_at_most: PositiveFloat | None = 100.0
    """What the scale itself is held at after a training step that leaves it larger (CLIP, §2.5); null lets it grow."""

    bias: float | None = None
    """What a learned bias of the logits begins with, such as SigLIP's -10; null for none."""

    @rule("scale", "scale_at_most")
    def _begins_below(scale: float, scale_at_most: float | None) -> Faults:
        if scale_at_most is None or scale <= math.log(scale_at_most) + 1e-9:
            return None
        message = (
            f"the scale begins with exp({scale:g}) = {math.exp(min(scale, 700)):.4g} and is held at {scale_at_most:g}"
        )
        return Fault(message, "scale_at_most", "let it begin lower, raise `scale_at_most`, or say null")

    @rule("projection_bias", "width")
    def _bias_of_a_projection(projection_bias: bool, width: int | None) -> Faults:
        if projection_bias and width is None:
            return Fault("there is no projection to have a bias: `width` is null", "projection_bias", "say `width`")
        return None

    @rule("projected", "width")
    def _something_is_projected(projected: str, width: int | None) -> Faults:
        if projected != "both" and width is None:
            return Fault("there is no projection: `width` is null", "projected", "say `width`, or remove `projected`")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """CLIP's; without projections; with a bias, scale and bias of the logits as in SigLIP."""
        return [{"width": 16}, {"width": None}, {"width": 12, "projection_bias": True, "scale": 2.3, "bias": -10.0}]

    def check(self, at: Site) -> Faults:
        """Vectors are of one width, those that are not projected, too."""
        text, image = at.extra["text"], at.extra["image"]
        if self.width is None and text != image:
            return Fault(
                f"the text's vector has {text} channels, the image's {image}", fix="say the `width` to project both to"
            )
        for side, channels in (("text", text), ("image", image)):
            if self.width is not None and self.projected not in ("both", side) and channels != self.width:
                message = f"the {side}'s vector has {channels} channels and is not projected to {self.width}"
                return Fault(message, "width", f"say `width: {channels}`, or `projected: both`")
        return None

    def build(self, at: Site) -> "CosineContrast":
        """The module; the site's `extra` holds the width of either side's vector."""
        from blueprint_registry.contrast.cosine_nn import CosineContrast

        return CosineContrast(self, at)
