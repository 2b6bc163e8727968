"""Warmup, a stable stretch, decay."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from blueprint.component import Fault, Faults, register
from blueprint_registry.schedule._warmup import Warmed


@register("wsd")
class Wsd(Warmed):
    """Warmup, a long stretch at the peak, and a short decay (Hu et al., 2024, *MiniCPM*, §4): a run can be continued
    from before the decay without having known its length."""

    decay: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of all steps, the last ones, over which the rate falls."""

    shape: Literal["sqrt", "linear"] = "sqrt"
    """How it falls over a share s of the decay: `sqrt` as 1 − √s (Hägele et al., 2024, §3), `linear` as 1 − s."""

    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak rate that is left at the end."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Both shapes."""
        return [{"warmup_steps": 10}, {"shape": "linear", "final": 0.1}]

    def fits(self, total: int) -> Faults:
        """Whether there is a peak to decay from: the warmup is over when the decay begins."""
        if self.warmup_steps <= total and self.warmup_steps + self.decay * total > total:
            what = f"the decay, the last {self.decay:g} of {total} training steps, begins within the warm-up"
            return Fault(what, "decay", "choose a shorter `decay`, warm up over fewer steps, or train longer")
        return super().fits(total)

    def after(self, step: int, total: int) -> float:
        """1 until the decay begins, `final` at the end."""
        length = self.decay * (total + self.warmup_steps)
        if step <= total - length:
            return 1.0
        done = 1 - (total - step) / length if length > 0 else 1.0
        return 1 - (1 - self.final) * (math.sqrt(done) if self.shape == "sqrt" else done)
