"""Token files hold what the documents say; equal texts never lie in two splits; folders say when they are not whole."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from blueprint.training.data import DataError
from blueprint.training.data.store import Split, Tokens


def texts(split: Split) -> dict[str, str]:
    found = {}
    for number in range(split.documents):
        ids = split.document(number)
        assert ids[-1] == split.eos_id
        found[split.document_name(number)] = ids[:-1].astype(np.uint8).tobytes().decode()
    return found


def test_every_document_lies_in_exactly_one_split_with_its_name_and_text(documents, tokens) -> None:
    train, held_out = texts(tokens.train), texts(tokens.validation)
    assert not set(train) & set(held_out)
    assert train | held_out == dict(documents)
    assert [name for name, _ in documents if name in train] == list(train)


def test_the_counts_are_those_of_the_text(documents, tokens) -> None:
    size = {name: len(text.encode()) for name, text in documents}
    for split in (tokens.train, tokens.validation):
        assert split.bytes == sum(size[name] for name in texts(split))
        assert split.tokens == split.bytes + split.documents == len(split.ids)
    assert tokens.train.documents + tokens.validation.documents == len(documents)


def test_the_split_follows_the_share_and_the_seed(make, invent) -> None:
    documents = invent(2000, longest=5)
    one, other = make(documents, validation=0.1, seed=1), make(documents, validation=0.1, seed=2)
    assert 140 < one.validation.documents < 260  # 200 expected, deviation 13
    assert set(texts(one.validation)) != set(texts(other.validation))


def test_a_document_keeps_its_split_when_others_come_and_go(make, invent) -> None:
    documents = invent(200)
    before = set(texts(make(documents).validation))
    after = set(texts(make(documents[50:]).validation))
    assert after == before - {name for name, _ in documents[:50]}


def test_equal_texts_share_a_split_whatever_their_names(make, invent) -> None:
    documents = invent(60)
    twice = documents + [(f"copy of {name}", text) for name, text in documents]
    found = make(twice)
    assert {f"copy of {n}" for n in texts(found.train) if not n.startswith("copy")} == {
        n for n in texts(found.train) if n.startswith("copy")
    }


@pytest.mark.parametrize(
    ("vocab_size", "width"), [(2, 1), (256, 1), (257, 2), (65536, 2), (65537, 4), (200_000, 4), (1 << 32, 4)]
)
def test_ids_take_the_fewest_bytes_that_hold_the_vocabulary(make, byte_tokenizer, vocab_size: int, width: int) -> None:
    class Last(byte_tokenizer):
        def encode(self, text: str):
            return np.full(len(text), vocab_size - 1, dtype=np.int64)

    found = make([("a", "xx"), ("b", "yyy")], Last(eos_id=None, vocab_size=vocab_size)).train
    assert found.ids.dtype.itemsize == width
    assert (found.folder / "train" / "tokens.bin").stat().st_size == width * found.tokens
    assert set(found.ids.tolist()) == {vocab_size - 1}


@pytest.mark.parametrize("wrong", [-1, 257, 70_000])
def test_an_id_outside_the_vocabulary_is_refused_not_wrapped(make, byte_tokenizer, wrong: int) -> None:
    class Wrong(byte_tokenizer):
        def encode(self, text: str):
            return np.array([1, wrong, 2])

    with pytest.raises(DataError, match=r"a\.py: the tokenizer gave an id outside 0 to 256"):
        make([("a.py", "x"), ("b.py", "y")], Wrong())


def test_where_names_the_documents_of_a_stretch_of_tokens(tokens) -> None:
    split = tokens.train
    for start, stop in [(0, 1), (0, split.tokens), (100, 163), (split.tokens - 1, split.tokens)]:
        pieces = split.where(start, stop)
        assert all(piece.start < piece.stop for piece in pieces)
        joined = np.concatenate([split.document(piece.document)[piece.start : piece.stop] for piece in pieces])
        assert joined.tolist() == split.ids[start:stop].tolist()
        assert [piece.name for piece in pieces] == [split.document_name(piece.document) for piece in pieces]


def test_a_copy_for_another_process_carries_no_data(tokens) -> None:
    tokens.train.ids, tokens.train.starts  # noqa: B018 (maps the files)
    sent = pickle.dumps(tokens.train)
    assert len(sent) < 1000
    assert pickle.loads(sent).ids.tolist() == tokens.train.ids.tolist()


@pytest.mark.parametrize("file", ["tokens.bin", "documents.bin", "names_at.bin"])
def test_a_damaged_folder_is_named_when_opened_and_rebuilt_when_built(make, documents, tokens, file: str) -> None:
    whole = tokens.train.ids.tolist()
    path = tokens.folder / "train" / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"train/{file} is damaged: .* delete"):
        Tokens(tokens.folder)
    assert make(documents).train.ids.tolist() == whole


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a whole folder of token files"):
        Tokens(tmp_path)
