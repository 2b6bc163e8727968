"""A straight line down."""

from typing import Annotated, Any

from pydantic import Field

from blueprint.component import register
from blueprint_registry.schedule._warmup import Warmed


@register("linear")
class Linear(Warmed):
    """A straight line from the peak down to `final` of it at the end of the run (Devlin et al., 2019, app. A.2)."""

    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak rate that is left at the end."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """With a warmup."""
        return [{}, {"warmup_steps": 10}]

    def after(self, step: int, total: int) -> float:
        """1 at the end of the warmup, `final` at the end."""
        done = step / total if total > 0 else 1.0
        return 1 - (1 - self.final) * done
