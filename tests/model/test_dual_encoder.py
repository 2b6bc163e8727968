"""The dual encoder: two towers, each by itself, and what compares them."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.build_folder import build_folder
from blueprint.cost.flops import operations
from blueprint.cost.reduce import measured

GOOD = """\
model:
  type: dual_encoder
  text:
    d_model: 16
    layers: 2
    max_length: 12
    vocab_size: 50
    causal: true
    block: {attention: {heads: 2}}
    pool: last
  image:
    d_model: 24
    layers: 3
    embedding: {image_size: 8, patch_size: 4}
    block: {attention: {heads: 3}}
    pool_norm: layer
  contrast: {width: 10}
"""
PATCHES = "{type: patches, image_size: 8, patch_size: 4}"
IDS = torch.randint(0, 50, (3, 7), generator=torch.Generator().manual_seed(0))
PIXELS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> Any:
    return bp.build(bp.loads(GOOD)).eval()


def test_every_image_meets_every_text(model: Any) -> None:
    out = model(IDS, pixel_values=PIXELS)
    assert out.logits.shape == (2, 3)
    assert out.hidden.shape == (3, 7, 16)
    assert {name: tuple(each.shape) for name, each in out.vectors.items()} == {"text": (3, 10), "image": (2, 10)}
    scaled = out.vectors["image"] @ out.vectors["text"].T * model.contrast.scale.exp()
    torch.testing.assert_close(out.logits, scaled)
    assert model(IDS, pixel_values=PIXELS, logits=False).logits is None


def test_a_tower_works_by_itself(model: Any) -> None:
    both = model(IDS, pixel_values=PIXELS)
    text, image = model(IDS), model(pixel_values=PIXELS)
    assert text.logits is image.logits is None
    torch.testing.assert_close(text.vectors["text"], both.vectors["text"])
    torch.testing.assert_close(image.vectors["image"], both.vectors["image"])
    assert image.hidden.shape == (2, 5, 24)


def test_towers_are_as_encoders_that_pool(model: Any) -> None:
    said = bp.loads(GOOD).to_plain(defaults=False)["model"]
    text = {key: value for key, value in said["text"].items() if key != "pool"}
    head = {"type": "pooler", "over": "last", "activation": None}
    encoder: Any = bp.build(bp.load({"model": {"type": "encoder", **text, "head": head}})).eval()
    own = {k: v for k, v in model.text.state_dict().items() if not k.startswith("pool")}
    encoder.load_state_dict(own)
    vector = torch.nn.functional.normalize(model.contrast.text(encoder(IDS).logits), dim=-1)
    torch.testing.assert_close(vector, model(IDS).vectors["text"])


def test_names_of_parameters(model: Any) -> None:
    names = dict(model.named_parameters())
    assert {
        "text.embedding.tokens.weight",
        "text.layers.1.attention.q.weight",
        "text.norm.weight",
        "image.embedding.patches.weight",
        "image.embedding.prefix.weight",
        "image.layers.2.feed_forward.down.weight",
        "image.pool_norm.weight",
        "contrast.text.weight",
        "contrast.image.weight",
        "contrast.scale",
    } <= set(names)
    assert {name.split(".")[0] for name in names} == {"text", "image", "contrast"}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "no input_ids and no pixel_values"),
        ({"pixel_values": PIXELS, "attention_mask": torch.ones(3, 7)}, "attention_mask without input_ids"),
        ({"input_ids": IDS, "decoder_input_ids": IDS}, "dual_encoders take input_ids.*no decoder_input_ids"),
        ({"input_ids": IDS, "token_type_ids": IDS}, "no token types"),
    ],
)
def test_what_is_not_taken_is_refused(model: Any, given: dict[str, Any], what: str) -> None:
    with pytest.raises(TypeError, match=what):
        model(**given)


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ("    vocab_size: 50\n", "", 3, "`vocab_size` must be said"),
        (
            "    pool: last",
            f"    embedding: {PATCHES}",
            10,
            "text tower takes input_ids",
        ),
        ("embedding: {image_size: 8, patch_size: 4}", "embedding: tokens", 14, "image tower takes pixel_values"),
        ("    pool_norm: layer", "    max_length: 9", 16, "unknown key"),
        ("    pool_norm: layer", "    pool: largest", 16, "looks for an id"),
        ("    pool: last", "    pool: {type: eos, id: 50}", 10, "no id 50 among 50"),
        ("contrast: {width: 10}", "contrast: {width: null}", 17, "the text's vector has 16 channels, the image's 24"),
        ("heads: 3", "heads: 5", 15, "heads"),
        ("  contrast: {width: 10}\n", "  contrast: {width: 10}\nobjective: causal\n", 18, "objective `causal` trains"),
    ],
)
def test_a_wrong_tower_is_refused_where_it_is_wrong(before: str, after: str, line: int, what: str) -> None:
    assert before in GOOD
    with pytest.raises(bp.SpecError, match=what) as caught:
        bp.loads(GOOD.replace(before, after))
    (problem,) = (each for each in caught.value.problems if re.search(what, str(each.message)))
    assert problem.span is not None
    assert problem.span.line == line


def test_a_tokenizer_says_the_vocabulary_of_text() -> None:
    spec = bp.loads(GOOD.replace("    vocab_size: 50\n", "") + "tokenizer: byte\n")
    assert bp.build(spec).get_submodule("text.embedding.tokens").weight.shape == (spec.vocab_size, 16)
    with pytest.raises(bp.SpecError, match="the model knows 50 tokens"):
        bp.loads(GOOD + "tokenizer: byte\n")


def test_each_tower_is_initialised_by_its_own_depth() -> None:
    deep = GOOD.replace("layers: 3", "layers: 12") + "  init: {type: scaled, std: 0.02}\n"
    state = bp.build(bp.loads(deep)).state_dict()
    stds = {side: state[f"{side}.layers.0.feed_forward.down.weight"].std().item() for side in ("text", "image")}
    assert stds["text"] / stds["image"] == pytest.approx((12 / 2) ** 0.5, rel=0.1)


def test_plan_cost_and_miniature_know_both_towers() -> None:
    text = GOOD.replace("layers: 3", "layers: 9").replace("layers: 2", "layers: 7")
    plan = bp.plan(bp.loads(text))
    assert [(side, len(stack), stack[0].site.d_model, stack[0].site.path) for side, stack in plan.stacks.items()] == [
        ("text", 7, 16, "text.layers.0"),
        ("image", 9, 24, "image.layers.0"),
    ]
    assert [stack[0].site.causal for stack in plan.stacks.values()] == [True, False]
    small = plan.miniature()
    assert [len(stack) for stack in small.stacks.values()] == [2, 2]
    # What a few layers tell is what all of them cost.
    assert measured(plan, lambda part: operations(part, 12, 2)) == operations(plan, 12, 2)
    cost = bp.cost(bp.loads(text))
    assert cost.flops_forward is not None
    assert cost.flops_per_token == cost.flops_forward / (12 + 5)
    assert cost.parameters == sum(p.numel() for p in bp.build(bp.loads(text), device="meta").parameters())
    assert set(cost.unknown) == {"cache_bytes", "cache_bytes_per_token"}


def test_the_hash_sees_either_tower_and_not_how_layers_are_said() -> None:
    plan = bp.plan(bp.loads(GOOD))
    changes = ["model.text.pool=first", "model.image.layers=4", "model.image.block.attention.heads=4"]
    hashes = {bp.plan(bp.load(bp.loads(GOOD).to_plain(), [change])).hash for change in changes}
    assert len(hashes | {plan.hash}) == 4
    other = copy.deepcopy(bp.loads(GOOD).to_plain(defaults=False))
    other["model"]["text"]["overrides"] = {"0": {"dropout": 0.0}, "1": {"dropout": 0.0}}
    assert bp.plan(bp.load(other)).hash == plan.hash


@pytest.mark.parametrize("name", ["clip_vit_b32", "vit_base"])
def test_the_miniature_of_a_paper_runs_forward_and_backward(name: str) -> None:
    from blueprint.build_folder import prove
    from blueprint.model.build import build_plan
    from tests.conftest import ROOT

    spec = bp.load(ROOT / "specs" / "papers" / f"{name}.yaml")
    small = bp.plan(spec).miniature()
    assert prove(spec, small, build_plan(small), "the miniature").loss > 0


def test_a_build_folder_of_a_dual_encoder(tmp_path: Path) -> None:
    built = build_folder(bp.loads(GOOD), tmp_path / "built")
    assert {"architecture.png", "cost.json", "plan.txt"} <= set(built.files)
    assert "image layers 0–2" in (tmp_path / "built" / "plan.txt").read_text()
