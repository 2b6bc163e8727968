"""The output projection and its cross-entropy in one, a chunk of tokens at a time.

N tokens, D width, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_NUMBERS = 1 << 22  # logits in memory at once,
CHUNK_TOKENS = 256  # but never fewer tokens than keep a product with a large table busy


_few: ContextVar[bool] = ContextVar("few_chunks", default=False)


@contextmanager
def few_chunks() -> Iterator[None]:
    """For tensors without values, whose memory is asked: the first two chunks and the last one stand for all, as each
    takes what the second does. What they add up to means nothing."""
    token = _few.set(True)
    try:
        yield
    finally:
        _few.reset(token)


def counting(hidden_ND: Tensor, target_N: Tensor, ignore: int = -100) -> tuple[Tensor, Tensor]:
    """The rows whose targets count, and those targets: a masked model projects a seventh of its tokens.

    Tensors without values stay whole, as do those spread over processes.
    """
    if target_N.is_meta or type(target_N) is not Tensor:
        return hidden_ND, target_N
    counts_N = target_N != ignore
    if bool(counts_N.all()):
        return hidden_ND, target_N
    at_C = counts_N.nonzero()[:, 0]
    return hidden_ND.index_select(0, at_C), target_N.index_select(0, at_C)


@dataclass(frozen=True)
class _Terms:
    scale: float
    softcap: float | None
    ignore: int
    smoothing: float
    z_loss: float
    chunk: int


def cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    ignore: int = -100,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: Literal["mean", "sum"] = "mean",
    chunk: int | None = None,
) -> Tensor:
    """Cross-entropy in nats of cap(scale · hidden @ weight.T + bias), a scalar in float32 or float64.

    Equal to the plain form, but the logits (N, V) never exist at once: gradients are made in the forward, chunk by
    chunk, with the plain form's number of products. Targets equal to `ignore` do not count; the mean is over those
    that do, 0 if there are none. `label_smoothing` spreads that much of each target over the vocabulary (Szegedy et
    al., 2016); `z_loss` weighs the squared log-partition that is added (PaLM; Chowdhery et al., 2022, section 5).
    Raises ValueError on shapes that do not fit and RuntimeError on a second backward through one result.
    """
    count, width = hidden_ND.shape
    vocab = weight_VD.shape[0]
    if weight_VD.shape[1] != width or target_N.shape != (count,):
        shapes = (tuple(hidden_ND.shape), tuple(weight_VD.shape), tuple(target_N.shape))
        raise ValueError(f"hidden {shapes[0]}, weight {shapes[1]} and target {shapes[2]} do not fit")
    device = hidden_ND.device.type
    autocast = torch.amp.is_autocast_available(device)
    if autocast and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden_ND, weight_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
    terms = _Terms(scale, softcap, ignore, label_smoothing, z_loss, chunk or max(CHUNK_TOKENS, CHUNK_NUMBERS // vocab))
    with torch.autocast(device, enabled=False) if autocast else nullcontext():
        wanted = torch.is_grad_enabled() and any(
            x is not None and x.requires_grad for x in (hidden_ND, weight_VD, bias_V)
        )
        total: Tensor = _CrossEntropy.apply(hidden_ND, weight_VD, bias_V, target_N, terms, wanted)  # type: ignore[no-untyped-call]
        return total if reduction == "sum" else total / (target_N != ignore).sum().clamp_min(1)


class _CrossEntropy(torch.autograd.Function):
    """The summed loss; keeps the gradients themselves for the backward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        terms: _Terms,
        wanted: bool,
    ) -> Tensor:
        wide = torch.float64 if hidden_ND.dtype == torch.float64 else torch.float32
        needs = [wanted and need for need in ctx.needs_input_grad[:3]]
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        ctx.grads = (
            torch.empty_like(hidden_ND) if needs[0] else None,
            torch.zeros_like(weight_VD, dtype=wide) if needs[1] else None,
            torch.zeros_like(bias_V, dtype=wide) if needs[2] and bias_V is not None else None,
        )
        ctx.dtypes = (hidden_ND.dtype, weight_VD.dtype, None if bias_V is None else bias_V.dtype)
        grad_ND, grad_VD, grad_V = ctx.grads
        starts: Sequence[int] = range(0, hidden_ND.shape[0], terms.chunk)
        if _few.get() and len(starts) > 3:
            starts = (*starts[:2], starts[-1])
        for start in starts:
            part = slice(start, start + terms.chunk)
            x_CD = hidden_ND[part]
            loss, grad_CV = _chunk(x_CD, weight_VD, bias_V, target_N[part], terms, wide, any(needs))
            total += loss
            if grad_CV is None:
                continue
            if grad_V is not None:
                grad_V += grad_CV.sum(0)
            if terms.scale != 1.0:
                grad_CV *= terms.scale
            grad_CV = grad_CV.to(x_CD.dtype)
            if grad_ND is not None:
                torch.mm(grad_CV, weight_VD, out=grad_ND[part])
            if grad_VD is not None and grad_VD.dtype == grad_CV.dtype:
                grad_VD.addmm_(grad_CV.t(), x_CD)
            elif grad_VD is not None:
                grad_VD += grad_CV.t() @ x_CD
            del grad_CV  # before the next one is made
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("this loss was already taken back once: its gradients were handed over, not copied")
        grads, ctx.grads = ctx.grads, None
        scaled = (None if g is None else g.mul_(grad).to(dtype) for g, dtype in zip(grads, ctx.dtypes, strict=True))
        return *scaled, None, None, None


