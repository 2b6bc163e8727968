"""How well a trained model predicts the held-out text. No Lightning here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, cast

import torch

from blueprint.plan import Plan
from blueprint.schema.spec import Spec
from blueprint.training.data.loader import loader
from blueprint.training.error import TrainError
from blueprint.training.restore import restore
from blueprint.training.scores import score, scores
from blueprint.training.task import prepare


@torch.inference_mode()
def evaluate(
    run: str | Path,
    *,
    limit: int | None = None,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    weights: Literal["trained", "averaged"] = "trained",
    cache: Path | None = None,
    allow_plugins: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """The held-out loss of a run or checkpoint over the whole validation split, or `limit` batches of it.

    Gives `nats` per token (or another `measure` and `unit`), for nats their `perplexity`, the `tokens` it is a mean of,
    and by name the objective's further `scores`; for running text also `bits_per_byte`, and the unigram baseline of the
    same split. Raises
    `RestoreError`, `TrainError`, `DataError`.
    """
    model = restore(run, device=device, weights=weights, allow_plugins=allow_plugins)
    spec, plan = cast(Spec, model.spec), cast(Plan, model.plan)
    if spec.objective is None:
        raise TrainError("the spec has no `objective`: nothing says what a good answer is")
    text = prepare(spec, cache=cache, progress=progress)
    objective = spec.objective.build(plan.site)
    samples = text.validation if limit is None else text.held_out(limit)
    batches = loader(samples, batch_size=batch_size or text.data.batch_size)
    total = count = torch.zeros((), dtype=torch.float64, device=device)
    measured = scores(objective, model, text, device)
    for index, batch in enumerate(batches):
        if index == limit:
            break
        moved = {name: value.to(device) for name, value in batch.items()}
        loss, metrics = objective(model, moved)
        tokens = metrics.get("tokens", torch.ones((), device=device)).double()
        total = total + torch.where(tokens > 0, metrics.get("loss", loss).double() * tokens, 0.0)
        count = count + tokens
        score(measured, metrics, moved)
    if not bool((count > 0).all()):
        raise TrainError("the held-out text has no token to predict: hold more out with `data.validation`")
    nats = float((total / count).sum())
    return {
        "run": str(run),
        "step": model.trained_steps,
        "nats": nats,
        "unit": text.unit,
        "measure": text.measure,
        "bits_per_byte": text.bits_per_byte(nats),
        "perplexity": math.exp(min(nats, 700)) if text.measure == "nats" else None,
        "tokens": int(count.sum()),
        "scores": {name: float(each.compute()) for name, each in measured.items()},
        "unigram_nats": None if text.baseline is None else text.baseline.nats,
        "unigram_bits_per_byte": None if text.baseline is None else text.baseline.bits_per_byte,
    }
