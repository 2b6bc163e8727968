"""Computing a part again when its gradients are due, in place of keeping what it computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from blueprint.ops.flow import Flow

_AGAIN: ContextVar[bool] = ContextVar("again", default=False)


def recomputing() -> bool:
    """Whether what runs now has run before, for its gradients: what counts batches must not count this one."""
    # What is compiled is never computed again so, and a compiler cannot read the variable.
    return not torch.compiler.is_compiling() and _AGAIN.get()


@contextmanager
def _again() -> Iterator[None]:
    token = _AGAIN.set(True)
    try:
        yield
    finally:
        _AGAIN.reset(token)


def _contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _again()


def recomputed(part: Callable[..., Any]) -> Callable[..., Any]:
    """A part `(x_BTD, flow, …)` that keeps its input alone until its gradients are due (Chen et al., 2016, *Training
    Deep Nets with Sublinear Memory Cost*).

    What it draws by lot is drawn the same again. Where there is a state, or no gradient is asked for, it runs as ever.
    """

    def run(x_BTD: Tensor, flow: Flow, *more: Any) -> Any:
        if not torch.is_grad_enabled() or any(each is not None for each in more):
            return part(x_BTD, flow, *more)
        # What later parts leave in the memo must not be there when this one runs again: it would do less.
        before = dict(flow.memo)

        def either(x_BTD: Tensor) -> Any:
            return part(x_BTD, replace(flow, memo=dict(before)) if recomputing() else flow, *more)

        return checkpoint(either, x_BTD, use_reentrant=False, context_fn=_contexts)

    return run
