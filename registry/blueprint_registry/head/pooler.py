"""One vector for a whole sequence."""

from typing import TYPE_CHECKING, Any

from blueprint.component import Site, register, slot
from blueprint_registry.activation import Activation
from blueprint_registry.head._pooled import Pooled

if TYPE_CHECKING:
    from blueprint_registry.head.pooler_nn import PoolerHead


@register("pooler")
class Pooler(Pooled):
    """One vector for a whole sequence: by default BERT's pooler, a dense layer and tanh over the first token (Devlin
    et al., 2019, §4.1, as released)."""

    activation: Activation | None = slot("tanh")
    """What follows a dense layer to d_model; null for no dense layer."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """BERT's; a plain mean (Reimers & Gurevych, 2019); the two together under a norm."""
        bare = {"over": "mean", "activation": None}
        return [{}, bare, {"over": "first_and_mean", "dense_bias": False, "norm": "layer"}]

    def build(self, at: Site) -> "PoolerHead":
        """The module from `at.width` to the width of the vector."""
        from blueprint_registry.head.pooler_nn import PoolerHead

        return PoolerHead(self, at)
