"""Rotary angles that follow a sequence's length: a state is kept as long as it holds, and then made anew."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import blueprint as bp

STRETCHED = {
    "longrope": {
        "type": "longrope",
        "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [1.0, 2.0, 3.0, 4.0],
        "original_length": 12,
    },
    "dynamic": {"type": "dynamic", "factor": 4.0, "original_length": 12},
}


def stretched(name: str, kind: str = "multi_head") -> Any:
    """A decoder of three layers whose angles follow the length from 12 on, with logits well apart."""
    width: dict[str, Any] = (
        {} if kind == "multi_head" else {"kv_rank": 16, "rope_dim": 8, "nope_dim": 8, "value_dim": 8}
    )
    attention = {"type": kind, "heads": 4, "position": {"type": "rope", "scaling": STRETCHED[name]}, **width}
    block = {"attention": attention, "feed_forward": {"type": "gated", "d_ff": 48}}
    sizes = {"d_model": 32, "layers": 3, "max_length": 64, "vocab_size": 61}
    model = {"type": "decoder", **sizes, "block": block, "init": {"type": "normal", "std": 0.3}}
    return bp.build(bp.load({"model": model})).eval()


IDS = torch.tensor([[3, 14, 15, 9, 26, 5, 35], [0, 0, 0, 0, 0, 8, 9], [0, 0, 0, 7, 9, 3, 2]])
ASKED: dict[str, Any] = {"max_new_tokens": 18, "attention_mask": (IDS != 0).long()}


@pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 0.9, "seed": 3}, {"num_beams": 3}], ids=str)
@pytest.mark.parametrize("kind", ["multi_head", "latent"])
@pytest.mark.parametrize("name", STRETCHED)
def test_what_is_written_across_the_switch_is_the_same_with_a_state(
    name: str, kind: str, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stretched(name, kind)
    assert model.incremental
    with_state = bp.generate(model, IDS, **ASKED, **how)
    monkeypatch.setattr(type(model), "incremental", False)
    assert torch.equal(with_state, bp.generate(model, IDS, **ASKED, **how))
    # It matters: a state kept across the switch writes something else.
    monkeypatch.undo()
    monkeypatch.setattr(type(model), "steady", lambda self, length: None)
    assert not torch.equal(with_state, bp.generate(model, IDS, **ASKED, **how))


@pytest.mark.parametrize(
    ("name", "rows", "whole"),
    [
        ("longrope", 1, [7, 13]),  # the prompt, and the first sequence longer than 12
        ("longrope", 3, [7, 13, 16, 18]),  # as each row, of 7, 4 and 2 tokens at first, comes to be
        ("dynamic", 1, [7, *range(13, 25)]),
    ],
)
def test_the_whole_is_read_again_only_where_the_angles_change(name: str, rows: int, whole: list[int]) -> None:
    model, read = stretched(name), []
    model.layers[0].register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape[1]))
    bp.generate(model, IDS[:rows], 18, temperature=0, attention_mask=ASKED["attention_mask"][:rows])
    assert len(read) == 18
    assert [size for size in read if size > 1] == whole


def test_a_state_that_no_longer_holds_is_refused() -> None:
    model = stretched("longrope")
    assert [model.steady(length) for length in (1, 12, 13)] == [12, 12, None]
    ids = torch.arange(20)[None]
    state = model.new_state(1, 30)
    model(ids[:, :11], state=state)
    state.rewind(1)
    assert (state.holds(2), state.holds(3)) == (True, False)
    with pytest.raises(ValueError, match="run the whole sequence with a new state"):
        model(ids[:, 10:13], state=state)
    model(ids[:, 10:12], state=state)
    state = model.new_state(1, 30)
    model(ids[:, :14], state=state)
    assert state.holds(16)
    state.rewind(1)
    with pytest.raises(ValueError, match="cannot take back 1 tokens: rotations followed the length"):
        state.rewind(1)
    model(ids[:, 13:14], state=state)


def test_a_stretched_target_is_written_the_same_with_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = {"heads": 4, "position": {"type": "rope", "scaling": STRETCHED["longrope"]}}
    block = {"attention": attention, "feed_forward": {"type": "gated", "d_ff": 48}}
    sizes = {"d_model": 32, "layers": 2, "max_length": 64, "vocab_size": 61}
    said = {"type": "encoder_decoder", **sizes, "block": block, "init": {"type": "normal", "std": 0.3}}
    model, encoded = bp.build(bp.load({"model": said})).eval(), []
    model.encoder.layers[0].register_forward_hook(lambda *_: encoded.append(1))
    asked: list[dict[str, Any]] = [{"temperature": 0}, {"num_beams": 3}]
    with_state = [bp.generate(model, IDS, **ASKED, start_id=2, **how) for how in asked]
    assert len(encoded) == 2
    monkeypatch.setattr(type(model), "incremental", False)
    for found, how in zip(with_state, asked, strict=True):
        assert torch.equal(found, bp.generate(model, IDS, **ASKED, start_id=2, **how))
