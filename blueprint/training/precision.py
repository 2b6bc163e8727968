"""Which precision trains on which device, as data: an unsupported pair is refused by name before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from blueprint.training.error import TrainError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pair does not work, and what to say instead."""

    why: str
    instead: tuple[str, ...]


#: What does not work, by device and precision; every other pair of the spec's values does.
REFUSED: dict[tuple[str, str], Refusal] = {
    ("cpu", "16-mixed"): Refusal(
        "Lightning would silently train in bf16-mixed instead, which is another number format",
        ("32-true", "bf16-mixed"),
    ),
    ("cpu", "16-true"): Refusal(
        "without loss scaling its gradients underflow, and AdamW's eps rounds to zero: the loss becomes NaN",
        ("32-true", "bf16-true"),
    ),
    ("mps", "64-true"): Refusal("Apple's devices have no 64-bit floats", ("32-true",)),
}

PRECISIONS = ("32-true", "16-mixed", "16-true", "bf16-mixed", "bf16-true", "64-true")


def check_precision(precision: str, accelerator: str) -> list[str]:
    """Warnings about a pair that works but badly; raises `TrainError` for one that does not work on this machine."""
    device = device_of(accelerator)
    refused = REFUSED.get((device, precision))
    if refused is not None:
        choices = " or ".join(f"`trainer.precision: {name}`" for name in refused.instead)
        raise TrainError(f"`{precision}` does not train on {device}: {refused.why}\n  = fix: say {choices}")
    if precision.startswith("bf16") and not has_bf16(device):
        if device == "cpu":
            return [
                f"this CPU has no bf16 instructions: `{precision}` computes the same, but many times slower than "
                "`32-true`"
            ]
        raise TrainError(f"this {device} device has no bf16\n  = fix: say `trainer.precision: 16-mixed` or `32-true`")
    return []


def device_of(accelerator: str) -> str:
    """The device an accelerator means here: `cpu`, `cuda` or `mps`; raises `TrainError` where there is none such."""
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if accelerator == "auto":
        return next(name for name, there in present.items() if there)
    if accelerator == "gpu":
        accelerator = "mps" if present["mps"] and not present["cuda"] else "cuda"
    if not present[accelerator]:
        raise TrainError(
            f"`trainer.accelerator: {accelerator}` was asked for, but this machine offers none\n"
            "  = fix: say `auto` or `cpu`"
        )
    return accelerator


def has_bf16(device: str) -> bool:
    """Whether a device computes in bf16 natively."""
    import torch

    if device == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
