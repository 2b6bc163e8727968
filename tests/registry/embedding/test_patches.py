"""Images cut into patches."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.component import Site
from blueprint.kinds import Embedding
from blueprint.ops import Flow

SITE = Site(d_model=8, width=8, causal=False, ids=False)


def made(**said: Any) -> Any:
    embedding = Embedding.of({"type": "patches", **said}).filled(SITE).build(SITE)
    for parameter in embedding.parameters():
        torch.nn.init.normal_(parameter)
    return embedding.eval()


def flow(batch: int, length: int) -> Flow:
    return Flow.of(batch, length)


@pytest.mark.parametrize(("image", "patch"), [(6, 3), ([4, 9], [2, 3]), ([7, 8], 3)])
def test_tokens_are_patches_row_by_row_projected(image: Any, patch: Any) -> None:
    (height, width), (down, across) = ((size, size) if isinstance(size, int) else size for size in (image, patch))
    embedding, pixels = made(image_size=image, patch_size=patch, prefix=0), torch.randn(2, 3, height, width)
    weight = embedding.patches.weight.flatten(1)
    cut = [
        pixels[:, :, row : row + down, column : column + across].flatten(1)
        for row in range(0, height - down + 1, down)
        for column in range(0, width - across + 1, across)
    ]
    expected = torch.stack([each @ weight.T + embedding.patches.bias for each in cut], 1)
    torch.testing.assert_close(embedding(pixels, flow(2, len(cut))), expected)


def test_the_prefix_comes_first_and_has_positions_like_the_rest() -> None:
    embedding, pixels = made(image_size=4, patch_size=2, prefix=2, positions="learned"), torch.randn(1, 3, 4, 4)
    assert embedding.positions.weight.shape == (6, 8)
    found = embedding(pixels, flow(1, 6)) - embedding.positions.weight
    torch.testing.assert_close(found[0, :2], embedding.prefix.weight)
    torch.testing.assert_close(found[0, 2:], embedding.patches(pixels).flatten(2)[0].T)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 3, 4, 6\), expected \(batch, 3, 4, 4\)"):
        made(image_size=4, patch_size=2)(torch.zeros(1, 3, 4, 6), flow(1, 5))


GOOD = """\
model:
  type: encoder
  d_model: 16
  layers: 1
  embedding: {type: patches, image_size: 8, patch_size: 4}
  block: {attention: {heads: 2}}
  head: {type: classification, labels: 3}
"""


def test_an_encoder_of_images_reads_pixels_alone() -> None:
    model = bp.build(bp.loads(GOOD))
    pixels = torch.randn(2, 3, 8, 8)
    assert model(pixel_values=pixels).logits.shape == (2, 3)
    assert model(pixel_values=pixels, logits=False).hidden.shape == (2, 5, 16)
    with pytest.raises(TypeError, match="encoders with embedding `patches` take pixel_values: no input_ids"):
        model(torch.zeros(2, 5, dtype=torch.int64), pixel_values=pixels)
    with pytest.raises(TypeError, match="no attention_mask"):
        model(pixel_values=pixels, attention_mask=torch.ones(2, 5))
    with pytest.raises(TypeError, match="pixel_values are missing"):
        model()


@pytest.mark.parametrize(
    ("before", "after", "line", "what"),
    [
        ("d_model: 16", "d_model: 16\n  vocab_size: 9", 4, "`vocab_size` does nothing.*takes pixel_values"),
        ("d_model: 16", "d_model: 16\n  max_length: 9", 4, "`max_length` does nothing"),
        ("patch_size: 4", "patch_size: 9", 5, "not one patch of 9 pixels fits"),
        ("image_size: 8", "image_size: [8, 8, 8]", 5, "image_size"),
        ("type: encoder", "type: decoder", 5, "a decoder continues ids"),
        ("type: classification, labels: 3", "type: language_model", 7, "logits over a vocabulary"),
        ("heads: 2}", "heads: 2, mask: document}", 6, "no documents to keep apart"),
        ("labels: 3", "labels: 3, over: largest", 7, "looks for an id"),
        ("layers: 1", "layers: 1\ntokenizer: byte", 5, "tokenizer"),
        (
            "labels: 3}",
            "labels: 3}\ndata: {source: {type: image_folder, path: x}, length: 5}",
            8,
            "`length` counts tokens",
        ),
    ],
)
def test_what_makes_no_sense_of_images_is_refused(before: str, after: str, line: int, what: str) -> None:
    text = GOOD.replace(before, after)
    if "tokenizer" in after:
        text, line = GOOD + "tokenizer: byte\n", 8
    with pytest.raises(bp.SpecError, match=what) as caught:
        bp.loads(text)
    assert caught.value.problems[0].span is not None
    assert caught.value.problems[0].span.line == line


def test_the_length_of_a_plan_follows_from_the_patches_and_a_miniature_runs() -> None:
    large = GOOD.replace("image_size: 8", "image_size: 224").replace("patch_size: 4", "patch_size: 16")
    plan = bp.plan(bp.loads(large))
    small = plan.miniature()
    assert plan.site.max_length == 197
    assert small.site.max_length == 10
    assert small.model.inputs() == {"pixel_values": (3, 12, 12)}
    assert "max_length 197" in str(plan)


def test_cost_counts_the_patches() -> None:
    spec = bp.loads(GOOD)
    cost = bp.cost(spec)
    assert cost.length == 5
    projected = 2 * 4 * (3 * 4 * 4) * 16
    without = bp.cost(bp.loads(GOOD.replace("patch_size: 4", "patch_size: 4, channels: 1")))
    assert cost.flops_forward is not None
    assert without.flops_forward is not None
    assert cost.flops_forward - without.flops_forward == projected * 2 // 3
    with pytest.raises(ValueError, match="always 5"):
        bp.cost(spec, length=7)
