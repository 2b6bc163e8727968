"""How well a trained model predicts the held-out text. No Lightning here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, cast

import torch

from blueprint.plan import Plan
from blueprint.schema.spec import Spec
from blueprint.schema.writing import Writing
from blueprint.training.changes import refuse_but_data
from blueprint.training.data.loader import loader
from blueprint.training.error import TrainError
from blueprint.training.folder import plain_spec
from blueprint.training.restore import restore
from blueprint.training.scores import score, scores
from blueprint.training.task import Text, prepare
from blueprint.training.written import write


@torch.inference_mode()
def evaluate(
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    limit: int | None = None,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
    weights: Literal["trained", "averaged"] = "trained",
    documents: int | None = None,
    beams: int | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    allow_plugins: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """The held-out loss of a run or checkpoint over the whole validation split, or `limit` batches of it.

    `overrides` may name other data (`data.source.path=test.tsv`), of which every document is measured: labels are
    numbered as the run's own data has them, and there is no baseline.

    Gives whether that is the `whole` of other data, `nats` per token (or another `measure` and `unit`), for nats their
    `perplexity`, the `tokens` it is a mean of, and by name the objective's further `scores`; for running text also
    `bits_per_byte`, and the unigram baseline of the same split. Where the spec says what is scored of written texts
    (`writing`), `writing` has those scores, of so many `documents` (0: none) and by so many `beams` where these are
    said, and a few `examples`; all go to the file `out`, a line of JSON each. Raises `RestoreError`, `TrainError`,
    `DataError`.
    """
    model = restore(run, device=device, weights=weights, allow_plugins=allow_plugins)
    spec, plan = cast(Spec, model.spec), cast(Plan, model.plan)
    if spec.objective is None:
        raise TrainError("the spec has no `objective`: nothing says what a good answer is")
    writing = _writing(spec, documents, beams, out)
    text, other = _data(spec, overrides, cache, progress, allow_plugins)
    objective = spec.objective.build(plan.site)
    lots = text.everything() if other else [text.validation if limit is None else text.held_out(limit)]
    batches = chain.from_iterable(loader(each, batch_size=batch_size or text.data.batch_size) for each in lots)
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
    written = None if writing is None else write(model, text, writing, batch_size=batch_size, progress=progress)
    if written is not None and out is not None:
        written.save(out)
    baseline = None if other else text.baseline
    return {
        "run": str(run),
        "step": model.trained_steps,
        "nats": nats,
        "whole": other,
        "unit": text.unit,
        "measure": text.measure,
        "bits_per_byte": (text.bits_per_byte_of_everything if other else text.bits_per_byte)(nats),
        "perplexity": math.exp(min(nats, 700)) if text.measure == "nats" else None,
        "tokens": int(count.sum()),
        "scores": {name: float(each.compute()) for name, each in measured.items()},
        "writing": None if written is None else written.plain() | {"beams": cast(Writing, writing).beams},
        "unigram_nats": None if baseline is None else baseline.nats,
        "unigram_bits_per_byte": None if baseline is None else baseline.bits_per_byte,
    }


def _writing(spec: Spec, documents: int | None, beams: int | None, out: Path | None) -> Writing | None:
    """What of written texts is scored; raises `TrainError` for settings where nothing is."""
    if spec.writing is None or documents == 0:
        if (documents, beams, out) not in ((None, None, None), (0, None, None)):
            why = "with 0 documents" if spec.writing is not None else "the spec has no `writing`, so that"
            raise TrainError(f"{why} no text is written to be scored")
        return None
    said = {name: value for name, value in (("documents", documents), ("beams", beams)) if value is not None}
    if beams == 1:
        said["length_penalty"] = 1
    return spec.writing.model_copy(update=said)


def _data(
    spec: Spec, overrides: Sequence[str], cache: Path | None, progress: bool, allow_plugins: bool
) -> tuple[Text, bool]:
    """What to measure on, and whether that is other data than the run's own."""
    if not overrides:
        return prepare(spec, cache=cache, progress=progress), False
    from blueprint.load import load

    before = plain_spec(spec)
    changed = load(before, overrides=list(overrides), allow_plugins=allow_plugins)
    refuse_but_data(before, plain_spec(changed))
    if spec.data is None or changed.data is None or spec.data.source == changed.data.source:
        return prepare(changed, cache=cache, progress=progress), False
    try:
        labels = spec.data.source.classes(read=True)
    except ValueError as error:
        raise TrainError(
            f"the labels are numbered as the run's own data has them, which cannot be read: {error}\n"
            "  = fix: name them in `data.source.labels`"
        ) from error
    return prepare(changed, cache=cache, progress=progress, labels=None if labels is None else tuple(labels)), True
