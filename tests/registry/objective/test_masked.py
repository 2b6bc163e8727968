"""Which tokens are hidden, behind what, and that nothing but the word the lots come from decides it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import blueprint as bp
from blueprint.component import Site
from blueprint_registry.objective.masked import Masked
from blueprint_registry.tokenizer.byte import Byte
from tests.registry.objective.test_causal import Model

BYTE = Byte(mask=True)
EOS, MASK = 256, 257
PINNED = [6, 9, 13]


class Words(Byte):
    """Bytes of which a capital letter begins a word."""

    def begins_word(self) -> np.ndarray[Any, Any]:
        return np.array([chr(i).isupper() for i in range(256)] + [True, True])


def sample(text: str, **more: Any) -> dict[str, Any]:
    ids = np.array([EOS if c == "|" else ord(c) for c in text], dtype=np.int64)
    return {"input_ids": ids, "labels": np.roll(ids, -1), "segment_ids": np.cumsum(ids == EOS), **more}


def hidden(text: str, word: str = "0 train 0 0", **said: Any) -> tuple[np.ndarray[Any, Any], ...]:
    """The ids before and after, and the labels."""
    arrays = sample(text)
    change = Masked(**said).change(Words(mask=True) if said.get("whole_word") else BYTE)
    out = change(arrays, word)
    return arrays["input_ids"], out["input_ids"], out["labels"]


@settings(max_examples=60, deadline=None)
@given(st.text("abc|", min_size=1, max_size=80), st.text(max_size=8), st.sampled_from([0.01, 0.15, 0.5, 1.0]))
def test_the_share_of_the_tokens_that_mean_something_is_chosen(text: str, word: str, share: float) -> None:
    before, after, labels = hidden(text, word, share=share)
    chosen, free = labels != -100, before != EOS
    assert chosen.sum() == (max(1, round(share * free.sum())) if free.any() else 0)
    assert not (chosen & ~free).any()
    assert np.array_equal(labels[chosen], before[chosen])
    assert np.array_equal(after[~chosen], before[~chosen])
    assert not (after[free] == EOS).any()


def test_of_the_chosen_so_many_are_masked_changed_and_kept() -> None:
    before, after, labels = hidden("abcdefgh" * 5000, share=0.5)
    at = labels != -100
    masked, kept = after[at] == MASK, after[at] == before[at]
    assert abs(masked.mean() - 0.8) < 0.01
    # A random token is the one that stood there once in 256 times.
    assert abs(kept.mean() - (0.1 + 0.1 / 256)) < 0.01
    drawn = after[at][~masked & ~kept]
    assert np.bincount(drawn, minlength=256)[:256].std() < 10
    assert drawn.max() < 256
    everything = hidden("abcdefgh" * 50, mask=1.0, random=0.0)
    assert set(everything[1][everything[2] != -100]) == {MASK}
    little = hidden("abcdefgh" * 50, mask=0.0, random=0.01)
    assert (little[0] != little[1]).sum() <= 4
    assert (little[2] != -100).sum() == 60


def test_every_place_is_chosen_equally_often() -> None:
    times = sum((hidden("abcdefghij" * 2, str(n))[2] != -100).astype(int) for n in range(3000))
    # 450 expected of each (3 of 20), standard deviation 20
    assert abs(times - 450).max() < 90


def test_the_word_alone_decides() -> None:
    change = Masked().change(BYTE)
    again = pickle.loads(pickle.dumps(change))
    text = "some words of a text " * 4
    found = [each(sample(text), word) for each in (change, again) for word in ("0 train 0 3", "0 train 1 3")]
    for name in found[0]:
        assert np.array_equal(found[0][name], found[2][name])
        assert np.array_equal(found[1][name], found[3][name])
    assert not np.array_equal(found[0]["labels"], found[1]["labels"])


def test_the_lots_are_the_same_on_every_machine() -> None:
    _, _, labels = hidden("the same everywhere")
    assert np.flatnonzero(labels != -100).tolist() == PINNED


def test_the_arrays_of_the_sample_stay_as_they_were() -> None:
    arrays = sample("unchanged by this")
    copy = {name: value.copy() for name, value in arrays.items()}
    Masked(share=1).change(BYTE)(arrays, "x")
    assert all(np.array_equal(arrays[name], copy[name]) for name in arrays)


def test_padding_is_never_chosen() -> None:
    keep = np.arange(12) < 5
    out = Masked(share=1).change(BYTE)(sample("abcdefghijkl", attention_mask=keep), "x")
    assert np.array_equal(out["labels"] != -100, keep)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["A", "Bb", "Ccc", "Dddd", "|"]), min_size=4, max_size=30), st.text(max_size=8))
def test_whole_words_are_chosen_whole(words: list[str], word: str) -> None:
    text = "".join(words)
    _, _, labels = hidden(text, word, whole_word=True, share=0.4)
    chosen, at = labels != -100, 0
    for each in words:
        assert chosen[at : at + len(each)].all() or not chosen[at : at + len(each)].any()
        at += len(each)
    free = sum(c != "|" for c in text)
    assert chosen.any() == bool(free)
    if chosen.sum() > max(1, round(0.4 * free)):
        # Only where the first word alone was longer than all there was room for.
        assert chosen.sum() <= 4


def test_a_word_ends_with_its_document() -> None:
    arrays = {"input_ids": np.frombuffer(b"AaaaBbbb", np.uint8).astype(np.int64)}
    arrays |= {"segment_ids": np.array([0, 0, 1, 1, 1, 1, 1, 1]), "labels": arrays["input_ids"]}
    found = {
        tuple(np.flatnonzero(out["labels"] != -100))
        for n in range(40)
        for out in [Masked(share=0.25, whole_word=True).change(Words(mask=True))(dict(arrays), str(n))]
    }
    assert found == {(0, 1), (2, 3), (4, 5, 6, 7)}


def test_the_loss_is_the_mean_over_the_hidden() -> None:
    ids, labels = torch.randint(11, (2, 6)), torch.full((2, 6), -100)
    labels[0, 2], labels[1, 5] = 3, 7
    model = Model()
    loss, metrics = Masked().build(Site(d_model=8, width=8))(model, {"input_ids": ids, "labels": labels})
    torch.testing.assert_close(loss, F.cross_entropy(model.logits(ids), labels.flatten()))
    assert metrics["tokens"] == 2


SPEC = """
model: {type: encoder, d_model: 32, layers: 1, max_length: 32, block: {attention: {heads: 2}}}
tokenizer: TOKENIZER
objective: {type: masked, whole_word: WHOLE}
"""


@pytest.mark.parametrize(
    ("tokenizer", "whole", "line", "message"),
    [
        ("byte", "false", 3, "byte` has none"),
        ("{type: byte, mask: true}", "true", 4, "where a word begins"),
    ],
)
def test_a_tokenizer_that_cannot_serve_is_refused(tokenizer: str, whole: str, line: int, message: str) -> None:
    with pytest.raises(bp.SpecError, match=message) as refused:
        bp.loads(SPEC.replace("TOKENIZER", tokenizer).replace("WHOLE", whole))
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == line


def test_without_masks_no_mask_is_needed() -> None:
    bp.loads(SPEC.replace("TOKENIZER", "byte").replace("WHOLE", "false"), ["objective.mask=0"])


def test_shares_beyond_all_and_other_models_are_refused() -> None:
    with pytest.raises(bp.SpecError, match=r"add up to 1\.1"):
        bp.loads(SPEC.replace("TOKENIZER", "{type: byte, mask: true}").replace("WHOLE", "false"), ["objective.mask=1"])
    with pytest.raises(bp.SpecError, match="trains models of type encoder"):
        bp.load(
            {
                "model": {
                    "type": "decoder",
                    "d_model": 32,
                    "layers": 1,
                    "max_length": 32,
                    "block": {"attention": {"heads": 2}},
                },
                "tokenizer": {"type": "byte", "mask": True},
                "objective": "masked",
            }
        )
