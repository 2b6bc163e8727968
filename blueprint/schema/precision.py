"""The `precision` section: what stays in float32 under 16 bits, how float32 multiplies, how float16 is scaled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveInt

from blueprint.component import Fault, Section
from blueprint.schema.trainer import Trainer

Role = Literal["router", "norm", "head", "softmax"]
#: All that a policy keeps in float32 where nothing is said.
ROLES: tuple[Role, ...] = get_args(Role)
#: Those that parts of their own play, told by their kinds' `float32_role`.
PLAYED = ("router", "norm", "head")
#: The roles in which there are matrix products.
PRODUCTS = ("head", "router")

#: What `trainer.precision` has to be for float8: torchao's scaled products give bfloat16.
UNDER_FLOAT8 = ("bf16-mixed", "bf16-true")


class PrecisionPolicy(Section):
    """How number formats are used beyond `trainer.precision`."""

    float32: list[Role] | None = None
    """Roles that compute, and keep their weights, in float32 under a 16-bit precision; null means all of them."""
    float32_matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """How products of float32 matrices may be computed, by torch's own name and values: `highest` in float32; `high` in
    TF32, on NVIDIA's GPUs since compute capability 8.0; `medium` in bfloat16, on CPUs with instructions for it. The
    matrices stay 32 bits wide: this saves time, never memory."""
    float8: Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"] | None = None
    """Linear maps multiply in float8, scaled by one of torchao's recipes; null: they do not. Weights, gradients and the
    optimizer keep the formats of `trainer.precision`. Needs a GPU of compute capability 8.9 and torchao."""
    init_scale: Annotated[float, Field(ge=1, le=1e30)] | None = None
    """What the loss is multiplied with at first under `16-mixed`; null means 65536."""
    growth_interval: PositiveInt | None = None
    """Steps without an overflow after which the loss's scale doubles under `16-mixed`; null means 2000."""

    @property
    def kept(self) -> frozenset[str]:
        """The roles that stay in float32 under a 16-bit precision."""
        return frozenset(ROLES if self.float32 is None else self.float32)


def policy_faults(policy: PrecisionPolicy, trainer: Trainer) -> Iterator[Fault]:
    """What a policy says that changes nothing, or cannot be, under a trainer's precision and on its device."""
    name, device = trainer.precision, trainer.device
    wide = name in ("32-true", "64-true")
    if policy == PrecisionPolicy():
        yield Fault("`precision` says nothing: all of its keys are as they would be without it", fix="remove it")
    if wide and policy.float32 is not None:
        yield Fault(
            f"`float32` changes nothing under `{name}`: nothing is computed in 16 bits",
            "float32",
            "remove it, or choose a 16-bit `trainer.precision`",
        )
    for key in ("init_scale", "growth_interval"):
        if name != "16-mixed" and getattr(policy, key) is not None:
            why = "float16 alone needs its loss scaled" if name != "16-true" else "`16-true` scales no loss"
            yield Fault(f"`{key}` changes nothing under `{name}`: {why}", key, "remove it, or say `16-mixed`")
    if policy.float32_matmul_precision != "highest":
        why_not = _products_fault(policy, name, device)
        if why_not is not None:
            message, fix = why_not
            yield Fault(message, "float32_matmul_precision", fix)
    if policy.float8 is not None:
        if device in ("cpu", "mps"):
            yield Fault(
                f"float8 does not train on {device}: its products need an NVIDIA GPU of compute capability 8.9 "
                "(Ada, Hopper or newer)",
                "float8",
                "remove it; `trainer.precision: bf16-mixed` is the nearest that this device can do",
            )
        elif name not in UNDER_FLOAT8:
            yield Fault(
                f"float8 stands beside bfloat16, not `{name}`: what its products give is bfloat16",
                "float8",
                "say `trainer.precision: bf16-mixed` or `bf16-true`, or remove it",
            )


def _products_fault(policy: PrecisionPolicy, name: str, device: str | None) -> tuple[str, str] | None:
    """Why products of float32 matrices cannot be computed as said, and what to do."""
    said, highest = policy.float32_matmul_precision, "say `highest`, or leave it out"
    if name == "64-true":
        return "`float32_matmul_precision` changes nothing under `64-true`: no matrix is float32", highest
    if name != "32-true" and not policy.kept & set(PRODUCTS):
        return (
            f"`float32_matmul_precision` changes nothing under `{name}`: neither `head` nor `router` stays in float32, "
            "and nothing else would multiply there",
            highest,
        )
    if device == "cpu" and said == "high":
        return "`high` changes nothing on the CPU, which has no TF32", f"say `medium` for bfloat16, or {highest[4:]}"
    if device == "cuda" and said == "medium":
        return "on CUDA, torch computes `medium` just as `high`, in TF32", "say `high`"
    if device == "mps":
        return f"`{said}` changes nothing on Apple's devices", highest
    return None
