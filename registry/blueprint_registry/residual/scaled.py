"""The sum of a multiple of the stream and a multiple of the sublayer's output."""

from typing import TYPE_CHECKING, Any

from blueprint.component import Factor, Fault, Faults, Number, Site, register, rule
from blueprint.kinds import Residual

if TYPE_CHECKING:
    from blueprint_registry.residual.scaled_nn import ScaledResidual


@register("scaled")
class Scaled(Residual):
    """The sum with fixed factors: stream · x + by · y (Yang et al., 2023, *Tensor Programs VI*; IBM's Granite 3; the
    stream's is of Wang et al., 2022, *DeepNet*, §4.1)."""

    by: Factor = 1
    """What the sublayer's output is multiplied with, such as `1 / sqrt(n_layers)`."""

    stream: Number = 1
    """What the stream is multiplied with, such as DeepNet's `(2 * n_layers) ** 0.25` under norms placed `post`."""

    @rule("by", "stream")
    def _scales_something(by: float | str, stream: float | str) -> Faults:
        if by == 1 and stream == 1:
            return Fault("a sum that is scaled by 1 is `plain`", "by", "say `by` or `stream`, or `residual: plain`")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Shrinking with depth, and a stream that grows with it."""
        return [{"by": "1 / sqrt(2 * n_layers)"}, {"stream": "(2 * n_layers) ** 0.25"}]

    def build(self, at: Site) -> "ScaledResidual":
        """The module; it has no parameters."""
        from blueprint_registry.residual.scaled_nn import ScaledResidual

        return ScaledResidual(at.number(self.by), at.number(self.stream))
