"""float16 with dynamic loss scaling, on every device (Micikevicius et al., 2018, section 3.2).

Small gradients vanish in float16, so the loss is multiplied before the backward and the gradients divided after it. If
one of them overflows, the step is skipped and the scale halved; after `growth_interval` steps without, it doubles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision

from blueprint.schema.precision import PrecisionPolicy

#: An overflow under this scale is none that scaling could mend: below, gradients would be shrunk on their way.
LEAST = 1.0


class ScaledPrecision(MixedPrecision):
    """Lightning's mixed precision in float16, on the CPU too (where Lightning would take bfloat16 in its place), which
    tells whether a step was skipped and counts those.

    Its state, and with it a checkpoint, holds the scale, the steps since it last changed and the count.
    """

    def __init__(self, device: str, policy: PrecisionPolicy) -> None:
        said = {"init_scale": policy.init_scale, "growth_interval": policy.growth_interval}
        settings: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        super().__init__("16-mixed", device, torch.amp.GradScaler(device, **settings))
        #: Whether the last optimizer step was skipped, and how many have been.
        self.skipped, self.skips = False, 0

    @property
    def scale(self) -> float:
        """What the loss is multiplied with."""
        assert self.scaler is not None
        return float(self.scaler.get_scale())

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: pl.LightningModule, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Take the step, unless a gradient has overflowed."""
        assert self.scaler is not None
        found, before = closure(), self.scale
        # Here also for fused optimizers, which could do it while they step: norms and clipping are of true gradients.
        self.scaler.unscale_(optimizer)
        self._after_closure(model, optimizer)
        self.scaler.step(optimizer, **kwargs)
        self.scaler.update()
        # The scaler tells in no other way; it never lowers its scale but after an overflow.
        self.skipped = self.scale < before
        self.skips += self.skipped
        return found

    def clip_gradients(self, *args: Any, **kwargs: Any) -> None:
        """Clip under any optimizer: gradients are unscaled by then."""
        super(MixedPrecision, self).clip_gradients(*args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {**super().state_dict(), "skips": self.skips}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds."""
        state = dict(state_dict)
        self.skips = state.pop("skips")
        super().load_state_dict(state)


#: Where a checkpoint holds the state.
STATE = ScaledPrecision.__qualname__


def scaling(trainer: pl.Trainer) -> ScaledPrecision | None:
    """The Trainer's loss scaling, where it has any."""
    plugin = trainer.precision_plugin
    return plugin if isinstance(plugin, ScaledPrecision) else None


def uncount(trainer: pl.Trainer) -> None:
    """Take a skipped step out of Lightning's count, which goes on by one at each call: a step moves weights."""
    progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
    for count in (progress.total, progress.current):
        # It has been counted as begun, and is about to be as done.
        count.ready -= 1
        count.completed -= 1
