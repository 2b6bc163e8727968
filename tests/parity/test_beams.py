"""Beam search finds the sequences that the transformers library's finds, on the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import blueprint as bp
from tests.parity.families import FAMILIES as DECODERS
from tests.parity.reference import VOCABULARY
from tests.parity.test_encoder_decoders import FAMILIES as ENCODER_DECODERS

FAMILIES = {
    **{name: DECODERS[name] for name in ("llama", "gpt2")},
    **{name: ENCODER_DECODERS[name] for name in ("bart", "marian", "t5")},
}
BATCH, LENGTH, NEW, PAD = 4, 14, 16, 0


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Theirs and ours, whose logits are both dealt out anew: tied to its input, an untrained model says one id on and
    on, and there is nothing to search."""
    theirs, ours = FAMILIES[request.param].pair()
    deal = torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(3))
    theirs.register_forward_hook(lambda _, __, out: out.__setitem__("logits", out.logits[..., deal]))
    ours.head.register_forward_hook(lambda _, __, logits: logits[..., deal])
    return theirs, ours


def given(theirs: Any) -> dict[str, Tensor]:
    """Four prompts or sources of unequal length: prompts padded on the left, as the library wants them."""
    ids = torch.randint(5, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(11))
    keep = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH // 2], [3], [LENGTH - 1]])
    keep = keep if theirs.config.is_encoder_decoder else keep.flip(1)
    return {"input_ids": ids.masked_fill(~keep, PAD), "attention_mask": keep.long()}


def ends(theirs: Any) -> list[int]:
    """Ids that this model often comes to, though not first of all: some sequences end early, some late, some not."""
    torch.manual_seed(5)
    free = theirs.generate(**given(theirs), max_new_tokens=NEW, do_sample=True, top_k=6, eos_token_id=None)
    kinds, counts = free[:, -NEW:].unique(return_counts=True)
    return [int(kinds[at]) for at in counts.argsort(descending=True, stable=True)[4:7]]


def trimmed(ids: Tensor, begun: int, eos: list[int]) -> list[list[int]]:
    """The new tokens of each row, up to the first that ends it: the library fills rows with one or another id."""
    rows = [row[begun:] for row in ids.tolist()]
    return [row[: next((n + 1 for n, each in enumerate(row) if each in eos), len(row))] for row in rows]


def agree(pair: tuple[Any, Any], eos: list[int], **how: Any) -> list[list[int]]:
    """What both find."""
    theirs, ours = pair
    asked = given(theirs)
    start = {"start_id": theirs.config.decoder_start_token_id} if theirs.config.is_encoder_decoder else {}
    begun = 1 if start else LENGTH
    count = {"num_return": how.pop("num_return", 1)}
    found = bp.generate(ours, **asked, max_new_tokens=NEW, eos_id=eos, **start, **count, **how)
    more = {"do_sample": False, "eos_token_id": eos, "pad_token_id": PAD, "num_return_sequences": count["num_return"]}
    expected = theirs.generate(**asked, max_new_tokens=NEW, **more, **how)
    both = trimmed(found, begun, eos), trimmed(expected, begun, eos)
    assert both[0] == both[1]
    return both[0]


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_beams_find_the_same_sequences(pair: tuple[Any, Any], early_stopping: Any) -> None:
    eos = ends(pair[0])
    found = [
        agree(pair, eos[: 3 if beams != 3 else 1], num_beams=beams, length_penalty=by, early_stopping=early_stopping)
        for beams in (2, 3, 5)
        for by in (0.0, 1.0, 2.0, -1.0)
    ]
    # Else neither ends nor penalties would have been put to the test.
    assert len({len(row) for rows in found for row in rows}) > 3
    assert len({str(rows) for rows in found}) > 3


def test_all_that_are_returned_are_the_same(pair: tuple[Any, Any]) -> None:
    agree(pair, ends(pair[0]), num_beams=4, num_return=4)


def test_a_repetition_penalty_falls_on_the_same_tokens(pair: tuple[Any, Any]) -> None:
    agree(pair, ends(pair[0]), num_beams=3, repetition_penalty=1.3)
