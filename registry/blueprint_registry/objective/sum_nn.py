"""Several objectives at once. Shapes: `P` parts, `B` batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from blueprint.component import Site
    from blueprint_registry.objective.sum import Sum

IGNORED = -100


class SumObjective:
    """Σ weight · loss of the parts, each of its own arrays (`NAME/…`), or of the same where there are none."""

    def __init__(self, said: Sum, at: Site) -> None:
        self.parts: dict[str, Any] = {name: part.build(at) for name, part in said.objectives.items()}
        self.weights = {name: (said.weights or {}).get(name, 1.0) for name in self.parts}
        #: What makes the mean over processes of a part's means the mean over all its predictions, by their number.
        self.share: Callable[[Tensor | None], Tensor | float] = lambda tokens: 1.0

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """The loss, and as metrics what every part tells, after its name (`NAME/loss`).

        Outside training also `loss` (P,), what each part adds to the whole, and `tokens` (P,), how many predictions
        that is a mean of, and what scores are `told`. In training parts are shared out among processes already.
        """
        total, metrics, told = torch.zeros(()), dict[str, Any](), dict[str, Any]()
        adds, counts = list[Tensor](), list[Tensor]()
        for name, part in self.parts.items():
            own = {key.removeprefix(f"{name}/"): value for key, value in batch.items() if key.startswith(f"{name}/")}
            loss, found = part(model, own or batch)
            tokens, weight = found.pop("tokens"), self.weights[name]
            share = self.share(tokens) if model.training else 1.0
            total = total.to(loss.device) + weight * share * loss
            adds.append(weight * found["loss"])
            counts.append(tokens)
            told |= self._told(name, found, tokens, own or batch)
            metrics |= {f"{name}/{key}": value for key, value in found.items()}
        if model.training:
            return total, metrics
        return total, metrics | {"loss": torch.stack(adds), "tokens": torch.stack(counts), "told": told}

    def _told(self, name: str, found: dict[str, Any], tokens: Tensor, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What the scores of a part are updated with; what is predicted is taken out of what it found."""
        told = {f"{name}/{key}": value for key, value in found.pop("told", {}).items()}
        told[f"{name}/loss"] = (found["loss"], tokens)
        predicted, labels = found.pop("predicted", None), batch.get("labels")
        if predicted is None or labels is None:
            return told
        counts = ~labels.isnan() if labels.is_floating_point() else labels != IGNORED
        counts_B = counts.flatten(1).any(1) if labels.dim() > 1 else counts
        if counts_B.any():
            own: dict[str, Any] = getattr(self.parts[name], "scores", dict)()
            told |= {f"{name}/{score}": (predicted[counts_B], labels[counts_B]) for score in own}
        return told

    def refer(self, model: nn.Module, references: Mapping[str, Tensor]) -> None:
        """Hand what the data says of its labels to the parts that refer to it."""
        for part in self.parts.values():
            if hasattr(part, "refer"):
                part.refer(model, references)

    def scores(self) -> dict[str, Any]:
        """The loss of every part, a mean over all its predictions, and its scores, after its name."""
        from torchmetrics import MeanMetric

        found: dict[str, Any] = {f"{name}/loss": MeanMetric() for name in self.parts}
        for name, part in self.parts.items():
            found |= {f"{name}/{score}": each for score, each in getattr(part, "scores", dict)().items()}
        return found
