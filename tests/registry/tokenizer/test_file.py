"""A tokenizer.json: the ids of the library, special tokens and words found, and clear words where it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import blueprint as bp
from blueprint.registry import member
from blueprint_registry.tokenizer.file import File
from tests.inference.test_text import said as spoken

LETTERS = File(**member("tokenizer", "file").examples()[0])
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##ed", "the", "un", "##play", "##able", "."]


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """A small WordPiece, as BERT's, which cuts and pads."""
    made = Tokenizer(models.WordPiece({token: i for i, token in enumerate(PIECES)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(PIECES[:5])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_truncation(4)
    made.enable_padding(length=4)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_from_bytes(text: str) -> None:
    ids = LETTERS.encode(text)
    assert LETTERS.decode(ids) == text
    assert len(ids) == len(text.encode())


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_while_text_is_written_no_character_is_broken(text: str) -> None:
    written, whole = spoken([int(i) for i in LETTERS.encode(text)], tokenizer=LETTERS)
    assert "".join(written) == whole.text == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in written)


def test_ids_are_the_librarys_without_template_cut_or_padding(pieces: Path) -> None:
    made = File(path=str(pieces))
    text = "Playing the unplayable. played the [MASK] playing"
    assert [PIECES[i] for i in made.encode(text)] == (
        ["play", "##ing", "the", "un", "##play", "##able", ".", "play", "##ed", "the", "[MASK]", "play", "##ing"]
    )
    assert made.vocab_size == len(PIECES)
    assert made.decode([2, 5, 6, 8, 3]) == "playing the"
    assert made.encode("").shape == (0,)


def test_sentences_have_their_template_and_padding(pieces: Path) -> None:
    found = File(path=str(pieces)).sentences(["the", "playing the unplayable"])
    assert found["input_ids"].tolist() == [[2, 8, 3, 0, 0, 0, 0, 0], [2, 5, 6, 8, 9, 10, 11, 3]]
    assert found["attention_mask"].sum(1).tolist() == [3, 8]
    assert found["token_type_ids"].tolist() == [[0] * 8] * 2
    short = File(path=str(pieces)).sentences(["playing the unplayable"], length=5)
    assert short["input_ids"].tolist() == [[2, 5, 6, 8, 3]]


def test_special_tokens_are_found_and_may_be_said(pieces: Path) -> None:
    found = File(path=str(pieces))
    roles = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
    assert [found.special(role) for role in roles] == [0, 1, 2, 3, 4, None, None]
    assert found.special_ids == (0, 1, 2, 3, 4)
    said = File(path=str(pieces), eos="[SEP]", mask=12)
    assert (said.eos_id, said.mask_id) == (3, 12)
    assert said.special_ids == (0, 1, 2, 3, 4, 12)
    assert (LETTERS.pad_id, LETTERS.mask_id, LETTERS.eos_id) == (256, 257, 258)


def test_words_are_told_by_the_marks_of_their_tokens(pieces: Path, tmp_path: Path) -> None:
    begins = File(path=str(pieces)).begins_word()
    assert begins is not None
    assert [token for token, begin in zip(PIECES, begins, strict=True) if not begin] == [
        "##ing",
        "##ed",
        "##play",
        "##able",
    ]
    letters = LETTERS.begins_word()
    assert letters is not None
    assert letters[LETTERS.encode("two words")].tolist() == [False] * 3 + [True] + [False] * 5
    plain = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    plain.save(str(tmp_path / "plain.json"))
    assert File(path=str(tmp_path / "plain.json")).begins_word() is None
    scored = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0), ("b", -2.0)], 0))
    scored.pre_tokenizer = pre_tokenizers.Metaspace()
    scored.save(str(tmp_path / "scored.json"))
    marked = File(path=str(tmp_path / "scored.json"))
    assert marked.encode("a ab").tolist() == [1, 1, 2]
    assert np.array_equal(marked.begins_word(), [False, True, False])  # type: ignore[arg-type]


def test_the_fingerprint_is_of_the_content_and_not_its_layout(pieces: Path, tmp_path: Path) -> None:
    said = json.loads(pieces.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps({key: said[key] for key in reversed(said)} | {"truncation": None}, indent=3))
    assert File(path=str(other)).fingerprint == File(path=str(pieces)).fingerprint
    said["model"]["vocab"]["more"] = 13
    other.write_text(json.dumps(said))
    assert File(path=str(other)).fingerprint != File(path=str(pieces)).fingerprint
    assert File(path=str(other)).vocab_size == 14


SPEC = """
model: {type: encoder, d_model: 32, layers: 1, max_length: 32, block: {attention: {heads: 2}}}
tokenizer: {type: file, path: PATH}
"""


def refusal(path: object, more: str = "") -> str:
    with pytest.raises(bp.SpecError) as refused:
        bp.loads(SPEC.replace("PATH", f"{path}{more}"))
    (problem,) = refused.value.problems
    assert problem.span is not None
    assert problem.span.line == 3
    return str(problem.message)


def test_a_wrong_file_is_refused_where_the_spec_names_it(pieces: Path, tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere.json")
    assert "say `tokenizer.json` in it" in refusal(tmp_path)
    bad = tmp_path / "bad.json"
    for text, message in {
        "the words": "is not JSON",
        "[1, 2]": "no `model`",
        '{"model": {"type": "BPE"}}': "no `model` with a `vocab`",
        '{"model": {"vocab": 3}}': "not as the tokenizers library writes",
        '{"model": {"vocab": {"a": "b"}}}': "not as the tokenizers library writes",
        '{"model": {"vocab": {"a": 0}}, "added_tokens": [1]}': "not as the tokenizers library writes",
    }.items():
        bad.write_text(text)
        assert message in refusal(bad), text
    assert "no token '[END]'" in refusal(pieces, ", eos: '[END]'")
    assert "end at 12" in refusal(pieces, ", eos: 13")


def test_what_only_the_library_refuses_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text('{"model": {"type": "Odd", "vocab": {"a": 0}}}')
    with pytest.raises(ValueError, match="does not read"):
        File(path=str(tmp_path / "odd.json")).encode("a")


def test_without_the_library_a_spec_is_read_and_the_extra_named(pieces: Path) -> None:
    code = (
        "import sys\nsys.modules['tokenizers'] = None\n"
        "import blueprint as bp\n"
        f"spec = bp.loads({SPEC.replace('PATH', str(pieces))!r})\n"
        "assert spec.vocab_size == 13 and 'torch' not in sys.modules\n"
        "try: spec.tokenizer.encode('a')\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'blueprint-lightning[tokenizers]'" in done.stdout


def test_an_empty_prompt_needs_an_end(pieces: Path) -> None:
    from blueprint.inference.text import TextGenerator
    from tests.inference.test_text import Script

    made: Any = File(path=str(pieces))
    with pytest.raises(ValueError, match="no end token"):
        TextGenerator(Script([5], 13), made).complete("")
