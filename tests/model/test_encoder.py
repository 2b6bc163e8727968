"""Encoders: what they take and refuse, what trains them, and what they share with decoders."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.build_folder import build_folder
from blueprint.training.error import TrainError

SAID: dict[str, Any] = {
    "type": "encoder",
    "d_model": 32,
    "layers": 2,
    "vocab_size": 61,
    "max_length": 32,
    "embedding": {"token_types": 3},
    "block": {"attention": {"heads": 4}},
    "head": {"type": "masked_language_model", "tie": True},
}
CLASSES = {"type": "classification", "labels": 3}
IDS = torch.randint(0, 61, (2, 9), generator=torch.Generator().manual_seed(0))


def spec(rest: dict[str, Any] | None = None, **model: Any) -> bp.Spec:
    return bp.load({"model": {**copy.deepcopy(SAID), **model}, **(rest or {})})


def told(rest: dict[str, Any] | None = None, **model: Any) -> str:
    with pytest.raises(bp.SpecError) as caught:
        spec(rest, **model)
    assert len(caught.value.problems) == 1, caught.value
    return str(caught.value)


def changed(model: Any, at: int) -> torch.Tensor:
    """Which tokens' hidden states of the first row change with the token at a place."""
    other = IDS.clone()
    other[0, at] = (other[0, at] + 1) % 61
    with torch.no_grad():
        found: torch.Tensor = (model(other).hidden != model(IDS).hidden)[0].any(-1)
    return found


def test_tokens_see_both_sides_unless_the_stack_is_causal() -> None:
    assert changed(bp.build(spec()).eval(), 5).all()
    assert changed(bp.build(spec(causal=True)).eval(), 5).tolist() == [False] * 5 + [True] * 4


def test_a_window_reaches_as_far_to_either_side() -> None:
    one = {"attention": {"heads": 4, "mask": {"type": "sliding", "window": 2}}}
    seen = changed(bp.build(spec(layers=1, block=one)).eval(), 4)
    assert seen.tolist() == [False] * 2 + [True] * 5 + [False] * 2


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_types_of_tokens_are_0_where_nothing_is_said(kind: str) -> None:
    model = bp.build(spec(type=kind)).eval()
    plain = model(IDS).logits
    assert torch.equal(model(IDS, token_type_ids=torch.zeros_like(IDS)).logits, plain)
    assert not torch.equal(model(IDS, token_type_ids=torch.full_like(IDS, 2)).logits, plain)
    with pytest.raises(ValueError, match="token_type_ids has shape"):
        model(IDS, token_type_ids=IDS[:1])


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_inputs_that_are_not_taken_are_refused_by_name(kind: str) -> None:
    model = bp.build(spec(type=kind, embedding={}))
    with pytest.raises(TypeError, match="no token types"):
        model(IDS, token_type_ids=torch.zeros_like(IDS))
    with pytest.raises(TypeError, match=f"{kind}s take input_ids.*no pixel_values, decoder_input_ids"):
        model(IDS, pixel_values=torch.zeros(1), decoder_input_ids=IDS)
    with pytest.raises(TypeError, match="input_ids are missing"):
        model()


def test_position_ids_and_documents_are_heard() -> None:
    block = {"attention": {"heads": 4, "mask": "document"}}
    model = bp.build(spec(block=block)).eval()
    segments = torch.tensor([[0] * 4 + [1] * 5]).expand_as(IDS)
    apart = torch.cat((model(IDS[:, :4]).hidden, model(IDS[:, 4:]).hidden), 1)
    torch.testing.assert_close(model(IDS, segment_ids=segments).hidden, apart, atol=1e-5, rtol=1e-5)
    spread = torch.arange(9).expand_as(IDS) * 3
    assert not torch.allclose(model(IDS, position_ids=spread).hidden, model(IDS).hidden, atol=1e-4)


def test_it_continues_no_text() -> None:
    model = bp.build(spec())
    assert not model.incremental
    with pytest.raises(ValueError, match="this encoder does not continue text: it reads whole sequences"):
        bp.generate(model, IDS, max_new_tokens=1)
    pooled = bp.build(spec(type="decoder", head=CLASSES))
    with pytest.raises(ValueError, match="this decoder does not continue text: its head gives an output"):
        bp.generate(pooled, IDS, max_new_tokens=1)


def test_the_objective_that_is_not_said_is_the_models_usual_one() -> None:
    usual = spec(type="decoder", head={"tie": True})
    assert usual.objective is not None
    assert usual.objective.spec_name == "causal"
    assert usual.sample is not None
    for said in ({}, {"head": CLASSES}, {"type": "decoder", "head": CLASSES}):
        made = spec(**said)
        assert made.objective is None
        assert made.sample is None
        assert {"objective", "sample"}.isdisjoint(made.to_plain(defaults=False))
        for again in (made.to_plain(), made.to_plain(defaults=False)):
            assert bp.load(again).to_plain() == made.to_plain()


def test_an_objective_or_samples_that_do_not_fit_are_refused() -> None:
    assert "trains models of type decoder, not encoder" in told({"objective": "causal"})
    assert "needs an output for every token" in told({"objective": "causal"}, type="decoder", head=CLASSES)
    assert "does not write text" in told({"sample": {"prompt": "x"}})
    assert "does not write text" in told({"sample": {"prompt": "x"}}, type="decoder", head=CLASSES)


def test_without_an_objective_it_does_not_train() -> None:
    rest = {"tokenizer": "byte", "data": {"source": "stdlib"}, "trainer": {"max_steps": 1}}
    made = spec(rest, vocab_size=300)
    with pytest.raises(TrainError, match="missing: `objective` says what the model learns"):
        bp.fit(made, out="unused")
    with pytest.raises(TrainError, match="has no `objective`"):
        bp.compile(made)


def test_a_tie_that_does_not_fit_is_pointed_out() -> None:
    narrow = {"width": 8}
    assert "has a table of width 8, the head needs 32" in told(embedding=narrow, head={"tie": True})
    assert spec(embedding=narrow).model.head.tie


@pytest.mark.parametrize("head", [SAID["head"], CLASSES, {"type": "pooler"}, {"type": "language_model"}], ids=str)
def test_it_is_built_proved_and_costed(tmp_path: Path, head: dict[str, Any]) -> None:
    built = build_folder(spec(head=head), tmp_path / "build")
    assert built.proof.ran == "whole"
    assert built.cost.parameters == sum(p.numel() for p in bp.build(spec(head=head)).parameters())
    assert built.cost.flops_training == 3 * (built.cost.flops_forward or 0)
    assert built.cost.memory.training is not None
    assert "reads whole sequences" in built.cost.unknown["cache_bytes"]
    assert str(built.plan).startswith("model: encoder of 2 layers")
