"""Beam search: what it finds is worth what it says, is no worse than what greedy decoding finds, row by row."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

import blueprint as bp
from blueprint.inference.beam import Beams, Found, search
from blueprint.inference.ends import Ends
from blueprint.inference.prompt import Prompt

from .conftest import Make, make, writer

IDS = torch.tensor([[3, 14, 15, 9, 26, 5, 35], [8, 9, 0, 0, 0, 0, 0], [7, 9, 3, 2, 0, 0, 0]])
MASK = torch.tensor([[1] * 7, [1] * 2 + [0] * 5, [1] * 4 + [0] * 3])
MODELS = {"decoder": (make, {}), "encoder_decoder": (writer, {"start_id": 2})}
END = [4, 11, 30]


@pytest.fixture(scope="module", params=MODELS)
def known(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, Any]]:
    """A model, and what it is told beside its prompt."""
    made, told = MODELS[request.param]
    return made(), told


def found(
    known: tuple[nn.Module, dict[str, Any]], beams: Beams, count: int = 12, rows: Any = slice(None), **ends: Any
) -> Found:
    model, told = known
    prompt = Prompt.of(model, IDS[rows], MASK[rows], new=count, **told)
    return search(model, prompt, beams, count, Ends(len(prompt.ids_BT), **ends))


@torch.no_grad()
def log_probability(known: tuple[nn.Module, dict[str, Any]], row: int, new: list[int]) -> float:
    """Of new tokens after a row's prompt, all at once and without a state."""
    model, told = known
    prompt = IDS[row, : int(MASK[row].sum())][None]
    ids = torch.tensor([new])
    if told:
        start = torch.tensor([[told["start_id"]]])
        logits = model(prompt, decoder_input_ids=torch.cat([start, ids], 1)).logits[0, : len(new)]
    else:
        logits = model(torch.cat([prompt, ids], 1)).logits[0, prompt.shape[1] - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, ids[0][:, None]).sum())


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -0.5])
def test_a_score_is_the_sequences_log_probability_over_its_length(
    known: tuple[nn.Module, dict[str, Any]], length_penalty: float
) -> None:
    best = found(known, Beams(4, length_penalty, returned=4), eos_id=END)
    assert bool((best.score_BR.diff(dim=1) <= 0).all())
    lengths = set()
    for row, at in itertools.product(range(3), range(4)):
        length = int(best.length_BR[row, at])
        new = best.ids_BRN[row, at, :length].tolist()
        assert not set(new[:-1]) & set(END)
        assert length == 12 or new[-1] in END
        assert set(best.ids_BRN[row, at, length:].tolist()) <= {END[0]}
        said = log_probability(known, row, new) / length**length_penalty
        assert float(best.score_BR[row, at]) == pytest.approx(said, rel=1e-4, abs=1e-4)
        lengths.add(length)
    assert len({tuple(ids) for ids in best.ids_BRN.flatten(0, 1).tolist()}) == 12
    assert len(lengths) > 1


def test_one_beam_that_stops_at_its_first_end_is_greedy(known: tuple[nn.Module, dict[str, Any]]) -> None:
    model, told = known
    best = found(known, Beams(1, early_stopping=True), eos_id=END, pad_id=60)
    greedy = bp.generate(model, IDS, 12, temperature=0, attention_mask=MASK, eos_id=END, pad_id=60, **told)
    begun = 1 if told else IDS.shape[1]
    assert best.ids_BRN[:, 0].tolist() == greedy[:, begun:].tolist()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_beams_enough_for_all_sequences_find_the_best_of_all(count: int) -> None:
    model = make(vocab_size=5)
    prompt = torch.tensor([[3, 1, 4]])
    best = search(model, Prompt.of(model, prompt, new=count), Beams(125, 0, "never", 10), count, Ends(1, 0))
    every: dict[tuple[int, ...], float] = {}
    for ids in itertools.product(range(5), repeat=count):
        with torch.no_grad():
            logits = model(torch.cat([prompt, torch.tensor([ids])], 1)).logits[0, 2:-1].log_softmax(-1)
        ended = next((n + 1 for n, each in enumerate(ids) if each == 0), count)
        every[ids[:ended]] = float(sum(logits[n, ids[n]] for n in range(ended)))
    ranked = sorted(every, key=every.__getitem__, reverse=True)[:10]
    lengths = best.length_BR[0].tolist()
    held = [tuple(ids[:n]) for ids, n in zip(best.ids_BRN[0].tolist(), lengths, strict=True) if n]
    assert held == ranked
    # Where there are fewer sequences than were asked for, the rest is marked.
    assert best.score_BR[0].isinf().tolist() == [n == 0 for n in lengths]


