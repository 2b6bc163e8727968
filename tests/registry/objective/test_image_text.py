"""Which text goes with which image: the loss written out, and what held-out pairs are scored by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blueprint as bp
from blueprint.registry import member
from blueprint.training.scores import score, scores
from blueprint_registry.objective.image_text import ImageText
from tests.registry.objective.test_margins import SITE

PLACES = torch.tensor([0, 0, -100, 0])
IDS = torch.tensor([[1, 2], [3, 4], [7, 7], [3, 4]])


@dataclass
class Out:
    logits: Tensor
    vectors: dict[str, Tensor] = field(default_factory=dict)
    terms: dict[str, Tensor] = field(default_factory=lambda: {"a_loss": torch.tensor(0.5)})


class Towers(nn.Module):
    """A model with a vector for each image, and one for each first id of a text."""

    def __init__(self, images: Tensor, texts: Tensor) -> None:
        super().__init__()
        self.images, self.texts = nn.Parameter(images), nn.Parameter(texts)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, *, pixel_values: Tensor | None = None
    ) -> Out:
        vectors = {"text": F.normalize(self.texts[input_ids[:, 0]], dim=-1)}
        if pixel_values is None:
            return Out(torch.zeros(0), vectors)
        vectors["image"] = F.normalize(self.images[: len(pixel_values)], dim=-1)
        return Out(10 * vectors["image"] @ vectors["text"].T, vectors)


def towers() -> Towers:
    drawn = torch.Generator().manual_seed(0)
    return Towers(torch.randn(4, 5, generator=drawn), torch.randn(8, 5, generator=drawn))


BATCH = {"input_ids": IDS, "pixel_values": torch.zeros(4, 1), "labels": PLACES}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_it_is_the_loss_of_the_paper_over_the_pairs_that_count(loss: Any, train: bool) -> None:
    model = towers().train(train)
    found, metrics = ImageText(loss=loss).build(SITE)(model, BATCH)
    rows = [0, 1, 3]
    s = model(IDS, pixel_values=torch.zeros(4, 1)).logits
    z = {(i, j): s[i, j].item() for i in rows for j in rows}
    wanted = 0.0
    for i in rows:
        if loss == "softmax":
            wanted += (
                math.log(sum(math.exp(z[i, j]) for j in rows)) / 2 + math.log(sum(math.exp(z[j, i]) for j in rows)) / 2
            )
            wanted -= z[i, i]
        else:
            wanted += sum(math.log(1 + math.exp(-z[i, j] if i == j else z[i, j])) for j in rows)
    assert metrics["loss"].item() == pytest.approx(wanted / 3, rel=1e-4)
    assert found.item() == pytest.approx(wanted / 3 + (0.5 if train else 0), rel=1e-4)
    assert metrics["tokens"] == 3


def test_a_batch_of_fillers_is_zero_and_scores_nothing() -> None:
    asked = ImageText().build(SITE)
    loss, metrics = asked(towers().eval(), {**BATCH, "labels": torch.full_like(PLACES, -100)})
    loss.backward()
    assert (loss.item(), int(metrics["tokens"]), metrics["told"]) == (0, 0, {})


def test_a_text_that_reads_the_same_is_as_good() -> None:
    eye = torch.eye(8)
    # Image 0 looks like text 3, images 1 and 3 like text 3: the texts at 1 and 3 read the same.
    model = Towers(eye[[3, 3, 0, 3]], eye).eval()
    asked = ImageText().build(SITE)
    found = scores(asked, model)
    score(found, asked(model, BATCH)[1], BATCH)
    assert set(found) == {"image_to_text", "text_to_image"}
    assert found["image_to_text"].compute().item() == pytest.approx(2 / 3)
    # The first of the images that look alike is taken for all texts.
    assert found["text_to_image"].compute().item() == pytest.approx(1 / 3)


@dataclass
class Said:
    references: dict[str, Any]


def test_images_are_told_apart_by_the_texts_of_their_classes() -> None:
    eye = torch.eye(8)
    # Class 0 is texts 1 and 2, class 1 texts 3 and 4: their vectors are averaged, long or short.
    texts = eye.clone()
    texts[2] *= 9
    model = Towers(eye[[2, 3, 0, 1]], texts).eval()
    ids = np.array([[[1, 0], [2, 0]], [[3, 0], [4, 0]]])
    said: Any = Said({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    asked = ImageText().build(SITE)
    found = scores(asked, model, said, "cpu")
    batch = {**BATCH, "labels": torch.tensor([0, 1, -100, 1])}
    score(found, asked(model, batch)[1], batch)
    assert found["zero_shot"].compute().item() == pytest.approx(2 / 3)
    assert set(scores(asked, model)) == {"image_to_text", "text_to_image"}


def test_one_of_an_images_texts_is_drawn_and_the_same_for_the_same_word() -> None:
    change = ImageText().change(member("tokenizer", "byte")())
    ids = np.arange(12).reshape(3, 4)
    arrays = {"input_ids": ids, "attention_mask": ids > 5, "labels": np.array(2)}
    drawn = [change(dict(arrays), f"{n}") for n in range(60)]
    counts = [sum(each["input_ids"][0] == first for each in drawn) for first in ids[:, 0]]
    assert all(10 < count < 30 for count in counts)
    for n, each in enumerate(drawn):
        assert (each["attention_mask"] == (each["input_ids"] > 5)).all()
        assert (each["input_ids"] == change(dict(arrays), f"{n}")["input_ids"]).all()


def test_it_trains_dual_encoders_alone_on_images_with_texts() -> None:
    decoder = "model: {type: decoder, d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}}\n"
    with pytest.raises(bp.SpecError, match="trains models of type dual_encoder, not decoder"):
        bp.loads(f"{decoder}tokenizer: byte\nobjective: image_text\n")
    tower = "{d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}}"
    image = "{d_model: 16, layers: 1, embedding: {image_size: 8, patch_size: 4}, block: {attention: {heads: 2}}}"
    said = f"model: {{type: dual_encoder, text: {tower}, image: {image}, contrast: {{width: 8}}}}\ntokenizer: byte\n"
    with pytest.raises(bp.SpecError, match="gives text, but objective `image_text` reads captioned"):
        bp.loads(f"{said}objective: image_text\ndata: {{source: stdlib}}\n")
    bp.loads(f"{said}objective: image_text\ndata: {{source: {{type: image_prompts, path: there}}}}\n")
