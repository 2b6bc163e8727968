"""SentencePiece's files give the ids that SentencePiece gives.

`sentencepiece/` holds a file of each kind that version 0.2.3 trained on this project's pages, and the ids that it wrote
for some texts: white space kept or not, characters unknown or said by their bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

import blueprint as bp
from blueprint_registry.tokenizer.file import File

FOLDER = Path(__file__).parent / "sentencepiece"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_ids_are_sentencepieces_own(kind: str) -> None:
    made = File(path=str(FOLDER / f"{kind}.model"))
    assert made.vocab_size == EXPECTED[kind]["size"]
    for text, ids in zip(EXPECTED["texts"], EXPECTED[kind]["ids"], strict=True):
        assert made.encode(text).tolist() == ids, text
    assert [made.special(role) for role in ("unk", "bos", "eos", "pad")] == [0, 1, 2, None]
    begins = made.begins_word()
    assert begins is not None
    assert begins[made.encode("two words")].sum() == 2


def test_a_text_comes_back() -> None:
    bpe, unigram = (File(path=str(FOLDER / f"{kind}.model")) for kind in ("bpe", "unigram"))
    for text in ("  the model's  🙂 ", "a\tb\n", ""):
        assert bpe.decode(bpe.encode(text)) == text
    assert unigram.decode(unigram.encode("  the   model ")) == "the model"


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.model"
    pieces = field(1, field(1, b"<unk>") + field(3, 2)) + field(1, field(1, b"a") + b"\x15" + struct.pack("<f", -1.0))
    found = {
        b"": "has no pieces",
        b"\xff": "cut short",
        pieces[:-2]: "cut short",
        b"{}": "no message of fields",
        field(1, 3): "fields are not those",
        pieces + field(2, field(3, 3)): "of the kind `word`",
        pieces + field(3, field(5, 0)): "marks spaces in another way",
    }
    for data, message in found.items():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            File(path=str(path))
    path.write_bytes(pieces)
    assert File(path=str(path)).vocab_size == 2


def test_a_spec_says_it_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "pieces.model").write_bytes((FOLDER / "unigram.model").read_bytes())
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "model: {type: decoder, d_model: 32, layers: 1, max_length: 16, block: {attention: {heads: 2}}}\n"
        "tokenizer: {type: file, path: pieces.model}\n"
    )
    assert bp.load(spec).vocab_size == EXPECTED["unigram"]["size"]
