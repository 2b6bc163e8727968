"""A sum of objectives: its parts' losses, each of its own arrays; what does not add up is refused where it is said."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import blueprint as bp
from blueprint.component import Site
from blueprint.kinds import Objective
from blueprint.training import metrics
from blueprint.training.evaluate import evaluate
from blueprint.training.module import BlueprintModule
from blueprint.training.task import prepare
from tests.training.conftest import LABELLED, MakeSpec, make_spec, text

__all__ = ["make_spec", "text"]

SUM = (
    "tokenizer.sentinels=3",
    "objective={type: sum, objectives: {next: causal, middle: {type: fill_in_the_middle, rate: 1}}, "
    "weights: {next: 1, middle: 0.5}}",
)


def batches(spec: bp.Spec, count: int = 4) -> dict[str, torch.Tensor]:
    samples = prepare(spec, progress=False).train
    rows = [samples[n] for n in range(count)]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


@pytest.mark.parametrize("train", [True, False])
def test_it_is_the_weighted_sum_of_its_parts_losses_each_of_its_own_arrays(make_spec: MakeSpec, train: bool) -> None:
    spec = make_spec(*SUM, "model.block.dropout=0")
    model, batch = bp.build(spec).train(train), batches(spec)
    plain = {k: v for k, v in batches(make_spec("tokenizer.sentinels=3")).items() if k != "place"}
    assert all(torch.equal(batch[f"next/{name}"], value) for name, value in plain.items())
    assert not torch.equal(batch["middle/input_ids"], batch["next/input_ids"])
    assert spec.objective is not None
    loss, told = spec.objective.build(Site(d_model=32, width=32))(model, batch)
    parts = []
    for name, said in (("next", "causal"), ("middle", {"type": "fill_in_the_middle", "rate": 1})):
        own = {key.removeprefix(f"{name}/"): value for key, value in batch.items()}
        parts.append(Objective.of(said).build(Site(d_model=32, width=32))(model, own)[0])
        torch.testing.assert_close(told[f"{name}/loss"], parts[-1].detach())
    torch.testing.assert_close(loss, parts[0] + 0.5 * parts[1])
    if not train:
        torch.testing.assert_close(told["loss"], torch.stack([parts[0], 0.5 * parts[1]]))
        assert told["tokens"].tolist() == [64, 64]


def test_each_part_draws_lots_of_its_own(make_spec: MakeSpec) -> None:
    said = "objective={type: sum, objectives: {a: {type: masked, share: 0.5}, b: {type: masked, share: 0.5}}}"
    encoder = (
        *(each for each in LABELLED if "block" in each or "=32" in each or "layers" in each),
        "tokenizer.mask=true",
    )
    encoder = ("model.type=encoder", *encoder)
    batch = batches(make_spec(*encoder, said))
    hidden = [batch[f"{name}/labels"] != -100 for name in "ab"]
    assert hidden[0].sum() == hidden[1].sum()
    assert not torch.equal(hidden[0], hidden[1])
    spec = make_spec(*encoder, said)
    assert spec.objective is not None
    assert spec.tokenizer is not None
    change = spec.objective.change(spec.tokenizer)
    again = pickle.loads(pickle.dumps(change))
    row = {name: value[0].numpy() for name, value in batches(make_spec("tokenizer.mask=true")).items()}
    assert change is not None
    assert all((again(row, "w")[name] == value).all() for name, value in change(row, "w").items())


def test_a_run_logs_every_part_and_its_validation_adds_up(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(*SUM, "data.packing=single", "data.length=24", "trainer.max_steps=4")
    run = bp.fit(spec, tmp_path / "run", progress=False)
    last = metrics.read(tmp_path / "run" / "metrics.csv")[-1]
    assert last["loss"] == pytest.approx(last["next/loss"] + 0.5 * last["middle/loss"], rel=1e-5)
    found = {name: last[f"validation_{name}/loss"] for name in ("next", "middle")}
    assert last["validation_loss"] == pytest.approx(found["next"] + 0.5 * found["middle"], rel=1e-5)
    told = evaluate(tmp_path / "run")
    assert told["measure"] == "weighted losses"
    assert (told["perplexity"], told["bits_per_byte"]) == (None, None)
    assert told["scores"].keys() == {"next/loss", "middle/loss"}
    assert told["nats"] == pytest.approx(told["scores"]["next/loss"] + 0.5 * told["scores"]["middle/loss"], rel=1e-5)
    assert run.step == 4


def test_a_sum_of_one_thing_twice_learns_as_that_alone(make_spec: MakeSpec, tmp_path: Path) -> None:
    twice = "objective={type: sum, objectives: {a: causal, b: causal}, weights: {a: 0.25, b: 0.75}}"
    alone, both = "model.block.dropout=0", ("model.block.dropout=0", twice)
    bp.fit(make_spec(alone), tmp_path / "alone", progress=False)
    bp.fit(make_spec(*both), tmp_path / "both", progress=False)
    one, two = (bp.restore(tmp_path / name).state_dict() for name in ("alone", "both"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-3, rtol=0)


def test_samples_with_labels_are_summed_and_scored_by_part(make_spec: MakeSpec, tmp_path: Path) -> None:
    said = "objective={type: sum, objectives: {likely: classification, far: {type: hinge, margin: 2}}}"
    labelled = [each for each in LABELLED if not each.startswith("objective")]
    bp.fit(make_spec(*labelled, said, "trainer.max_steps=2"), tmp_path / "run", progress=False)
    last = metrics.read(tmp_path / "run" / "metrics.csv")[-1]
    assert last["validation_likely/accuracy"] == last["validation_far/accuracy"]
    assert last["validation_loss"] == pytest.approx(last["validation_likely/loss"] + last["validation_far/loss"])


def test_processes_share_each_part_by_its_own_predictions(make_spec: MakeSpec) -> None:
    """Two processes whose shares of a batch have other numbers of labels take the step that one would with all."""
    spec = make_spec(*SUM, "model.block.dropout=0")
    objective: Any = BlueprintModule(spec).objective
    model, whole = bp.build(spec).train(), batches(spec)
    for name, few in (("next", 3), ("middle", 9)):
        whole[f"{name}/labels"][0, few:] = -100
    halves = [{name: value[part] for name, value in whole.items()} for part in (slice(0, 1), slice(1, 4))]
    objective.share = lambda tokens: 1.0
    alone, apart = objective(model, whole)[0], [objective(model, half)[0] for half in halves]
    everyone = itertools.cycle([int((whole[f"{name}/labels"] != -100).sum()) for name in ("next", "middle")])
    objective.share = lambda tokens: tokens * 2 / next(everyone)
    shared = [objective(model, half)[0] for half in halves]
    torch.testing.assert_close((shared[0] + shared[1]) / 2, alone)
    assert not torch.allclose((apart[0] + apart[1]) / 2, alone)


DECODER = "model: {type: decoder, d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}}\n"


@pytest.mark.parametrize(
    ("said", "message", "at"),
    [
        ("{a: causal}", "name two objectives at least", "objective.objectives"),
        ("{a: causal, b/c: causal}", "names metrics", "objective.objectives.b/c"),
        ("{a: causal, b: {type: sum, objectives: {c: causal, d: causal}}}", "a sum in a sum", "objective.objectives.b"),
        (
            "{a: causal, b: masked}",
            "train one model, and that is none: `a` decoder, `b` encoder",
            "objective.objectives",
        ),
        ("{a: classification, b: regression}", "`a` images or labelled, `b` scored", "objective.objectives"),
        ("{a: causal, b: contrastive}", "read one head's output", "objective.objectives"),
        ("{a: causal, b: {type: fill_in_the_middle}}", "of which tokenizer `byte` has 0", "tokenizer"),
        (
            "{a: causal, b: {type: causal, z_los: 1}}",
            "unknown key of objective `causal`",
            "objective.objectives.b.z_los",
        ),
        ("{a: causal, b: causal}, weights: {a: 1}", "no number for b", "objective.weights"),
        ("{a: causal, b: causal}, weights: {a: 1, b: 1, c: 1}", "names c", "objective.weights"),
        ("{a: seq2seq, b: {type: seq2seq, start: pad}}", "not all cut samples alike", "objective.objectives"),
        ("{a: seq2seq, b: {type: seq2seq, start: bos}}", "the beginning of a text", "objective.objectives.b.start"),
    ],
)
def test_what_does_not_add_up_is_refused_where_it_is_said(said: str, message: str, at: str) -> None:
    model = DECODER.replace("decoder", "encoder_decoder") if "seq2seq" in said else DECODER
    letters = "tokenizer: byte\n"
    if "pad" in said:
        path = Path(bp.__file__).parent.parent / "tests" / "training" / "sentinels.json"
        letters = f"tokenizer: {{type: file, path: {path}}}\n"
    with pytest.raises(bp.SpecError) as refused:
        bp.loads(f"{model}{letters}objective: {{type: sum, objectives: {said}}}\n")
    problems = refused.value.problems
    assert any(message in problem.message and ".".join(problem.path) == at for problem in problems), str(refused.value)
