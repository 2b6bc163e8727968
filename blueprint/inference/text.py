"""Text in, text out, piece by piece: characters whole, stop strings cut, the end token silent."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from blueprint.inference.generate import steps
from blueprint.inference.prompt import continues
from blueprint.inference.sampling import Sampling

Reason = Literal["end", "stop", "length"]
_BROKEN = "�"  # what a decoder writes for bytes that are no character, or not yet


@dataclass(frozen=True)
class Completion:
    """New text, how many tokens were drawn, and what ended it: the `end` token, a `stop` string or the `length`."""

    text: str
    tokens: int
    reason: Reason


class TextGenerator:
    """Continues text with a model and its tokenizer (`encode`, `decode`, `eos_id`, and `decode_bytes` if it has it).

    Raises ValueError for a model that continues no text.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        continues(model)
        self.model, self.tokenizer = model, tokenizer

    def stream(
        self, prompt: str, *, max_new_tokens: int = 256, sampling: Sampling | None = None, stop: Sequence[str] = ()
    ) -> Generator[str, None, Completion]:
        """The new text in pieces, as it is drawn; joined they are all of it. The generator's value is a `Completion`.

        A piece never splits a character, and is held back while it may be the beginning of a stop string, which is
        left out. Raises ValueError for an empty prompt to a tokenizer without an end token, and as `generate` does.
        """
        if any(not each for each in stop):
            raise ValueError("an empty stop string would end the text at once: leave it out")
        ids, end = self._prompt(prompt), self.tokenizer.eos_id
        pieces, held, said, count = self._decoder(ids), "", [], 0
        reason: Reason = "length"
        with closing(steps(self.model, torch.tensor([ids]), sampling or Sampling(), max_new_tokens)) as drawn:
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
        self, prompt: str, *, max_new_tokens: int = 256, sampling: Sampling | None = None, stop: Sequence[str] = ()
    ) -> Completion:
        """All of the new text at once; arguments and errors as for `stream`."""
        stream = self.stream(prompt, max_new_tokens=max_new_tokens, sampling=sampling, stop=stop)
        while True:
            try:
                next(stream)
            except StopIteration as done:
                completion: Completion = done.value
                return completion

    def _prompt(self, prompt: str) -> list[int]:
        ids = [int(each) for each in self.tokenizer.encode(prompt)]
        if ids:
            return ids
        if self.tokenizer.eos_id is None:
            raise ValueError("the prompt is empty, and the tokenizer has no end token to begin a text from")
        return [int(self.tokenizer.eos_id)]  # documents follow one another with this token between them

    def _decoder(self, prompt: list[int]) -> Callable[[int | None], str]:
        if hasattr(self.tokenizer, "decode_bytes"):
            return _from_bytes(self.tokenizer.decode_bytes)
        return _from_text(self.tokenizer.decode, prompt)


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
