"""Text in, text out, piece by piece: characters whole, stop strings cut, the end token silent."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from blueprint.inference.beam import Beams, search
from blueprint.inference.ends import Ends
from blueprint.inference.generate import steps
from blueprint.inference.prompt import Prompt, continues, reads_source, usual
from blueprint.inference.sampling import Sampling

Reason = Literal["end", "stop", "length"]
_BROKEN = "�"  # what a decoder writes for bytes that are no character, or not yet


@dataclass(frozen=True)
class Completion:
    """New text, how many tokens were drawn, and what ended it: the `end` token, a `stop` string or the `length`.

    `score` is what a beam search found it worth (`Beams`), None where it was drawn.
    """

    text: str
    tokens: int
    reason: Reason
    score: float | None = None


class TextGenerator:
    """Continues text with a model and its tokenizer (`encode`, `decode`, `eos_id`, and `decode_bytes` if it has it).

    A model that reads a source takes the prompt as that, and what it writes is the new text; `start_id` is the id that
    it begins with, where its spec's objective does not say. Raises ValueError for a model that continues no text.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, start_id: int | None = None) -> None:
        continues(model)
        self.model, self.tokenizer, self.start_id = model, tokenizer, start_id
        self.reads_source = reads_source(model)

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
    ) -> Generator[str, None, Completion]:
        """The new text in pieces, as it is drawn; joined they are all of it. The generator's value is a `Completion`.

        A piece never splits a character, and is held back while it may be the beginning of a stop string, which is
        left out. Where `max_new_tokens` is not said, it ends with the model's length, or after 256. Raises ValueError
        for an empty prompt to a tokenizer without an end token, and as `generate` does.
        """
        if any(not each for each in stop):
            raise ValueError("an empty stop string would end the text at once: leave it out")
        ids, end = self._prompt(prompt), self.tokenizer.eos_id
        new_tokens = self._new(ids, max_new_tokens)
        pieces, held, said, count = self._decoder(ids), "", [], 0
        reason: Reason = "length"
        drawing = steps(self.model, torch.tensor([ids]), sampling or Sampling(), new_tokens, start_id=self.start_id)
        with closing(drawing) as drawn:
            for ids_1 in drawn:
                new = int(ids_1)
                count += 1
                if new == end:
                    reason = "end"
                    break
                held += pieces(new)
                cut = _first(held, stop)
                if cut is not None:
                    held, reason = held[:cut], "stop"
                    break
                free = len(held) - _overlap(held, stop)
                if free:
                    said.append(held[:free])
                    held = held[free:]
                    yield said[-1]
        if reason != "stop":
            held += pieces(None)
            cut = _first(held, stop)
            if cut is not None:
                held, reason = held[:cut], "stop"
        if held:
            said.append(held)
            yield held
        return Completion("".join(said), count, reason)

    def complete(
        self,
        prompt: str,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """All of the new text at once; arguments and errors as for `stream`."""
        stream = self.stream(prompt, max_new_tokens=max_new_tokens, sampling=sampling, stop=stop)
        while True:
            try:
                next(stream)
            except StopIteration as done:
                completion: Completion = done.value
                return completion

    def best(
        self, prompt: str, beams: Beams, *, max_new_tokens: int | None = None, repetition_penalty: float | None = None
    ) -> Completion:
        """The best text that a beam search finds; errors as for `stream`."""
        ids, end = self._prompt(prompt), self.tokenizer.eos_id
        count = self._new(ids, max_new_tokens)
        begun = Prompt.of(self.model, torch.tensor([ids]), new=count, start_id=self.start_id)
        found = search(self.model, begun, beams, count, Ends(1, end), repetition_penalty)
        new = found.ids_BRN[0, 0, : int(found.length_BR[0, 0])].tolist()
        ended = end is not None and new[-1:] == [end]
        pieces = self._decoder(ids)
        text = "".join([*map(pieces, new[:-1] if ended else new), pieces(None)])
        return Completion(text, len(new), "end" if ended else "length", float(found.score_BR[0, 0]))

    def _prompt(self, prompt: str) -> list[int]:
        begins = source_ids if self.reads_source else prompt_ids
        ids = begins(self.tokenizer, prompt)
        if ids:
            return ids
        if self.tokenizer.eos_id is None:
            raise ValueError("the prompt is empty, and the tokenizer has no end token to begin a text from")
        return [int(self.tokenizer.eos_id)]  # documents follow one another with this token between them

    def _new(self, prompt: list[int], said: int | None) -> int:
        """How many tokens to draw at most; what a source is written as begins with one."""
        return usual(self.model, 1 if self.reads_source else len(prompt)) if said is None else said

    def _decoder(self, prompt: list[int]) -> Callable[[int | None], str]:
        if hasattr(self.tokenizer, "decode_bytes"):
            return _from_bytes(self.tokenizer.decode_bytes)
        return _from_text(self.tokenizer.decode, [] if self.reads_source else prompt)


def source_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a source, its end with them, as sources are given in training."""
    return [*_ids(tokenizer, text), *([] if tokenizer.eos_id is None else [int(tokenizer.eos_id)])]


def prompt_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a prompt, with what the tokenizer's template puts before it."""
    return [int(each) for each in getattr(tokenizer, "prompt", tokenizer.encode)(text)]


def _ids(tokenizer: Any, text: str) -> list[int]:
    return [int(each) for each in tokenizer.encode(text)]


def _from_bytes(decode_bytes: Callable[[list[int]], bytes]) -> Callable[[int | None], str]:
    """Ids to the characters they complete; None at the end, for bytes that never became one."""
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    return lambda new: utf8.decode(b"", True) if new is None else utf8.decode(decode_bytes([new]))


def _from_text(decode: Callable[[list[int]], str], prompt: list[int]) -> Callable[[int | None], str]:
    """The same from text alone: what one more id adds to the decoding of the ids before it.

    Ids are decoded with what precedes them, as a tokenizer may write a space before a word but not before a text.
    """
    context, pending = list(prompt), list[int]()

    def piece(new: int | None) -> str:
        nonlocal context, pending
        pending += [] if new is None else [new]
        before, after = decode(context), decode(context + pending)
        if new is not None and (after.endswith(_BROKEN) or len(after) <= len(before)):
            return ""
        context, pending = pending or context, []
        return after[len(before) :]

    return piece


def _first(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string begins, if one is in the text."""
    return min((at for at in (text.find(each) for each in stop) if at >= 0), default=None)


def _overlap(text: str, stop: Sequence[str]) -> int:
    """The length of the longest ending of `text` that begins a stop string."""
    return max(
        (n for each in stop for n in range(1, min(len(each), len(text) + 1)) if text.endswith(each[:n])), default=0
    )
