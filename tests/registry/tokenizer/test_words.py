"""Which word a token is of: as the tokenizers library tells of words that were cut beforehand, template and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blueprint.kinds import Tokenizer

TEXTS = ["the spec is the model, naïve words 123", "unbelievable tokens are words of their own", "Ōsaka 🙂 x"] * 4
WORDS = ["the", "unbelievable", "naïve,", "Ōsaka", "🙂", "x"]


def learned(tmp_path: Path, **said: Any) -> Any:
    tokenizer = Tokenizer.of(said)
    (tmp_path / "tokenizer.json").write_text(tokenizer.train(TEXTS), encoding="utf-8")
    return Tokenizer.of({**said, "path": str(tmp_path / "tokenizer.json")})


TRAINED: dict[str, dict[str, Any]] = {
    "wordpiece": {"type": "wordpiece", "vocab_size": 90, "cls": "[CLS]", "sep": "[SEP]", "template": "[CLS] $A [SEP]"},
    "byte_bpe": {"type": "byte_bpe", "vocab_size": 300},
    "unigram": {"type": "unigram", "vocab_size": 60},
    "bpe": {"type": "bpe", "vocab_size": 60},
    "words": {"type": "words", "vocab_size": 60},
}


@pytest.mark.parametrize("name", TRAINED)
def test_every_word_has_its_tokens_in_a_row(name: str, tmp_path: Path) -> None:
    tokenizer = learned(tmp_path, **TRAINED[name])
    ids, numbers = tokenizer.words(WORDS)
    assert ids.tolist() == tokenizer.document(" ".join(WORDS)).tolist()
    of_words = numbers[numbers >= 0]
    assert (np.diff(of_words) >= 0).all()
    assert set(of_words.tolist()) == set(range(len(WORDS)))
    assert (numbers[0] < 0) == tokenizer.framed


def test_wordpiece_tells_them_as_the_library_does_of_words_cut_beforehand(tmp_path: Path) -> None:
    tokenizer = learned(tmp_path, **TRAINED["wordpiece"])
    ids, numbers = tokenizer.words(WORDS)
    found = tokenizer.runner().encode(WORDS, is_pretokenized=True)
    # The end that the template puts there follows every document anyway.
    assert found.ids[:-1] == ids.tolist()
    assert [-1 if word is None else word for word in found.word_ids[:-1]] == numbers.tolist()


def test_of_bytes_the_spaces_are_of_no_word() -> None:
    ids, numbers = Tokenizer.of("byte").words(["ab", "é", "c"])
    assert bytes(ids.tolist()).decode() == "ab é c"
    assert numbers.tolist() == [0, 0, -1, 1, 1, -1, 2]


def test_a_tokenizer_that_says_nothing_of_it_writes_word_by_word() -> None:
    class Letters(Tokenizer):
        def encode(self, text: str) -> Any:
            return np.array([ord(letter) for letter in text])

    ids, numbers = Letters().words(["ab", "c"])
    assert "".join(map(chr, ids)) == "ab c"
    assert numbers.tolist() == [0, 0, 1, 1]
