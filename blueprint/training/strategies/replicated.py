"""Data parallel: every device has the whole model."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy


class Replicated(DDPStrategy):
    """Lightning's DDPStrategy."""
