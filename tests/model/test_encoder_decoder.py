"""Encoder-decoders: what each side sees, what is computed once, what both have in common, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import blueprint as bp
from blueprint.build_folder import build_folder
from blueprint.diff import diff
from blueprint.model.build import build_plan
from blueprint.training.restore import restore

SAID: dict[str, Any] = {
    "type": "encoder_decoder",
    "d_model": 32,
    "layers": 2,
    "vocab_size": 61,
    "max_length": 32,
    "norm": "layer",
    "block": {"attention": {"heads": 4, "position": "none"}, "feed_forward": {"type": "mlp", "d_ff": 48}},
    "embedding": {"positions": "learned"},
    "head": {"tie": True},
}
SOURCE, TARGET = (torch.randint(61, (3, n), generator=torch.Generator().manual_seed(n)) for n in (9, 12))
FULL = torch.ones(3, 9, dtype=torch.int64)


def spec(rest: dict[str, Any] | None = None, **model: Any) -> bp.Spec:
    return bp.load({"model": {**copy.deepcopy(SAID), **model}, **(rest or {})})


def built(**model: Any) -> Any:
    """The model, its parameters moved off their initial values."""
    made = bp.build(spec(**model)).eval()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return made


def told(text: str) -> list[Any]:
    with pytest.raises(bp.SpecError) as caught:
        bp.loads(text)
    return list(caught.value.problems)


@torch.no_grad()
def hidden(model: Any, source: Tensor = SOURCE, target: Tensor = TARGET, **more: Any) -> Tensor:
    found: Tensor = model(source, decoder_input_ids=target, **more).hidden
    return found


@torch.no_grad()
def test_the_encoder_sees_both_ways_the_decoder_only_back() -> None:
    model = built()
    other = SOURCE.clone()
    other[0, 4] = (other[0, 4] + 1) % 61
    memory, changed = (model.encode(ids)[0].x_BSD for ids in (SOURCE, other))
    assert (memory != changed)[0].any(-1).all()
    assert torch.equal(memory[1:], changed[1:])
    # All of the source reaches every token of the target.
    assert (hidden(model) != hidden(model, other))[0].any(-1).all()
    after = TARGET.clone()
    after[0, 5] = (after[0, 5] + 1) % 61
    seen = (hidden(model) != hidden(model, target=after))[0].any(-1)
    assert seen.tolist() == [False] * 5 + [True] * 7


@torch.no_grad()
def test_padding_on_any_side_of_either_sequence_is_nothing() -> None:
    model = built()
    alone = hidden(model)
    filler = torch.full((3, 4), 7)
    none = torch.zeros_like(filler)
    for source, mask in (([SOURCE, filler], [FULL, none]), ([filler, SOURCE], [none, FULL])):
        found = hidden(model, torch.cat(source, 1), attention_mask=torch.cat(mask, 1))
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)
    ones = torch.ones_like(TARGET)
    left = hidden(model, target=torch.cat([filler, TARGET], 1), decoder_attention_mask=torch.cat([none, ones], 1))
    torch.testing.assert_close(left[:, 4:], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", ["sdpa", "dense"])
def test_a_source_that_is_all_padding_is_no_source(backend: str) -> None:
    model = built(decoder={"block": {"cross_attention": {"backend": backend}}})
    mask = FULL.clone()
    mask[1] = 0
    found = model(SOURCE, mask, decoder_input_ids=TARGET)
    found.logits.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    other = SOURCE.clone()
    other[1] = (other[1] + 1) % 61
    assert torch.equal(found.hidden.detach(), hidden(model, other, attention_mask=mask))


@pytest.mark.parametrize("chunks", [[1] * 12, [5, 1, 1, 5]])
@torch.no_grad()
def test_step_by_step_equals_at_once(chunks: list[int]) -> None:
    model = built()
    mask = FULL.clone()
    mask[1, 5:], mask[2, :3] = 0, 0
    whole = hidden(model, attention_mask=mask)
    memory, _ = model.encode(SOURCE, mask)
    state, parts, start = model.new_state(3, 12), [], 0
    for size in chunks:
        # The memory may be handed over each time, or only the first.
        given = memory if start == 0 or size == 5 else None
        parts.append(model(decoder_input_ids=TARGET[:, start : start + size], memory=given, state=state).hidden)
        start += size
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_targets_of_unequal_length_step_by_step() -> None:
    model = built()
    whole = hidden(model)
    first, keep = TARGET[:, :6].clone(), torch.ones(3, 6, dtype=torch.int64)
    first[0] = torch.cat([torch.full((2,), 7), TARGET[0, :4]])
    keep[0, :2] = 0
    state = model.new_state(3, 12)
    model(SOURCE, decoder_input_ids=first, decoder_attention_mask=keep, state=state)
    for step in range(6, 12):
        at = torch.tensor([step - 2, step, step])
        found = model(decoder_input_ids=TARGET.gather(1, at[:, None]), state=state).hidden[:, 0]
        torch.testing.assert_close(found, whole[torch.arange(3), at], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_memorys_keys_are_computed_once_and_follow_their_rows() -> None:
    model = built()
    calls: list[int] = []
    for layer in model.decoder.layers:
        layer.cross_attention.k.register_forward_hook(lambda *_: calls.append(1))
    whole = hidden(model)
    calls.clear()
    mask = FULL.clone()
    mask[1, 5:] = 0
    state = model.new_state(3, 12)
    empty = state.nbytes
    model(SOURCE, mask, decoder_input_ids=TARGET[:, :6], state=state)
    # Keys and values, both layers, in float32.
    assert state.nbytes - empty == 2 * 2 * SOURCE.numel() * 32 * 4
    state.rewind(2)
    model(decoder_input_ids=TARGET[:, 4:6], state=state)
    order = torch.tensor([2, 0, 2, 1])
    state.reorder(order)
    found = model(decoder_input_ids=TARGET[order, 6:], state=state).hidden
    assert len(calls) == 2
    expected = hidden(model, attention_mask=mask)[order, 6:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(expected[3], whole[1, 6:], atol=1e-4)


def test_beams_may_share_one_source() -> None:
    model = built()
    with torch.no_grad():
        memory, _ = model.encode(SOURCE)
        index = torch.tensor([0, 0, 1, 2])
        many = model(decoder_input_ids=TARGET[index], memory=memory.reorder(index)).hidden
    torch.testing.assert_close(many, hidden(model)[index], atol=1e-5, rtol=1e-5)


def test_the_two_tables_are_one_parameter_unless_they_are_separate(tmp_path: Path) -> None:
    shared, separate = bp.build(spec()), bp.build(spec(embeddings="separate"))
    count = [sum(p.numel() for p in model.parameters()) for model in (shared, separate)]
    assert count[1] - count[0] == 61 * 32
    assert bp.cost(spec()).parameters == count[0]
    names = {"encoder.embedding.tokens.weight", "decoder.embedding.tokens.weight"}
    assert names <= set(shared.state_dict())
    assert not any(name == "decoder.embedding.tokens.weight" for name, _ in shared.named_parameters())
    # They are still one after being written and read.
    build_folder(spec(), tmp_path / "build", weights=True)
    again = restore(tmp_path / "build")
    tables: Any = [again.get_parameter(name) for name in sorted(names)]
    assert tables[0] is tables[1]
    assert torch.equal(tables[0], shared.get_parameter("encoder.embedding.tokens.weight"))


def test_the_head_reads_the_decoders_table() -> None:
    model: Any = bp.build(spec(embeddings="separate"))
    assert model.table_VD is model.decoder.embedding.tokens.weight


def test_a_listed_layer_alone_reads_the_memory() -> None:
    model: Any = bp.build(spec(decoder={"layers": 3, "overrides": {"0": {"cross_attention": None}}}))
    assert [layer.cross_attention is None for layer in model.decoder.layers] == [True, False, False]
    assert all(layer.cross_attention is None for layer in model.encoder.layers)
    assert [len(side.layers) for side in (model.encoder, model.decoder)] == [2, 3]


def test_cross_attention_takes_after_the_attention_but_for_its_places() -> None:
    attention = {"heads": 4, "kv_heads": 2, "bias": ["q"], "mask": {"type": "sliding", "window": 3}}
    said = spec(block={"attention": attention}, embedding={}, decoder={"block": {"cross_attention": {"bias": True}}})
    cross = said.model.decoder.block.cross_attention
    assert (cross.heads, cross.kv_heads, cross.bias) == (4, 2, True)
    assert (cross.mask.spec_name, cross.position.spec_name) == ("full", "none")
    own = said.model.decoder.block.attention
    assert (own.bias, own.mask.spec_name, own.position.spec_name) == (["q"], "sliding", "rope")


SIDES: list[dict[str, Any]] = [
    {},
    {"encoder": {"layers": 3, "max_length": 16}, "decoder": {"norm": "rms", "final_norm": None}},
    {"encoder": {"norm": {"eps": 1e-3}}, "decoder": {"block": {"cross_attention": {"bias": True, "dropout": 0.1}}}},
    {"layers": None, "encoder": {"layers": 1}, "decoder": {"layers": 2, "block": {"attention": {"bias": True}}}},
    {
        "blocks": {"wide": {"feed_forward": {"d_ff": 96}}, "biased": {"attention": {"bias": True}}},
        "pattern": ["wide"],
        "decoder": {"pattern": ["block", "biased"], "overrides": {"-1": {"cross_attention": None}}},
    },
    {
        "block": {**SAID["block"], "attention": {"heads": 4, "bias": True, "position": "none"}},
        "decoder": {
            "block": {"cross_attention": None},
            "overrides": {"0": {"attention": {"bias": False}, "cross_attention": {"heads": 2}}},
        },
    },
    {"encoder": {"block": {"type": "parallel", "attention": {"heads": 4, "position": "none"}}}, "share": [0, 0]},
    {"embeddings": "separate", "encoder": {"embedding": {"width": 16}}, "decoder": {"embedding": {"norm": "layer"}}},
]


@pytest.mark.parametrize("said", SIDES, ids=range(len(SIDES)))
def test_a_spec_that_is_written_out_reads_back_equal(said: dict[str, Any]) -> None:
    made = spec(**{key: value for key, value in said.items() if value is not None})
    for defaults in (True, False):
        again = bp.load(made.to_plain(defaults=defaults))
        assert again.model == made.model
        assert bp.plan(again).hash == bp.plan(made).hash
    assert type(made.model).of(made.model.to_plain()) == made.model


def test_what_both_sides_say_alike_is_written_once() -> None:
    plain = spec().to_plain(defaults=False)["model"]
    assert "encoder" not in plain
    assert "decoder" not in plain
    # The same network, however it is spread over the two sides.
    layers = {"encoder": {"layers": 2}, "decoder": {"layers": 2}}
    apart = {key: value for key, value in SAID.items() if key != "layers"}
    assert bp.load({"model": {**apart, **layers}}).to_plain(defaults=False)["model"] == plain


TEXT = """\
model:
  type: encoder_decoder
  vocab_size: 61
  d_model: 32
  layers: 2
  block: {attention: {heads: 4, position: none}, feed_forward: {type: mlp, d_ff: 48}}
  embedding: {positions: sinusoidal}
  encoder: {layers: 3}
  decoder: {block: {cross_attention: {bias: true}}}
  head: {tie: true}
