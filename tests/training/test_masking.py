"""Hidden tokens in a run: new ones every epoch, always the same for validation, whatever reads the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blueprint.training.data.dataset import Samples
from blueprint.training.data.loader import loader
from blueprint.training.task import Text, prepare

from .conftest import LABELLED, MakeSpec
from .test_resume import MASKED

Batch = dict[str, torch.Tensor]


@pytest.fixture(params=["true", "false"])
def data(request: pytest.FixtureRequest, make_spec: MakeSpec) -> Text:
    return prepare(make_spec(*MASKED, f"data.shuffle={request.param}"), progress=False)


def epochs(samples: Samples, count: int, **how: int) -> list[dict[int, Batch]]:
    """By epoch and sample the arrays that were read."""
    batches = -(-len(samples) // 4)
    rows: list[dict[int, Batch]] = []
    for epoch in range(count):
        found: dict[int, Batch] = {}
        for batch in loader(samples, batch_size=4, start=epoch * batches, **how):
            for index, place in enumerate(batch["place"].tolist()):
                found[place] = {name: value[index] for name, value in batch.items()}
        rows.append(found)
    return rows


def test_every_epoch_hides_others(data: Text) -> None:
    first, second = (
        {place: data.train[n + epoch * len(data.train)]["labels"] for n in range(len(data.train)) for place in [n]}
        for epoch in (0, 1)
    )
    sames = [np.array_equal(first[n] != -100, second[n] != -100) for n in first]
    assert sum(sames) < len(sames) / 4
    sample = data.train[0]
    assert (sample["labels"] != -100).sum() == round(0.15 * (sample["input_ids"] != 256).sum())


def test_what_is_hidden_depends_on_no_worker_and_no_rank(make_spec: MakeSpec) -> None:
    samples = prepare(make_spec(*MASKED, "data.shuffle=false"), progress=False).train
    alone = epochs(samples, 2)
    assert any(not torch.equal(alone[0][n]["labels"], alone[1][n]["labels"]) for n in alone[0])
    for how in ({"workers": 2}, {"world_size": 2, "rank": 0}, {"world_size": 2, "rank": 1}):
        for ours, theirs in zip(epochs(samples, 2, **how), alone, strict=True):
            for place in ours.keys() - {-1}:
                assert all(torch.equal(ours[place][name], theirs[place][name]) for name in theirs[place])


def test_validation_always_hides_the_same(make_spec: MakeSpec, data: Text) -> None:
    again = prepare(make_spec(*MASKED), progress=False)
    whole = {int(data.validation[n]["place"]): data.validation[n] for n in range(len(data.validation))}
    for samples in (again.validation, again.held_out(1)):
        for n in range(len(samples)):
            found = samples[n]
            assert np.array_equal(found["labels"], whole[int(found["place"])]["labels"])


def test_the_seed_hides_others(make_spec: MakeSpec) -> None:
    one, two = (prepare(make_spec(*MASKED, "data.shuffle=false", f"seed={n}"), progress=False).train for n in (1, 1))
    assert np.array_equal(one[0]["labels"], two[0]["labels"])
    other = Samples(one.split, one.packing, seed=None, change=one.change, lots=2)
    assert not all(np.array_equal(one[n]["labels"], other[n]["labels"]) for n in range(len(one)))


SIDES = ["model.type=encoder_decoder", *MASKED[1:]]


@pytest.mark.parametrize(
    ("said", "bits", "baseline"),
    [
        ([], True, True),
        (MASKED, False, True),
        ([*SIDES, "objective=prefix"], False, True),
        ([*SIDES, "objective=denoising"], False, True),
        ([*SIDES, "tokenizer.sentinels=12", "objective=span_corruption"], False, True),
        ([*LABELLED], False, False),
    ],
    ids=["causal", "masked", "prefix", "denoising", "span_corruption", "classification"],
)
def test_bits_and_a_baseline_are_told_where_they_mean_something(
    said: list[str], bits: bool, baseline: bool, make_spec: MakeSpec
) -> None:
    """Bits per byte where every token of a text is predicted, token frequencies where any tokens are."""
    text = prepare(make_spec(*said), progress=False)
    assert ((text.bits_per_byte(1.0) is not None), (text.baseline is not None)) == (bits, baseline)


def test_the_baseline_knows_the_frequencies_of_what_is_asked(make_spec: MakeSpec) -> None:
    """Special tokens are never hidden: a model that told them would gain nothing, and the baseline does not."""
    text = prepare(make_spec(*MASKED), progress=False)
    asked = [n["labels"][n["labels"] != -100] for n in (text.train[i] for i in range(len(text.train)))]
    met = np.concatenate(
        [n["labels"][n["labels"] != -100] for n in map(text.validation.__getitem__, range(len(text.validation)))]
    )
    seen = np.bincount(np.concatenate(asked), minlength=258) + 1
    assert text.baseline is not None
    assert text.baseline.nats == pytest.approx(-np.log(seen / seen.sum())[met].mean())
    assert not seen[256:].sum() > 2
