"""What objectives over tokens share. Shapes: `B` batch, `T` tokens, `D` model width."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn

from blueprint.ops import with_losses

IGNORED = -100


class Smoothed(Protocol):
    """An objective's additions to the plain loss, which act in training alone."""

    @property
    def label_smoothing(self) -> float:
        """Probability spread evenly in the target."""

    @property
    def z_loss(self) -> float:
        """Weight of log²Z."""


def token_loss(said: Smoothed, model: nn.Module, out: Any, labels_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of what a model gave, and as metrics the cross-entropy without gradient (`loss`, nats a token), the
    number of tokens it is a mean of (`tokens`), and the terms of the model's parts, of which the losses join the loss
    in training.
    """
    extra = {"label_smoothing": said.label_smoothing, "z_loss": said.z_loss} if model.training else {}
    loss: Tensor = model.cross_entropy(out.hidden, labels_BT, **extra)  # type: ignore[operator]
    terms = {name: value.detach() for name, value in out.terms.items()}
    metrics = terms | {"loss": loss.detach(), "tokens": (labels_BT != IGNORED).sum()}
    return with_losses(loss, out.terms) if model.training else loss, metrics
