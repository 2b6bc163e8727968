"""Text: pieces that join to the whole, whole characters, stop strings wherever they fall."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import blueprint as bp
from blueprint.inference.beam import Beams
from blueprint.inference.sampling import Sampling
from blueprint.inference.text import Completion, TextGenerator
from blueprint.registry import member

from .conftest import Make

BYTE: Any = member("tokenizer", "byte")()


class Script(nn.Module):
    """A model without state that says the given ids, whatever it is asked."""

    incremental = False

    def __init__(self, ids: Iterable[int], vocab: int) -> None:
        super().__init__()
        self.ids, self.vocab, self.begun = list(ids), vocab, 0

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None, logits: bool) -> Any:
        self.begun = self.begun or ids.shape[1]
        said = self.ids[ids.shape[1] - self.begun]
        return type("Out", (), {"hidden": nn.functional.one_hot(torch.tensor([[said]]), self.vocab).float()})

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


class Words:
    """A tokenizer that puts spaces between words, has a character in two halves, and shows no bytes."""

    vocabulary = ("the", "cat", "sat", "é/1", "é/2", ".")
    eos_id = None

    def encode(self, text: str) -> list[int]:
        return [self.vocabulary.index(word) for word in text.split()]

    def decode(self, ids: list[int]) -> str:
        words = " ".join(self.vocabulary[i] for i in ids)
        return words.replace("é/1 é/2", "é").replace("é/1", "�").replace("é/2", "�")


def said(
    ids: Iterable[int], stop: tuple[str, ...] = (), tokenizer: Any = BYTE, prompt: str = "the"
) -> tuple[list[str], Completion]:
    """The pieces and the completion of a model that says `ids`."""
    ids = list(ids)
    stream = TextGenerator(Script(ids, 257), tokenizer).stream(
        prompt, max_new_tokens=len(ids), sampling=Sampling(0), stop=stop
    )
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as done:
            return pieces, done.value


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=24))
def test_pieces_join_to_the_text_of_any_bytes(data: bytes) -> None:
    pieces, whole = said(data)
    assert "".join(pieces) == whole.text == data.decode("utf-8", "replace")
    assert whole.tokens == len(data)
    assert whole.reason == "length"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="aé漢🦊", min_size=1, max_size=12))
def test_a_piece_never_splits_a_character(text: str) -> None:
    pieces, _ = said(text.encode())
    assert pieces == list(text)


@settings(max_examples=80, deadline=None)
@given(
    st.text(alphabet="ab", min_size=1, max_size=14),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), max_size=3),
)
def test_a_stop_string_ends_the_text_before_itself(text: str, stop: list[str]) -> None:
    pieces, whole = said(text.encode(), tuple(stop))
    # The first to be whole ends the text; of several whole at once, the one that begins first.
    ends = [n for n in range(1, len(text) + 1) if any(text[:n].endswith(each) for each in stop)]
    if not ends:
        assert (whole.text, whole.reason) == (text, "length")
    else:
        longest = max(len(each) for each in stop if text[: ends[0]].endswith(each))
        assert (whole.text, whole.reason) == (text[: ends[0] - longest], "stop")
        assert whole.tokens == ends[0]
    assert "".join(pieces) == whole.text


def test_a_stop_string_may_span_tokens_and_characters() -> None:
    assert said("fine é END more".encode(), ("é END",))[1] == Completion("fine ", 11, "stop")


def test_what_only_began_a_stop_string_is_given_at_the_end() -> None:
    pieces, whole = said(b"so EN", ("END",))
    assert whole.text == "so EN"
    assert pieces[-1] == "EN"


def test_the_end_token_ends_and_is_not_text() -> None:
    assert said([*b"ok", 256, *b"more"])[1] == Completion("ok", 3, "end")


def test_a_tokenizer_without_bytes_streams_too() -> None:
    pieces, whole = said([1, 3, 4, 2, 5, 0], tokenizer=Words())
    assert pieces == [" cat", " é", " sat", " .", " the"]
    assert whole.text == " cat é sat . the"
    assert said([1, 3], tokenizer=Words())[1].text == " cat �"


def test_text_is_the_decoding_of_what_generate_gives(build: Make) -> None:
    model = build(vocab_size=257)
    sampling = Sampling(0.8, top_k=40, seed=6)
    completion = TextGenerator(model, BYTE).complete("def ", max_new_tokens=30, sampling=sampling)
    ids = bp.generate(model, torch.tensor([[*b"def "]]), 30, 0.8, 40, seed=6, eos_id=256)[0, 4:].tolist()
    assert completion.text == BYTE.decode(ids)
    assert completion.tokens == len(ids)


def test_an_empty_prompt_begins_after_an_end_token(build: Make) -> None:
    model = build(vocab_size=257)
    completion = TextGenerator(model, BYTE).complete("", max_new_tokens=9, sampling=Sampling(0))
    ids = bp.generate(model, torch.tensor([[256]]), 9, temperature=0, eos_id=256)[0, 1:].tolist()
    assert completion.text == BYTE.decode(ids)
    with pytest.raises(ValueError, match="no end token"):
        TextGenerator(model, Words()).complete("")


def test_an_empty_stop_string_is_refused(build: Make) -> None:
    with pytest.raises(ValueError, match="empty stop string"):
        TextGenerator(build(), BYTE).complete("a", stop=("",))


def test_a_stream_put_aside_leaves_the_model_as_it_was(build: Make) -> None:
    model = build(vocab_size=257).train()
    stream = TextGenerator(model, BYTE).stream("def ", max_new_tokens=30)
    next(stream)
    stream.close()
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_model_that_continues_no_text_is_refused_before_anything_is_said() -> None:
    said = {"type": "encoder", "d_model": 16, "layers": 1, "block": {"attention": {"heads": 2}}}
    spec = bp.load({"model": said, "tokenizer": "byte"})
    with pytest.raises(ValueError, match="this encoder does not continue text"):
        TextGenerator(bp.build(spec), spec.tokenizer)


@pytest.mark.parametrize("beams", [1, 2])
def test_text_ends_with_the_models_length_where_nothing_is_said(beams: int, build: Make) -> None:
    """Without a warning, or what a learned table of positions would have to refuse."""
    model = build({"position": "none"}, vocab_size=6, max_length=12, embedding={"positions": "learned"})
    writer = TextGenerator(model, Words())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = writer.complete("the cat") if beams == 1 else writer.best("the cat", Beams(beams))
    assert (found.tokens, found.reason) == (10, "length")
