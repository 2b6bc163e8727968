"""Prefix language modelling by a decoder alone: a text parted anywhere, the first part a prefix, the rest told."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import blueprint as bp
from blueprint.component import Site
from blueprint.training.task import prepare
from blueprint_registry.objective.prefix_lm import PrefixLm
from blueprint_registry.tokenizer.byte import Byte
from tests.training.conftest import MakeSpec, make_spec, text

__all__ = ["make_spec", "text"]


def parted(count: int, word: str, **more: Any) -> tuple[int, list[int]]:
    """The length of a prefix and the labels after it, of the tokens 0, 1, 2, …"""
    change = pickle.loads(pickle.dumps(PrefixLm().change(Byte())))
    ids = np.arange(count + 1)
    out = change({"input_ids": ids[:-1], "labels": ids[1:], **more}, word)
    assert np.array_equal(out["input_ids"], ids[:-1])
    return int(out["prefix_length"]), out["labels"].tolist()


def test_it_is_parted_anywhere_equally_often_and_what_follows_is_told() -> None:
    found = Counter(parted(4, str(n))[0] for n in range(1600))
    assert set(found) == {1, 2, 3, 4}
    assert max(abs(count - 400) for count in found.values()) < 80
    for number in range(20):
        length, labels = parted(6, str(number))
        assert labels == [-100] * (length - 1) + list(range(length, 7))
        assert (length, labels) == parted(6, str(number))


@pytest.mark.parametrize("left", [True, False])
def test_padding_is_neither_prefix_nor_told(left: bool) -> None:
    keep = np.arange(6) >= 2 if left else np.arange(6) < 4
    for number in range(20):
        change = PrefixLm().change(Byte())
        labels = np.where(keep, np.arange(1, 7), -100)
        out = change({"input_ids": np.arange(6), "labels": labels, "attention_mask": keep}, str(number))
        length = int(out["prefix_length"])
        assert 1 <= length <= 4
        told = np.flatnonzero(out["labels"] != -100)
        assert told.tolist() == np.flatnonzero(keep)[length - 1 :].tolist()


def test_its_loss_is_that_of_what_follows_the_prefix_given_all_of_it(make_spec: MakeSpec) -> None:
    spec = make_spec("objective=prefix_lm", "model.block.dropout=0")
    samples, model = prepare(spec, progress=False).train, bp.build(spec).eval()
    rows = [samples[n] for n in range(4)]
    batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    assert spec.objective is not None
    loss, metrics = spec.objective.build(Site(d_model=32, width=32))(model, batch)
    total, count = 0.0, 0
    for row in range(4):
        length = int(batch["prefix_length"][row])
        ids = batch["input_ids"][row : row + 1]
        positions = torch.arange(ids.shape[1])[None]
        logits = model(ids, position_ids=positions, prefix_length=torch.tensor([length])).logits[0, length - 1 :]
        wanted = batch["labels"][row, length - 1 :]
        total += F.cross_entropy(logits, wanted, reduction="sum").item()
        count += len(wanted)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)
    assert int(metrics["tokens"]) == count


def test_documents_packed_in_a_window_see_nothing_of_each_other(make_spec: MakeSpec) -> None:
    spec = make_spec("model.block.dropout=0", "data.length=32", "model.block.attention.mask=document")
    model = bp.build(spec).eval()
    ids = torch.from_numpy(prepare(spec, progress=False).train[0]["input_ids"])[None]
    segment = (torch.arange(32) >= 11).long()[None]
    prefix_B = torch.tensor([20])
    out = model(ids, segment_ids=segment, prefix_length=prefix_B).logits[0]
    one = model(ids[:, :11], prefix_length=torch.tensor([11])).logits[0]
    two = model(ids[:, 11:], prefix_length=torch.tensor([9])).logits[0]
    torch.testing.assert_close(out, torch.cat([one, two]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [("model.type=encoder_decoder", "trains models of type decoder"), ("model.causal=false", "would learn to copy")],
)
def test_a_model_that_has_no_prefix_is_refused(make_spec: MakeSpec, model: str, message: str) -> None:
    sizes = [f"model.{key}" for key in ("d_model=32", "layers=1", "max_length=32", "block.attention.heads=2")]
    with pytest.raises(bp.SpecError, match=message):
        make_spec(model, *(sizes if "type" in model else []), "objective=prefix_lm")


def test_a_decoder_under_prefix_is_told_what_trains_it() -> None:
    model = "model: {type: decoder, d_model: 32, layers: 1, max_length: 32, block: {attention: {heads: 2}}}"
    with pytest.raises(bp.SpecError, match=r"trains models of type encoder_decoder(.|\n)*`prefix_lm`"):
        bp.loads(f"{model}\ntokenizer: byte\nobjective: prefix")


def test_a_run_learns_it_and_writes_from_a_prompt_as_it_learned_to(tmp_path: Path) -> None:
    """Of lines such as 17=17, what follows the sign is known from what stands before it."""
    drawn = random.Random(0)
    lines = [f"{a}{b}={a}{b}" for a, b in ((drawn.randrange(10), drawn.randrange(10)) for _ in range(600))]
    (tmp_path / "a.txt").write_text("\n".join(dict.fromkeys(lines)))
    spec = bp.loads(
        f"""
model: {{type: decoder, d_model: 32, layers: 2, max_length: 8, block: {{attention: {{heads: 4}}}}}}
tokenizer: byte
data: {{source: {{type: text, path: {tmp_path / "a.txt"}, document: line}}, length: 5, packing: single, batch_size: 32}}
objective: prefix_lm
optimizer: {{type: adamw, lr: 5e-3}}
trainer: {{max_steps: 150, accelerator: cpu}}
sample: null
"""
    )
    bp.fit(spec, tmp_path / "run", progress=False)
    model = bp.restore(tmp_path / "run")
    prompts = torch.tensor([list(line[:3].encode()) for line in lines[:40]])
    found = bp.generate(model, prompts, 2, temperature=0)[:, 3:].tolist()
    right = [bytes(ids).decode() == line[3:] for ids, line in zip(found, lines, strict=False)]
    assert sum(right) >= 30
