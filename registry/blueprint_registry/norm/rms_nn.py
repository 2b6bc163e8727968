"""Root-mean-square norm. Shapes: `D` the normed width, `N` every other axis; `x_ND` stands for any leading axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.norm.rms import Rms


class RmsNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight over the last axis, in float32 for 16-bit inputs; the result has x's dtype."""

    def __init__(self, said: Rms, at: Site) -> None:
        super().__init__()
        self.eps, self.offset, self.width = said.eps, said.offset, at.width
        self.weight = nn.Parameter(torch.full((at.width,), 1.0 - said.offset)) if said.affine else None
        # D^-½ and eps^½ as tensors: a number among tensors costs a token as much as the rest of its norm.
        pair = (at.width**-0.5, said.eps**0.5)
        wide = (torch.float32, torch.float64)
        self._constants = {dtype: tuple(torch.tensor(x, dtype=dtype, device="cpu") for x in pair) for dtype in wide}

    def forward(self, x_ND: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        wide_ND = x_ND.float() if x_ND.dtype.itemsize < 4 else x_ND
        weight_D: Tensor | None = self.weight
        if weight_D is not None and weight_D.dtype != wide_ND.dtype:
            weight_D = weight_D.to(wide_ND.dtype)
        if weight_D is not None and self.offset:
            weight_D = weight_D + self.offset
        if weight_D is None or not wide_ND.is_cpu or torch.compiler.is_compiling():
            y_ND = F.rms_norm(wide_ND, (self.width,), weight_D, self.eps)
        elif torch.is_grad_enabled() and (x_ND.requires_grad or weight_D.requires_grad):
            y_ND = _Scaled.apply(wide_ND, weight_D, self.eps)  # type: ignore[no-untyped-call]
        else:
            by, floor = self._constants[wide_ND.dtype]
            norm_N1 = torch.linalg.vector_norm(wide_ND, dim=-1, keepdim=True)
            y_ND = (wide_ND / torch.hypot(norm_N1 * by, floor)).mul_(weight_D)
        return y_ND if y_ND.dtype == x_ND.dtype else y_ND.to(x_ND.dtype)

    def extra_repr(self) -> str:
        """Width, eps and offset, for printing."""
        return f"{self.width}, eps={self.eps:g}, affine={self.weight is not None}, offset={self.offset}"


def _inverse_rms(x_ND: Tensor, eps: float) -> Tensor:
    norm_N1 = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True)
    return torch.rsqrt(norm_N1 * norm_N1 / x_ND.shape[-1] + eps)


class _Scaled(torch.autograd.Function):
    """The norm with a weight, for CPU: torch has no fused kernel there, and this backward takes half the passes that
    autograd would record. With r = (mean(x²) + eps)^-½: dw = Σ g·x·r and dx = r·w·g − x · r³/D · Σ_D(g·w·x)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x_ND: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        return (x_ND * _inverse_rms(x_ND, eps)).mul_(weight_D)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        x_ND, weight_D, ctx.eps = inputs
        ctx.save_for_backward(x_ND, weight_D)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad_ND,) = grads
        x_ND, weight_D = ctx.saved_tensors
        width = x_ND.shape[-1]
        with torch.autocast("cpu", enabled=False):
            r_N1 = _inverse_rms(x_ND, ctx.eps)
            product_ND = (x_ND * grad_ND).reshape(-1, width)
            dweight_D = r_N1.reshape(-1) @ product_ND
            pull_N1 = (product_ND @ weight_D).view(r_N1.shape) * (r_N1 * r_N1 * r_N1 / width)
            if torch.is_grad_enabled():  # a second derivative is wanted: nothing in place
                return torch.addcmul(grad_ND * r_N1 * weight_D, x_ND, pull_N1, value=-1), dweight_D, None
            return (grad_ND * r_N1).mul_(weight_D).addcmul_(x_ND, pull_N1, value=-1), dweight_D, None
