"""Which precision trains on which device, as data: an unsupported pair is refused by name before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from blueprint.schema.precision import PrecisionPolicy, policy_faults
from blueprint.schema.spec import Spec
from blueprint.training.error import TrainError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pair does not work, and what to say instead."""

    why: str
    instead: tuple[str, ...]


#: What does not work, by device and precision; every other pair of the spec's values does.
REFUSED: dict[tuple[str, str], Refusal] = {
    ("cpu", "16-true"): Refusal(
        "without loss scaling its gradients underflow, and AdamW's eps rounds to zero: the loss becomes NaN",
        ("16-mixed", "32-true"),
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
    kind = {"bf16": "bf16", "16": "fp16"}.get(precision.split("-")[0])
    if kind is None or has_format(device, kind):
        return []
    if device == "cpu":
        return [
            f"this CPU has no {kind} instructions: `{precision}` computes the same, but many times slower than "
            "`32-true`"
        ]
    raise TrainError(f"this {device} device has no {kind}\n  = fix: say `trainer.precision: 16-mixed` or `32-true`")


def check_policy(spec: Spec) -> list[str]:
    """Warnings about what the spec's `precision` says; raises `TrainError` for what this machine cannot do or would not
    heed: the spec's own rules know only the words, here is the device that they came to mean."""
    policy = spec.precision
    if policy is None:
        return []
    device = device_of(spec.trainer.accelerator)
    here = spec.trainer.model_copy(update={"accelerator": device})
    for fault in policy_faults(policy, here):
        raise TrainError(f"precision.{fault.at}: {fault.message}\n  = fix: {fault.fix}")
    products = policy.float32_matmul_precision
    if products == "high" and device == "cuda" and capability() < (8, 0):
        raise TrainError(
            "`precision.float32_matmul_precision: high` changes nothing on this GPU: TF32 came with compute capability "
            f"8.0, and its is {_dotted(capability())}\n  = fix: leave it out; `trainer.precision: 16-mixed` is faster"
        )
    if products == "medium" and device == "cpu" and not has_format("cpu", "bf16"):
        raise TrainError(
            "`precision.float32_matmul_precision: medium` changes nothing on this CPU, which has no bf16 instructions\n"
            "  = fix: leave it out"
        )
    return _float8_warnings(spec) if policy.float8 is not None else []


def _float8_warnings(spec: Spec) -> list[str]:
    if capability() < (8, 9):
        raise TrainError(
            "`precision.float8` does not train on this GPU: its products need compute capability 8.9 (Ada, Hopper or "
            f"newer), and its is {_dotted(capability())}\n  = fix: remove it; `trainer.precision: bf16-mixed` stays"
        )
    if find_spec("torchao") is None:
        raise TrainError(
            "`precision.float8` needs torchao, which is not installed\n"
            "  = fix: pip install 'blueprint-lightning[torchao]', or remove it"
        )
    if spec.compile:
        return []
    return ["float8 without `compile: true` casts in kernels of its own, and is often slower than bfloat16"]


@contextmanager
def products(spec: Spec) -> Iterator[None]:
    """Products of float32 matrices as the spec says while it trains, and afterwards as they were."""
    import torch

    before, said = torch.get_float32_matmul_precision(), (spec.precision or PrecisionPolicy()).float32_matmul_precision
    torch.set_float32_matmul_precision(said)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


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


def has_format(device: str, kind: str) -> bool:
    """Whether a device computes natively in a 16-bit format, `bf16` or `fp16`."""
    import torch

    if device == "cpu":
        told = torch.ops.mkldnn
        return bool(told._is_mkldnn_bf16_supported() if kind == "bf16" else told._is_mkldnn_fp16_supported())
    return device != "cuda" or kind == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)


def capability() -> tuple[int, int]:
    """The compute capability of the first CUDA device."""
    import torch

    return torch.cuda.get_device_capability(0)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