def _chunk(
    x_CD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    target_C: Tensor,
    terms: _Terms,
    wide: torch.dtype,
    wanted: bool,
) -> tuple[Tensor, Tensor | None]:
    """The summed loss of a chunk and its gradient for the logits before scale and after cap's derivative."""
    l_CV = (x_CD @ weight_VD.t()).to(wide)
    if terms.scale != 1.0:
        l_CV *= terms.scale
    if bias_V is not None:
        l_CV += bias_V
    if terms.softcap is not None:
        l_CV = l_CV.div_(terms.softcap).tanh_().mul_(terms.softcap)
    vocab = l_CV.shape[1]
    counts_C = (target_C != terms.ignore).to(wide)
    target_C1 = target_C.where(target_C != terms.ignore, 0)[:, None]
    slope_CV = None if terms.softcap is None or not wanted else 1.0 - (l_CV / terms.softcap) ** 2
    hit = 1.0 - terms.smoothing
    said_C = hit * l_CV.gather(1, target_C1)[:, 0]
    if terms.smoothing:
        said_C += terms.smoothing / vocab * l_CV.sum(-1)
    # In place, as `logsumexp` takes room for all logits once more and leaves nothing of the softmax.
    most_C1 = l_CV.amax(-1, keepdim=True)
    grad_CV = l_CV.sub_(most_C1).exp_()
    sum_C1 = grad_CV.sum(-1, keepdim=True)
    lse_C1 = most_C1.add_(sum_C1.log())
    loss_C = lse_C1[:, 0] - said_C
    if terms.z_loss:
        loss_C += terms.z_loss * lse_C1[:, 0] ** 2
    loss = (loss_C * counts_C).sum()
    if not wanted:
        return loss, None
    # The slope of the log-partition, and what of it counts, is one factor a row.
    by_C1 = counts_C[:, None] / sum_C1
    if terms.z_loss:
        by_C1 *= 1.0 + 2.0 * terms.z_loss * lse_C1
    grad_CV *= by_C1
    if terms.smoothing:
        grad_CV -= terms.smoothing / vocab * counts_C[:, None]
    grad_CV.scatter_add_(1, target_C1, -hit * counts_C[:, None])
    return loss, grad_CV if slope_CV is None else grad_CV.mul_(slope_CV)
