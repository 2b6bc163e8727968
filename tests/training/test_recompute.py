"""Computing again: the same numbers bit for bit, counted once, in less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.cost import memory
from blueprint.model.recompute import recompute
from blueprint.model.trial import trial_batch, trial_loss
from blueprint.ops import recomputing
from blueprint.schema.learning import Recompute
from blueprint.training import statistics
from blueprint.training.run import fit, resume
from tests.training.conftest import PAIRS, MakeSpec
from tests.training.watching import Trace, assert_same_run

EXPERTS = (
    "model.block.feed_forward={type: experts, experts: 4, router: {type: noisy_top_k, k: 2}, "
    "capacity: {factor: 1.0, spared: 0.4}, balance: [{type: expert, over: layers, weight: 0.5}, {type: importance}]}"
)
MODELS: dict[str, tuple[str, ...]] = {
    "dense": ("model.block.attention.dropout=0.2", "model.block.attention.mask={type: sliding, window: 4}"),
    "experts": ("model.layers=3", EXPERTS),
    "bias": ("model.block.attention.position=t5_bias",),
    "shared": ("model.share=[0, 0]",),
    "pairs": PAIRS,
}
SAID = [
    {},
    {"every": 2},
    {"part": "attention"},
    {"part": "feed_forward"},
]


def learned(spec: bp.Spec, said: Recompute | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The gradients of one batch, with dropout, and the buffers, in which experts have measured it."""
    model = bp.build(spec).train()
    recompute(model, said)
    plan = bp.plan(spec)
    batch = trial_batch(plan, 3, 12, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    loss, _ = trial_loss(spec, plan.site)(model, batch)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return gradients, dict(model.named_buffers())


@pytest.mark.parametrize("said", SAID, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_measurements_are_the_same(name: str, said: dict[str, Any], make_spec: MakeSpec) -> None:
    spec = make_spec(*MODELS[name])
    (wanted, told), (found, again) = learned(spec, None), learned(spec, Recompute(**said))
    assert wanted.keys() == found.keys()
    assert [key for key, value in wanted.items() if not torch.equal(value, found[key])] == []
    assert any(key.endswith("measured.sums") and value.any() for key, value in told.items()) == (name == "experts")
    assert [key for key, value in told.items() if not torch.equal(value, again[key])] == []


def test_what_is_said_is_what_runs_twice(make_spec: MakeSpec) -> None:
    spec = make_spec("model.layers=3")

    def twice(**said: Any) -> set[str]:
        model, seen = bp.build(spec).train(), set[str]()
        for name, module in model.named_modules():
            module.register_forward_pre_hook(lambda *_, name=name: seen.add(name) if recomputing() else None)
        recompute(model, Recompute(**said))
        assert bp.build(spec).state_dict().keys() == model.state_dict().keys()
        model(torch.arange(8)[None]).logits.sum().backward()
        return {name for name in seen if name.endswith(("norm", ".q", ".down"))}

    def there(layers: tuple[int, ...], names: tuple[str, ...]) -> set[str]:
        return {f"layers.{layer}.{name}" for layer in layers for name in names}

    assert twice(part="attention") == there((0, 1, 2), ("attention.q",))
    assert twice(part="feed_forward", every=2) == there((0, 2), ("feed_forward.down",))
    whole = ("attention_norm", "feed_forward_norm", "attention.q", "feed_forward.down")
    assert twice(every=2) == there((0, 2), whole)


def test_without_gradients_and_with_a_state_it_runs_once(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = bp.build(make_spec()), list[Any]()
    recompute(model, Recompute())
    monkeypatch.setattr("blueprint.ops.recompute.checkpoint", lambda part, x, **_: asked.append(x) or part(x))
    model(torch.arange(8)[None], state=model.new_state(1, 8))
    with torch.no_grad():
        model(torch.arange(8)[None])
    assert not asked
    model(torch.arange(8)[None])
    assert len(asked) == 2


def test_a_run_is_the_same_run_and_may_begin_to_in_its_middle(make_spec: MakeSpec, tmp_path: Path) -> None:
    seen, again = Trace(), Trace()
    fit(make_spec(EXPERTS), tmp_path / "whole", progress=False, callbacks=[seen])
    fit(make_spec(EXPERTS, "trainer.max_steps=3"), tmp_path / "other", progress=False, callbacks=[again])
    more = ["recompute={}", "trainer.max_steps=8"]
    resume(tmp_path / "other", more, progress=False, callbacks=[again])
    assert again.seen.keys() == seen.seen.keys()
    one, other = (statistics.read(tmp_path / name / "statistics.csv") for name in ("whole", "other"))
    assert one["load"].keys() == other["load"].keys()
    fit(make_spec(EXPERTS, "recompute={}"), tmp_path / "all", progress=False, callbacks=[recomputed := Trace()])
    assert_same_run(tmp_path / "whole", seen, tmp_path / "all", recomputed)


def test_it_takes_less_memory_and_cost_says_how_much(make_spec: MakeSpec) -> None:
    def held(*said: str) -> int:
        found = bp.cost(make_spec("model.layers=8", "model.max_length=256", "data.length=256", *said), 256, 4).memory
        assert found.activations is not None
        return found.activations + found.gradients

    plain, some, attention = held(), held("recompute.every=2"), held("recompute.part=attention")
    full = held("recompute={}")
    assert full < some < plain
    assert full < attention < plain
    # One vector a token stays of each further layer, whose gradients are still to come where most is held.
    more = held("recompute={}", "model.layers=9") - full
    assert more == 4 * 256 * 32 * 4


@pytest.mark.parametrize("said", ["recompute={}", "recompute.every=2"])
def test_few_layers_tell_the_cost_of_all(said: str, make_spec: MakeSpec) -> None:
    spec = make_spec("model.layers=9", said)
    plan = bp.plan(spec)
    whole = memory.activations(spec, plan, 32, 4, trial_loss(spec, plan.site))["activations"]
    assert bp.cost(spec, 32, 4).memory.activations == whole