def test_a_row_is_searched_as_it_would_be_alone(known: tuple[nn.Module, dict[str, Any]]) -> None:
    for early in (True, False, "never"):
        beams = Beams(3, 1.0, early, 3)
        together = found(known, beams, eos_id=END)
        for row in range(3):
            alone = found(known, beams, rows=slice(row, row + 1), eos_id=END)
            assert together.length_BR[row].tolist() == alone.length_BR[0].tolist()
            size = alone.ids_BRN.shape[2]
            assert together.ids_BRN[row, :, :size].tolist() == alone.ids_BRN[0].tolist()
            torch.testing.assert_close(together.score_BR[row], alone.score_BR[0], rtol=1e-4, atol=1e-4)


def test_without_a_state_the_sequences_are_the_same(
    known: tuple[nn.Module, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    beams = Beams(4, returned=4)
    with_state = found(known, beams, eos_id=END)
    monkeypatch.setattr(type(known[0]), "incremental", False)
    without = found(known, beams, eos_id=END)
    assert torch.equal(with_state.ids_BRN, without.ids_BRN)
    torch.testing.assert_close(with_state.score_BR, without.score_BR, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", [{"type": "sliding", "window": 3}, "full"])
def test_a_ring_of_keys_follows_its_beams(build: Make, mask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(attention={"mask": mask})
    asked: dict[str, Any] = {"num_beams": 4, "attention_mask": MASK, "num_return": 2}
    with_state = bp.generate(model, IDS, 15, **asked)
    monkeypatch.setattr(type(model), "incremental", False)
    assert torch.equal(with_state, bp.generate(model, IDS, 15, **asked))


def test_prompts_come_back_with_each_of_their_sequences(build: Make) -> None:
    out = bp.generate(build(), IDS, 5, num_beams=3, num_return=2, attention_mask=MASK)
    assert out.shape == (6, 12)
    assert torch.equal(out[:, :7], IDS.repeat_interleave(2, 0))
    none = bp.generate(build(), IDS, 0, num_beams=3, num_return=2)
    assert torch.equal(none, IDS.repeat_interleave(2, 0))


def test_a_sequence_of_ids_ends_a_beam(build: Make) -> None:
    model, ids = build(), IDS[:1]
    free = bp.generate(model, ids, 12, num_beams=3)[0, 7:].tolist()
    stop = free[3:5]
    out = bp.generate(model, ids, 12, num_beams=3, early_stopping="never", length_penalty=0.0, stop=[stop], pad_id=60)
    new = out[0, 7:].tolist()
    ended = new.index(60) if 60 in new else len(new)
    assert [new[n : n + 2] for n in range(ended - 1)].count(stop) <= 1
    assert ended == 12 or new[ended - 2 : ended] == stop


def test_random_numbers_and_modes_are_left_alone(build: Make) -> None:
    model = build(block={"dropout": 0.5}).train()
    before = torch.get_rng_state()
    first = bp.generate(model, IDS[:1], 5, num_beams=3)
    assert torch.equal(first, bp.generate(model, IDS[:1], 5, num_beams=3))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_beams": 0}, "num_beams must be a whole number from 1 up"),
        ({"num_beams": True}, "num_beams must be"),
        ({"num_beams": 2, "num_return": 3}, "3 sequences cannot be returned of 2 beams"),
        ({"num_beams": 2, "length_penalty": float("nan")}, "length_penalty must be a number"),
        ({"num_beams": 2, "early_stopping": "yes"}, "early_stopping must be"),
        ({"num_beams": 2, "temperature": 0.5, "top_k": 3}, "temperature and top_k would do nothing"),
        ({"num_beams": 2, "seed": 3}, "seed would do nothing"),
        ({"num_beams": 2, "on_token": print}, "on_token"),
        ({"length_penalty": 2.0}, "length_penalty would do nothing without beams"),
        ({"early_stopping": True}, "early_stopping would do nothing"),
    ],
)
def test_settings_without_sense_or_effect_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bp.generate(make(), IDS, 3, **asked)


def test_weights_that_have_diverged_are_told(build: Make) -> None:
    model = build()
    nn.init.constant_(model.norm.weight, float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        bp.generate(model, IDS, 3, num_beams=2)
