"""What the models that an objective asks say of every training sample, kept on disk. No Lightning here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray

from blueprint.training.data.answers import keep
from blueprint.training.data.loader import loader
from blueprint.training.task import Text

#: Samples that are asked about at once; always the same, as rounding may differ with what stands beside a sample.
ROWS = 16


def answered(
    text: Text,
    objective: Any,
    hashes: Mapping[str, str],
    *,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
    progress: bool | None = None,
) -> Text:
    """The text with the answers about its training samples, from the cache or asked now, sample by sample as they lie:
    they depend on nothing else, so that a run that goes on reads the same ones.

    `hashes` tell the models, `context` is what they compute in. Raises `DataError` where the answers find no room.
    """
    said = text.spec.objective
    told = None if said is None else said.keeps()
    if told is None or text.answers is not None:
        return text

    def answers() -> Iterator[dict[str, NDArray[Any]]]:
        for batch in loader(text.lying, batch_size=ROWS):
            moved = {name: value.to(device) for name, value in batch.items()}
            with torch.no_grad(), context():
                found = objective.answers(moved)
            yield {name: each.cpu().numpy() for name, each in found.items()}

    precision = text.spec.precision
    settings = {
        "asked": told,
        "models": dict(hashes),
        "samples of": [text.tokens.key, repr(text.packing)],
        "precision": [text.spec.trainer.precision, None if precision is None else precision.to_plain(), device.type],
    }
    cache = text.tokens.folder.parents[1]
    return replace(text, answers=keep(answers, len(text.lying), settings, cache=cache, progress=progress))
