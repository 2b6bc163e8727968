"""What all schedules share: they begin with a warmup."""

from typing import Annotated

from pydantic import Field

from blueprint.component import Fault, Faults
from blueprint.kinds import Schedule


class Warmed(Schedule):
    """A schedule that first climbs in equal steps to the full rate (Goyal et al., 2017, §2.2)."""

    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Optimizer steps over which the rate climbs from near zero to its peak."""

    def factor(self, step: int, total: int) -> float:
        """The multiplier at optimizer step `step` (from 0) of `total`; past the end it stays what it was there."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.after(min(step, total) - self.warmup_steps, total - self.warmup_steps)

    def fits(self, total: int) -> Faults:
        """Whether the rate reaches its peak."""
        if self.warmup_steps > total:
            what = f"{self.warmup_steps} warm-up steps do not fit into {total} training steps"
            return Fault(what, "warmup_steps", "warm up over fewer, or train longer")
        return None

    def after(self, step: int, total: int) -> float:
        """The multiplier `step` steps after the warmup, of `total` that follow it."""
        raise TypeError(f"schedule `{self.spec_name}` says nothing for after its warmup")
