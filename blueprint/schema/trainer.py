"""The `trainer` section: Lightning's Trainer, by its own names and values."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Section, rule, slot
from blueprint.schema.strategy import Strategy

Precision = Literal["32-true", "16-mixed", "16-true", "bf16-mixed", "bf16-true", "64-true"]


class Trainer(Section):
    """Lightning's Trainer: its own argument names and values."""

    max_steps: PositiveInt | None = None
    """Optimizer steps to take."""
    max_epochs: PositiveInt | None = None
    """Passes over the training data; `max_steps` ends a run earlier."""
    precision: Precision = "32-true"
    """Number formats of weights and computation."""
    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    """The kind of device."""
    devices: PositiveInt | Literal["auto"] = 1
    """How many devices."""
    num_nodes: PositiveInt = 1
    """How many machines."""
    strategy: Strategy = slot("auto")
    """How several devices share the work."""
    accumulate_grad_batches: PositiveInt = 1
    """Batches of one optimizer step, which takes the plain mean of their losses; each of those is a mean over the
    batch's own tokens. At the end of an epoch fewer batches may be left."""
    gradient_clip_val: PositiveFloat | None = None
    """Gradients are scaled down to this norm (or cut at this value); null for no clipping."""
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    """Whether clipping acts on the global norm or on each value; needs `gradient_clip_val`, where null means `norm`."""
    val_check_interval: PositiveInt | None = None
    """Batches between validations; null validates at the end only."""
    limit_val_batches: PositiveInt = 50
    """Validation batches at most."""
    log_every_n_steps: PositiveInt = 10
    """Steps between logged metrics."""
    deterministic: bool = False
    """Refuse operations that are not deterministic on this device."""
    detect_anomaly: bool = False
    """Name the operation that made a gradient non-finite (slow)."""

    @rule("gradient_clip_algorithm", "gradient_clip_val")
    def _clip_needs_value(algorithm: str | None, value: float | None) -> Faults:
        if algorithm is not None and value is None:
            return Fault("`gradient_clip_algorithm` does nothing without `gradient_clip_val`")
        return None

    @rule("strategy", "accelerator")
    def _strategy_fits_device(strategy: Strategy, accelerator: str) -> Faults:
        # Whether there is such a device shows where it is to run.
        return strategy.needs_cuda() if strategy.cuda and accelerator in ("cpu", "mps") else None

    @rule("strategy", "precision")
    def _strategy_fits_precision(strategy: Strategy, precision: str) -> Faults:
        why = strategy.refused.get(precision)
        if why is None:
            return None
        said = f"`{precision}` does not train under `{strategy.spec_name}`: {why}"
        return Fault(said, "precision", "say `32-true`, `bf16-mixed` or `bf16-true`, or `strategy: ddp`")

    @rule("strategy", "devices", "num_nodes")
    def _strategy_fits_devices(strategy: Strategy, devices: int | str, num_nodes: int) -> Faults:
        fault = strategy.fits(devices * num_nodes) if isinstance(devices, int) else None
        return None if fault is None else replace(fault, at=f"strategy.{fault.at}")

    @rule("precision", "accelerator")
    def _precision_fits_device(precision: str, accelerator: str) -> Faults:
        device = device_said(accelerator)
        if device == "cpu" and precision == "16-true":
            return Fault(
                "`16-true` does not train on the CPU: without loss scaling its gradients underflow and training ends "
                "in NaN",
                "precision",
                "say `32-true`, or choose `16-mixed`, which scales its loss, or `bf16-true` yourself",
            )
        if device == "mps" and precision == "64-true":
            return Fault("Apple's devices have no 64-bit floats", "precision", "say `32-true`")
        return None

    @property
    def device(self) -> str | None:
        """The kind of device that the words mean, as far as they tell: `cpu`, `cuda`, `mps`, or None."""
        return device_said(self.accelerator)


def device_said(accelerator: str) -> str | None:
    """The kind of device an accelerator means, as far as that shows without torch: `auto` is the CPU where there seems
    to be no GPU."""
    if accelerator in ("auto", "gpu"):
        return "cpu" if accelerator == "auto" and not accelerator_present() else None
    return accelerator


def accelerator_present() -> bool:
    """Whether this machine seems to have a GPU, judged without importing torch (device files, platform)."""
    return sys.platform == "darwin" or any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
