"""One tensor let through by another's activation, keeping nothing but the two. Elementwise: any shape `N`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def gate(activation: nn.Module, gate_N: Tensor, up_N: Tensor) -> Tensor:
    """act(gate) ⊙ up.

    The activation is computed again for its gradient: kept, it would be a fifth of what a layer holds for the backward,
    and takes a small share of the time of the products around it. One that learns is run as ever.
    """
    asked = torch.is_grad_enabled() and (gate_N.requires_grad or up_N.requires_grad)
    if not asked or torch.compiler.is_compiling() or any(True for _ in activation.parameters()):
        plain_N: Tensor = activation(gate_N) * up_N
        return plain_N
    kept_N: Tensor = _Gate.apply(gate_N, up_N, activation)  # type: ignore[no-untyped-call]
    return kept_N


class _Gate(torch.autograd.Function):
    """With a = act(g): the gradients are a ⊙ y for what is let through, and act'(g) ⊙ u ⊙ y for the gate."""

    @staticmethod
    def forward(ctx: Any, gate_N: Tensor, up_N: Tensor, activation: nn.Module) -> Tensor:
        ctx.save_for_backward(gate_N, up_N)
        ctx.activation = activation
        product_N: Tensor = activation(gate_N) * up_N
        return product_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        gate_N, up_N = ctx.saved_tensors
        (grad_N,) = grads
        again = torch.is_grad_enabled()  # a second derivative is wanted
        with torch.enable_grad():
            at_N = gate_N if again and gate_N.requires_grad else gate_N.detach().requires_grad_()
            act_N = ctx.activation(at_N.view_as(at_N))  # torch's hooks on what modules are given take no leaf here
        gate_grad = up_grad = None
        if ctx.needs_input_grad[0]:
            (gate_grad,) = torch.autograd.grad(act_N, at_N, grad_N * up_N, create_graph=again)
        if ctx.needs_input_grad[1]:
            up_grad = (act_N if again else act_N.detach()) * grad_N
        return gate_grad, up_grad, None
