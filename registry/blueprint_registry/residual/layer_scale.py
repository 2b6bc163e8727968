"""The sum of the stream and the sublayer's output, each channel with a learned weight."""

from typing import TYPE_CHECKING, Any

from blueprint.component import Number, Site, register
from blueprint.kinds import Residual

if TYPE_CHECKING:
    from blueprint_registry.residual.layer_scale_nn import LayerScaleResidual


@register("layer_scale")
class LayerScale(Residual):
    """The sum with a learned weight for each channel: x + λ ⊙ y (Touvron et al., 2021, *CaiT*, eq. 3)."""

    initial: Number = 0.1
    """What the weights start as; the deeper the model, the smaller (CaiT: 0.1 to 18 layers, 1e-5 to 24, then 1e-6)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """CaiT's for few layers, and one that shrinks with depth."""
        return [{}, {"initial": "1 / n_layers"}]

    def build(self, at: Site) -> "LayerScaleResidual":
        """The module, with `at.width` weights."""
        from blueprint_registry.residual.layer_scale_nn import LayerScaleResidual

        return LayerScaleResidual(at.width, at.number(self.initial))
