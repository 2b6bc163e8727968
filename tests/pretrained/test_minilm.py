"""A real pretrained model: the same sentences mean the same here, and it goes on learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

import blueprint as bp
from blueprint.training import metrics

SENTENCES = [
    "A cat is sleeping on the sofa.",
    "The kitten naps on the couch.",
    "Stocks fell sharply after the central bank raised interest rates.",
    "Markets dropped when borrowing costs went up.",
    "How do I bake sourdough bread at home?",
    "A recipe for a loaf with natural yeast",
]
TEXT = [
    "the sun rises in the east and sets in the west",
    "water boils at one hundred degrees and freezes at zero",
    "the capital of france is paris and the capital of italy is rome",
    "a week has seven days and a year has twelve months",
]


def inputs(tokenizer: Any, texts: list[str]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in tokenizer.sentences(texts).items()}


def pooled(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over the tokens that are no padding, of length 1."""
    keep_BT1 = mask_BT[..., None].float()
    return normalize((hidden_BTD * keep_BT1).sum(1) / keep_BT1.sum(1), dim=-1)


def embedded(spec: bp.Spec, model: nn.Module, texts: list[str]) -> Tensor:
    said = inputs(spec.tokenizer, texts)
    with torch.no_grad():
        hidden = model(**said, logits=False).hidden
    return pooled(hidden, said["attention_mask"])


def test_it_means_the_same_as_in_transformers(minilm: tuple[bp.Spec, nn.Module], checkpoint: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    spec, model = minilm
    said = AutoTokenizer.from_pretrained(checkpoint)(SENTENCES, padding=True, return_tensors="pt")
    assert all(torch.equal(inputs(spec.tokenizer, SENTENCES)[name], said[name]) for name in said)
    theirs = AutoModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    with torch.no_grad():
        hidden = theirs(**said).last_hidden_state
        ours = model(**said, logits=False).hidden
    keep = said["attention_mask"].bool()
    assert (ours - hidden)[keep].abs().max() <= 1e-5
    expected = pooled(hidden, said["attention_mask"])
    assert (embedded(spec, model, SENTENCES) - expected).abs().max() <= 1e-5
    # Alone, without padding, a sentence means the same.
    alone = torch.cat([embedded(spec, model, [each]) for each in SENTENCES])
    assert (alone - expected).abs().max() <= 1e-5


def test_sentences_that_mean_alike_lie_nearest(minilm: tuple[bp.Spec, nn.Module]) -> None:
    vectors = embedded(*minilm, SENTENCES)
    likeness = vectors @ vectors.T - 2 * torch.eye(len(SENTENCES))
    assert likeness.argmax(1).tolist() == [1, 0, 3, 2, 5, 4]
    related = torch.stack([likeness[i, i ^ 1] for i in range(len(SENTENCES))])
    unrelated = likeness[torch.arange(6)[:, None] // 2 != torch.arange(6) // 2]
    assert related.min() > unrelated.max() + 0.2


@pytest.mark.parametrize("whole_word", [False, True])
def test_it_goes_on_learning_on_masked_tokens(
    whole_word: bool, minilm: tuple[bp.Spec, nn.Module], tmp_path: Path
) -> None:
    spec, model = minilm
    said = spec.to_plain(defaults=False)
    said["model"]["head"] = {"type": "masked_language_model", "tie": True}
    weights = {name: value.contiguous() for name, value in model.state_dict().items() if not name.startswith("head.")}
    save_file(weights, tmp_path / "weights.safetensors")
    (tmp_path / "text").mkdir()
    for number in range(24):
        (tmp_path / "text" / f"{number}.txt").write_text(f"{TEXT[number % 4]}. {TEXT[(number + 1) % 4]}. {number}\n")
    run = bp.fit(
        bp.load(
            {
                **said,
                "data": {
                    "source": {"type": "text", "path": str(tmp_path / "text")},
                    "length": 24,
                    "batch_size": 8,
                    "packing": "single",
                },
                "objective": {"type": "masked", "whole_word": whole_word},
                "optimizer": {"type": "adamw", "lr": 5e-4},
                "start": {"from": str(tmp_path / "weights.safetensors"), "strict": False},
                "trainer": {"max_steps": 12, "log_every_n_steps": 1, "accelerator": "cpu"},
            }
        ),
        tmp_path / "run",
        progress=False,
    )
    losses = [row["loss"] for row in metrics.read(tmp_path / "run" / "metrics.csv") if "loss" in row]
    assert len(losses) == run.steps == 12
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
