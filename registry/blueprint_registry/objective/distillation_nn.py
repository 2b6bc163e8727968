"""Learning from what another model answers. Shapes: `B` batch, `N` predictions that count, `C` classes or tokens, `K`
of them that are kept, `D` width of what predictions are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from blueprint.ops import with_losses
from blueprint_registry.objective._judging_nn import JudgingObjective

if TYPE_CHECKING:
    from blueprint_registry.objective.distillation import Distillation

#: Probabilities in memory at once, but never fewer predictions than keep a product with a large table busy.
CHUNK_NUMBERS, CHUNK_ROWS = 1 << 22, 256
#: The least share that is left to all classes that are not kept: rounded, the kept ones may have more than all.
LEAST = 1e-7

#: A teacher's answers in a batch: log p of classes (…, K), and which those are (…, K) where they are not all.
KEPT = ("soft", "soft_of")


class DistillationObjective:
    """(1 − alpha) · T² · KL(p ‖ q) + alpha · the loss of the right answers."""

    def __init__(self, said: Distillation, hard: JudgingObjective) -> None:
        self.said, self.hard = said, hard
        # No module holds the teacher, or it would learn, move and be stored with the model.
        self._models: Mapping[str, nn.Module] = {}

    def meet(self, models: Mapping[str, nn.Module]) -> None:
        """Take the teacher, by that name."""
        self._models = models

    def scores(self) -> dict[str, Any]:
        """As the objective of the right answers."""
        made: Callable[[], dict[str, Any]] | None = getattr(self.hard, "scores", None)
        return {} if made is None else made()

    def __call__(self, model: nn.Module, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and the metrics of the right answers; in training also T² · KL (`distillation`, nats a prediction).

        The batch is what the objective of the right answers reads, and may have `answers` of the teacher.
        """
        if not model.training:
            return self.hard(model, batch)
        out = self.hard.run(model, batch)
        loss, metrics = self.hard.judged(model, out, batch)
        counted = self.hard.counted(batch["labels"])
        states_ND, told = self.hard.states(out)[counted], self._told(batch, counted)
        step = max(CHUNK_ROWS, CHUNK_NUMBERS // self.hard.classes(model))
        divergence = partial(self._divergence, kept=KEPT[0] in batch)
        total = states_ND.sum() * 0.0
        for start in range(0, len(states_ND), step):
            parts = (states_ND[start : start + step], *(each[start : start + step] for each in told))
            whole = len(states_ND) <= step
            run = divergence if whole else partial(checkpoint, divergence, use_reentrant=False)
            total = total + run(model, *parts)
        mean = self.said.temperature**2 * total / max(1, len(states_ND))
        weighed = (1 - self.said.alpha) * mean + self.said.alpha * loss
        return with_losses(weighed, out.terms), metrics | {"distillation": mean.detach()}

    @torch.no_grad()
    def answers(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """What the teacher answers: `soft`, log p at the temperature, (B, K) or (B, T, K) as the labels are, and where
        not all classes are kept, which are: `soft_of`."""
        labels = batch["labels"]
        (states_ND,) = self._told(batch, torch.ones_like(labels, dtype=torch.bool))
        step = max(CHUNK_ROWS, CHUNK_NUMBERS // self.hard.classes(self._teacher))
        found = [self._soft(part_ND) for part_ND in states_ND.split(step)]
        columns = dict(zip(KEPT, map(torch.cat, zip(*found, strict=True)), strict=False))
        return {name: each.unflatten(0, labels.shape) for name, each in columns.items()}

    @property
    def _teacher(self) -> nn.Module:
        if "teacher" not in self._models:
            raise TypeError("objective `distillation` trains nothing before it has met its teacher: call `meet`")
        return self._models["teacher"]

    @torch.no_grad()
    def _told(self, batch: Mapping[str, Any], counted: Tensor) -> tuple[Tensor, ...]:
        """What tells the teacher's answers about the predictions that count: its answers where the batch has them, or
        what its own predictions are made of, (N, D)."""
        if KEPT[0] in batch:
            return tuple(batch[name][counted] for name in KEPT if name in batch)
        return (self.hard.states(self.hard.run(self._teacher, batch))[counted],)

    @torch.no_grad()
    def _soft(self, states_ND: Tensor) -> tuple[Tensor, ...]:
        """The teacher's answers as they are kept, whether they come from disk or not: log p, and which classes."""
        log_p_NC = F.log_softmax(_wide(self.hard.logits(self._teacher, states_ND)) / self.said.temperature, -1)
        kept = self.said.cache
        if kept is None:
            return (log_p_NC,)
        dtype = getattr(torch, kept.numbers)
        if kept.top is None or kept.top >= log_p_NC.shape[-1]:
            return (log_p_NC.to(dtype),)
        found = log_p_NC.topk(kept.top, -1)
        return found.values.to(dtype), found.indices.int()

    def _divergence(self, model: nn.Module, states_ND: Tensor, *told: Tensor, kept: bool) -> Tensor:
        """KL(p ‖ q) in nats, summed over predictions."""
        log_q_NC = F.log_softmax(_wide(self.hard.logits(model, states_ND)) / self.said.temperature, -1)
        soft_NK, *which = told if kept else self._soft(*told)
        log_p_NK, log_q_NK = soft_NK.to(log_q_NC.dtype), log_q_NC
        if which:
            of_NK = which[0].long()
            log_q_N = log_q_NC.scatter(-1, of_NK, float("-inf")).logsumexp(-1)
            log_p_N = (1 - log_p_NK.exp().sum(-1)).clamp_min(LEAST).log()
            log_p_NK = torch.cat([log_p_NK, log_p_N[:, None]], -1)
            log_q_NK = torch.cat([log_q_NC.gather(-1, of_NK), log_q_N[:, None]], -1)
        # Rounded for the disk, they no longer add up to 1.
        log_p_NK = log_p_NK if self.said.cache is None else log_p_NK.log_softmax(-1)
        return F.kl_div(log_q_NK, log_p_NK, reduction="sum", log_target=True)


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
