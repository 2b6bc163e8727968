"""Models that read a source: what they write for it, in a batch or alone, with a state or without, as ids or text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import blueprint as bp
from blueprint.inference.beam import Beams
from blueprint.inference.generate import steps
from blueprint.inference.sampling import Sampling
from blueprint.inference.text import Completion, TextGenerator
from blueprint.registry import member

from .conftest import Make, make, writer
from .test_generate import PROMPTS, SAMPLED, padded

BYTE: Any = member("tokenizer", "byte")()
START = 2
LEARNED = {"embedding": {"positions": "learned"}, "block": {"attention": {"heads": 4, "position": "none"}}}
VARIANTS: dict[str, dict[str, Any]] = {
    "rope": {},
    "learned": LEARNED,
    "two_depths": {"encoder": {"layers": 3}, "decoder": {"layers": 1}},
}


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return writer(**VARIANTS[request.param])


@torch.no_grad()
def alone(model: nn.Module, source: list[int], count: int, begun: tuple[int, ...] = (START,)) -> list[int]:
    """The likeliest target, all of it from the whole source each time."""
    ids = list(begun)
    for _ in range(count):
        out = model(torch.tensor([source]), decoder_input_ids=torch.tensor([ids]))
        ids.append(int(out.logits[0, -1].argmax()))
    return ids


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_row_is_written_as_it_would_be_alone(model: nn.Module, side: str) -> None:
    ids, mask = padded(side)
    out = bp.generate(model, ids, 12, temperature=0, attention_mask=mask, start_id=START)
    assert out.tolist() == [alone(model, source, 12) for source in PROMPTS]
    one = bp.generate(model, torch.tensor(PROMPTS[:1]), 12, start_id=START, **SAMPLED)
    together = bp.generate(model, ids, 12, start_id=START, attention_mask=mask, **SAMPLED)
    assert torch.equal(together[:1], one)


def test_without_a_state_the_tokens_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (ids, mask) = writer(), padded("right")
    asked: dict[str, Any] = {"attention_mask": mask, "start_id": START}
    with_state = [bp.generate(model, ids, 9, **asked, **how) for how in ({"temperature": 0}, SAMPLED)]
    monkeypatch.setattr(type(model), "incremental", False)
    assert torch.equal(with_state[0], bp.generate(model, ids, 9, **asked, temperature=0))
    assert torch.equal(with_state[1], bp.generate(model, ids, 9, **asked, **SAMPLED))


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("incremental", [True, False])
def test_a_source_is_read_once(beams: int, incremental: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = writer(), []
    monkeypatch.setattr(type(model), "incremental", incremental)
    model.encoder.layers[0].register_forward_hook(lambda *_: read.append(1))
    bp.generate(model, torch.tensor(PROMPTS[:1]), 6, temperature=0, start_id=START, num_beams=beams)
    assert len(read) == 1


def test_a_target_may_go_on_from_a_beginning(model: nn.Module) -> None:
    source, begun = torch.tensor(PROMPTS[:1] * 2), torch.tensor([[START, 8, 30], [7, 7, 1]])
    out = bp.generate(model, source, 6, temperature=0, decoder_input_ids=begun)
    assert out.tolist() == [alone(model, PROMPTS[0], 6, tuple(row)) for row in begun.tolist()]
    best = bp.generate(model, source, 6, num_beams=3, decoder_input_ids=begun)
    assert torch.equal(best[:, :3], begun)


def test_the_steps_are_what_is_returned() -> None:
    model, source = writer(), torch.tensor(PROMPTS[:1])
    streamed = [int(ids) for ids in steps(model, source, Sampling(0), 7, start_id=START)]
    called: list[int] = []
    asked: dict[str, Any] = {"temperature": 0, "start_id": START, "on_token": lambda ids: called.append(int(ids))}
    out = bp.generate(model, source, 7, **asked)
    assert [START, *streamed] == [START, *called] == out[0].tolist()


def test_a_row_ends_at_its_end_and_is_filled() -> None:
    model, (ids, mask) = writer(), padded("right")
    asked: dict[str, Any] = {"temperature": 0, "attention_mask": mask, "start_id": START}
    free = bp.generate(model, ids, 15, **asked)[:, 1:].tolist()
    end = free[0][4]
    out = bp.generate(model, ids, 15, **asked, eos_id=end, pad_id=60)[:, 1:].tolist()
    for row, whole in zip(out, free, strict=True):
        length = whole.index(end) + 1 if end in whole else 15
        assert row == whole[:length] + [60] * (len(row) - length)


def test_a_repetition_penalty_sees_what_was_written_but_not_the_source() -> None:
    model = writer()
    found = bp.generate(model, torch.tensor(PROMPTS[:1]), 20, temperature=0, repetition_penalty=1e9, start_id=START)
    assert len({*found[0].tolist()}) == 21
    kept = alone(model, PROMPTS[0], 1)[1]
    source = torch.tensor([[kept] * 3])
    (first,) = bp.generate(model, source, 1, temperature=0, repetition_penalty=1e9, start_id=START)[:, 1].tolist()
    assert first == alone(model, [kept] * 3, 1)[1]


def taught(start: int | None) -> Any:
    """A spec whose objective begins targets with this id."""
    return SimpleNamespace(objective=SimpleNamespace(start_id=lambda _: start), tokenizer=BYTE)


def test_the_start_is_the_one_given_else_the_objectives_else_the_imports() -> None:
    model, source = writer(vocab_size=257), torch.tensor(PROMPTS[:1])
    with pytest.raises(ValueError, match="nothing says which id the target begins with: give start_id"):
        bp.generate(model, source, 2)
    model.start_id = 9  # type: ignore[assignment]
    assert bp.generate(model, source, 2)[0, 0] == 9
    model.spec = taught(256)
    assert bp.generate(model, source, 2)[0, 0] == 256
    assert bp.generate(model, source, 2, start_id=5)[0, 0] == 5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"start_id": 61}, "target holds 61, which is no token"),
        ({"start_id": 1, "decoder_input_ids": torch.tensor([[1]])}, "both say what the target begins with"),
        ({"decoder_input_ids": torch.tensor([[1], [2]])}, "decoder_input_ids has 2 rows, input_ids 1"),
        ({"decoder_input_ids": torch.tensor([1])}, "decoder_input_ids must be whole numbers"),
        ({"start_id": 1, "input_ids": torch.zeros(1, 0, dtype=torch.int64)}, "source is empty"),
        ({"start_id": 1, "attention_mask": torch.zeros(1, 2)}, "row 0 is all padding"),
    ],
)
def test_what_cannot_be_written_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bp.generate(writer(), **{"input_ids": torch.tensor([[1, 2]]), **asked})


def test_a_prompt_has_no_start(build: Make) -> None:
    with pytest.raises(ValueError, match="start_id is for a model that reads a source"):
        bp.generate(build(), torch.tensor([[1, 2]]), start_id=1)


def test_each_side_ends_at_its_own_max_length() -> None:
    model = writer(**LEARNED, encoder={"max_length": 6})
    source = torch.tensor([[1, 2, 3, 4, 5, 6, 7]])
    assert bp.generate(model, source[:, 1:], 39, temperature=0, start_id=START).shape == (1, 40)
    with pytest.raises(ValueError, match=r"make 41, the model's max_length is 40.*ask for fewer"):
        bp.generate(model, source[:, 1:], 40, start_id=START)
    with pytest.raises(ValueError, match=r"source's tokens are 7, the model's max_length is 6.*shorten it"):
        bp.generate(model, source, 2, start_id=START)
    # Padding takes no room.
    asked: dict[str, Any] = {"temperature": 0, "start_id": START, "attention_mask": torch.tensor([[0] + [1] * 6])}
    assert torch.equal(
        bp.generate(model, source, 5, **asked), bp.generate(model, source[:, 1:], 5, temperature=0, start_id=START)
    )


def test_text_is_written_for_a_text_with_its_end() -> None:
    model = writer(vocab_size=257)
    text = TextGenerator(model, BYTE, start_id=256)
    source = torch.tensor([[*b"say it", 256]])
    sampling = Sampling(0.8, top_k=40, seed=6)
    done = text.complete("say it", max_new_tokens=30, sampling=sampling)
    ids = bp.generate(model, source, 30, 0.8, 40, seed=6, eos_id=256, start_id=256)[0, 1:].tolist()
    assert done == Completion(BYTE.decode(ids), len(ids), "end" if ids[-1] == 256 else "length")
    best = text.best("say it", Beams(4), max_new_tokens=30)
    ids = bp.generate(model, source, 30, num_beams=4, eos_id=256, start_id=256)[0, 1:].tolist()
    assert (best.text, best.tokens) == (BYTE.decode(ids), len(ids))
    assert best.score is not None
    # Nothing is a source too.
    assert text.complete("", max_new_tokens=3).tokens


def test_the_best_text_that_goes_on_from_a_prompt() -> None:
    model = make(vocab_size=257)
    best = TextGenerator(model, BYTE).best("def ", Beams(3, 0.5), max_new_tokens=20)
    ids = bp.generate(model, torch.tensor([[*b"def "]]), 20, num_beams=3, length_penalty=0.5, eos_id=256)[0, 4:]
    assert best.text == BYTE.decode(ids.tolist())