"""

#: Every layer is changed to one without.
UNREAD = "{0: {cross_attention: null}, 1: {cross_attention: null}}"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("layers: 2", "layrs: 2", 5, "did you mean `layers`"),
        ("block: {attention", "blck: {attention", 6, "did you mean `block`"),
        ("heads: 4", "heads: 5", 6, "32/5"),
        ("encoder:", "encodr:", 8, "did you mean `encoder`"),
        ("{layers: 3}", "{layerz: 3}", 8, "did you mean `layers`"),
        ("{layers: 3}", "{d_model: 16}", 8, "unknown key of `encoder_side`"),
        ("{layers: 3}", "{layers: three}", 8, "expected a whole number greater than 0"),
        ("{layers: 3}", "{block: {cross_attention: {bias: true}}}", 8, "no memory here"),
        ("{layers: 3}", "{embedding: {width: 16}}", 1, "cannot share one table"),
        ("{bias: true}", "{bais: true}", 9, "did you mean `bias`"),
        ("{bias: true}", "{mask: {type: sliding, window: 3}}", 9, "leave `mask` out"),
        ("{bias: true}", "{position: rope}", 9, "leave `position` out"),
        ("{bias: true}", "{temperature: {scale: 1.0, floor: 2}}", 9, "leave `temperature` out"),
        ("cross_attention: {bias: true}", "cross_attention: null", 9, "no layer of the decoder reads"),
        ("{cross_attention: {bias: true}}", "{cross_attention: {bias: true}}, overrides: UNREAD", 9, "no layer of the"),
        ("position: none", "position: rope", 6, "told twice"),
    ],
)
def test_what_is_wrong_is_told_once_where_it_is_said(old: str, new: str, line: int, words: str) -> None:
    bp.loads(TEXT)
    (problem,) = told(TEXT.replace(old, new.replace("UNREAD", UNREAD)))
    assert problem.span.line == line
    assert words in str(problem)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_other_models_have_no_memory_to_read(kind: str) -> None:
    text = f"model: {{type: {kind}, vocab_size: 9, d_model: 8, layers: 1, block: {{attention: {{heads: 2}}, "
    (problem,) = told(text + "cross_attention: {heads: 2}}}")
    assert problem.path == ("model", "block", "cross_attention")
    assert "only the decoder of an `encoder_decoder`" in problem.message


def test_inputs_that_are_missing_or_not_taken_are_refused_by_name() -> None:
    model = built()
    memory, _ = model.encode(SOURCE)
    with pytest.raises(TypeError, match="decoder_input_ids are missing"):
        model(SOURCE)
    with pytest.raises(TypeError, match="input_ids are missing, or the memory"):
        model(decoder_input_ids=TARGET)
    with pytest.raises(TypeError, match="input_ids are missing, or the memory"):
        model(decoder_input_ids=TARGET, state=model.new_state(3, 12))
    with pytest.raises(TypeError, match="both given"):
        model(SOURCE, memory=memory, decoder_input_ids=TARGET)
    with pytest.raises(TypeError, match="no segment_ids"):
        model(SOURCE, segment_ids=FULL, decoder_input_ids=TARGET)
    with pytest.raises(TypeError, match="attention_mask without input_ids"):
        model(attention_mask=FULL, memory=memory, decoder_input_ids=TARGET)
    with pytest.raises(TypeError, match="no token types"):
        model(SOURCE, token_type_ids=FULL, decoder_input_ids=TARGET)


def test_a_fixed_bias_is_stored_and_added_and_not_trained() -> None:
    for head in ({"tie": True, "bias": "fixed"}, {"bias": "fixed"}):
        model: Any = bp.build(spec(head=head))
        assert "head.bias" in dict(model.named_buffers())
        assert "head.bias" in model.state_dict()
        hidden_BTD = torch.randn(2, 3, 32)
        before = model.project(hidden_BTD)
        with torch.no_grad():
            model.head.bias.copy_(torch.arange(61.0))
        torch.testing.assert_close(model.project(hidden_BTD), before + torch.arange(61.0))
        loss = model.cross_entropy(hidden_BTD, TARGET[:2, :3])
        expected = torch.nn.functional.cross_entropy(model.project(hidden_BTD).flatten(0, 1), TARGET[:2, :3].flatten())
        torch.testing.assert_close(loss, expected)


def test_it_is_built_proved_costed_and_drawn(tmp_path: Path) -> None:
    made = spec(encoder={"layers": 3})
    done = build_folder(made, tmp_path / "build")
    assert done.proof.ran == "whole"
    assert (tmp_path / "build" / "architecture.png").stat().st_size > 1000
    text = str(done.plan)
    rows = ["encoder.embedding", "encoder layers 0–2", "encoder.final_norm", "decoder.embedding", "decoder layers 0–1"]
    assert [text.index(row) for row in rows] == sorted(text.index(row) for row in rows)
    cost = done.cost
    assert cost.parameters == sum(p.numel() for p in bp.build(made).parameters())
    assert cost.flops_training == 3 * (cost.flops_forward or 0)
    # 2 layers, keys and values, 32 wide, 4 bytes: of the target, and once more of the source.
    assert cost.cache_bytes_per_token == 2 * 2 * 32 * 4
    assert cost.cache_bytes == 2 * 32 * 2 * 2 * 32 * 4
    assert {(layers.side, layers.indices) for layers in cost.layers} == {("encoder", (0, 1, 2)), ("decoder", (0, 1))}


def test_a_miniature_keeps_both_sides() -> None:
    large = spec(d_model=1024, vocab_size=50_000, max_length=512, encoder={"layers": 12, "max_length": 256})
    small = bp.plan(large).miniature()
    assert {side: len(stack) for side, stack in small.stacks.items()} == {"encoder": 2, "decoder": 2}
    model: Any = build_plan(small)
    assert sum(p.numel() for p in model.parameters()) < 100_000
    assert model(SOURCE % 61, decoder_input_ids=TARGET % 61).logits.isfinite().all()


def test_each_side_is_initialised_for_its_own_depth() -> None:
    same, deep = (bp.build(spec(init="scaled", encoder={"layers": n})) for n in (2, 8))
    name = "layers.0.attention.o.weight"
    assert torch.equal(same.get_parameter(f"decoder.{name}"), deep.get_parameter(f"decoder.{name}"))
    ratio = same.get_parameter(f"encoder.{name}").std() / deep.get_parameter(f"encoder.{name}").std()
    assert ratio.item() == pytest.approx(2, rel=0.01)


def test_two_specs_differ_where_their_sides_do() -> None:
    found = diff(spec(), spec(encoder={"layers": 3}, decoder={"block": {"attention": {"bias": True}}}))
    where = {change.where for change in found.architecture}
    assert {"encoder.layers", "encoder layer 2", "decoder layers 0–1 cross_attention.bias"} <= where
    assert "decoder.layers" not in where
