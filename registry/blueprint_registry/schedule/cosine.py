"""Half a cosine down."""

import math
from typing import Annotated, Any

from pydantic import Field

from blueprint.component import register
from blueprint_registry.schedule._warmup import Warmed


@register("cosine")
class Cosine(Warmed):
    """Half a cosine wave from the peak to `final` of it at the end of the run (Loshchilov & Hutter, 2017, eq. 5)."""

    final: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the peak rate that is left at the end (a tenth: Hoffmann et al., 2022, app. B)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """With a warmup."""
        return [{}, {"warmup_steps": 10}]

    def after(self, step: int, total: int) -> float:
        """1 at the end of the warmup, `final` at the end."""
        done = step / total if total > 0 else 1.0
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))
