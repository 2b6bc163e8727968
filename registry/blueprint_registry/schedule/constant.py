"""The full rate throughout."""

from typing import Any

from blueprint.component import register
from blueprint_registry.schedule._warmup import Warmed


@register("constant")
class Constant(Warmed):
    """The full rate from the end of the warmup on (Goyal et al., 2017, §2.2, for the warmup)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """With a warmup."""
        return [{}, {"warmup_steps": 10}]

    def after(self, step: int, total: int) -> float:
        """1."""
        return 1.0
