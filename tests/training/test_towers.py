"""A dual encoder learns from images with texts, and is measured by the texts of its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import blueprint as bp
from blueprint.training.error import TrainError
from blueprint.training.evaluate import evaluate
from blueprint.training.task import prepare

Image = pytest.importorskip("PIL.Image")

SPEC = """
name: towers
model:
  type: dual_encoder
  text: {d_model: 16, layers: 1, max_length: 12, block: {attention: {heads: 2}}, pool: mean}
  image:
    d_model: 16
    layers: 1
    embedding: {image_size: 4, patch_size: 2, channels: 1}
    block: {attention: {heads: 2, position: none}}
    pool: mean
  contrast: {width: 8}
tokenizer: byte
data:
  source: {type: image_prompts, path: IMAGES, channels: 1, templates: ["{}", "all {}"]}
  batch_size: 8
  validation: 0.3
objective: image_text
optimizer: {type: adamw, lr: 2e-2}
trainer: {max_steps: 40, accelerator: cpu}
"""


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light images, twelve of each."""
    root = tmp_path_factory.mktemp("shades")
    for shade, first in (("dark", 0), ("light", 200)):
        (root / shade).mkdir()
        for number in range(12):
            Image.new("L", (4, 4), first + 4 * number).save(root / shade / f"{number}.png")
    return root


def test_classes_are_told_apart_by_their_texts(shades: Path, tmp_path: Path) -> None:
    run = bp.fit(bp.loads(SPEC.replace("IMAGES", str(shades))), tmp_path / "run", progress=False)
    assert run.summary["unit"] == "pair"
    assert set(run.summary["scores"]) == {"image_to_text", "text_to_image", "zero_shot"}
    assert run.summary["scores"]["zero_shot"] == 1
    found = evaluate(tmp_path / "run")
    assert found["scores"] == pytest.approx(run.summary["scores"])
    assert found["nats"] == pytest.approx(run.summary["validation_loss"], rel=1e-4)
    assert found["bits_per_byte"] is None


def test_samples_have_their_images_and_a_text_of_their_class(shades: Path) -> None:
    text = prepare(bp.loads(SPEC.replace("IMAGES", str(shades))), progress=False)
    seen: set[tuple[int, str]] = set()
    for epoch in range(4):
        for n in range(len(text.train)):
            sample: Any = text.train[epoch * len(text.train) + n]
            ids = sample["input_ids"][sample["attention_mask"]]
            assert ids[-1] == 256
            assert (sample["pixel_values"].mean() > 0.5) == sample["labels"]
            seen.add((int(sample["labels"]), bytes(ids[:-1].tolist()).decode()))
    assert seen == {(0, "dark"), (0, "all dark"), (1, "light"), (1, "all light")}
    references = text.references
    assert references["input_ids"].shape == (2, 2, 12)
    assert references["attention_mask"].sum(-1).tolist() == [[5, 9], [6, 10]]


def test_held_out_pairs_are_mixed_so_that_a_batch_has_several_classes(shades: Path) -> None:
    text = prepare(bp.loads(SPEC.replace("IMAGES", str(shades))), progress=False)
    labels = [int(text.validation[n]["labels"]) for n in range(len(text.validation))]
    assert labels != sorted(labels)
    places = [int(text.validation[n]["place"]) for n in range(len(labels))]
    assert sorted(places) == list(range(len(labels)))
    assert not text.validation.order.endless


def test_a_long_text_keeps_its_end(shades: Path) -> None:
    said = SPEC.replace("IMAGES", str(shades)).replace("all {}", "an image all {}")
    ids = prepare(bp.loads(said), progress=False).references["input_ids"]
    assert ids[:, 1].tolist() == [[*b"an image al", 256], [*b"an image al", 256]]


def test_images_of_another_size_are_told(shades: Path) -> None:
    spec = bp.loads(SPEC.replace("IMAGES", str(shades)), ["model.image.embedding.image_size=8"])
    with pytest.raises(TrainError, match=r"the images are 1 × 4 × 4 .*, but the model takes 1 × 8 × 8"):
        prepare(spec, progress=False)


def test_texts_may_be_written_beside_images_that_have_no_classes(shades: Path, tmp_path: Path) -> None:
    for path in shades.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"{path.parent.name} {path.stem}\n")
    said = SPEC.replace("IMAGES", str(shades)).replace("image_prompts", "image_captions")
    said = said.replace(', templates: ["{}", "all {}"]', "")
    run = bp.fit(bp.loads(said, ["trainer.max_steps=2"]), tmp_path / "run", progress=False)
    assert set(run.summary["scores"]) == {"image_to_text", "text_to_image"}


def test_a_tokenizer_learns_from_the_texts(shades: Path, tmp_path: Path) -> None:
    said = SPEC.replace("IMAGES", str(shades)).replace("byte", "{type: bpe, vocab_size: 40}")
    text = prepare(bp.loads(said), cache=tmp_path, progress=False)
    assert text.tokenizer is not None
    assert text.tokenizer.decode(text.tokenizer.encode("all light")) == "all light"  # type: ignore[attr-defined]
