"""Token files are built once for a content and its settings, by one process at a time, whole or not at all."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blueprint.training.data import DataError, build, pool
from blueprint.training.data.cache import cache_folder
from blueprint.training.data.encoder import Classes, Labelled, Pairs, Scored, joined

FORK = multiprocessing.get_context("fork")


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_second_call_tokenizes_nothing(make, documents, tokens, byte_tokenizer) -> None:
    class Never(byte_tokenizer):
        def encode(self, text: str):
            raise AssertionError("tokenized again")

    assert make(documents, Never()).key == tokens.key


def test_a_fingerprint_spares_even_the_reading(make, documents, watched) -> None:
    class Known(watched):
        stamp = "v1"

        def fingerprint(self) -> str:
            return self.stamp

    first, second, other = Known(documents), Known(documents), Known(documents)
    other.stamp = "v2"
    keys = {make(first).key, make(second).key, make(other).key}
    assert (first.reads, second.reads, other.reads) == (2, 0, 1)
    assert len(keys) == 1  # a new stamp over the same text is the same content


def test_a_fingerprint_that_lied_is_found_out_and_forgotten(make, documents, watched) -> None:
    class Lying(watched):
        def fingerprint(self) -> str:
            return "the same"

    make(Lying(documents))
    with pytest.raises(DataError, match="changed while it was being read"):
        make(Lying(documents[1:]), validation=0.4)
    assert make(Lying(documents[1:]), validation=0.4).key == make(documents[1:], validation=0.4).key


@pytest.mark.parametrize("change", ["text", "name", "order", "tokenizer", "vocab_size", "eos_id", "validation", "seed"])
def test_the_key_covers_content_and_settings(make, documents, tokens, byte_tokenizer, change: str) -> None:
    class Other(byte_tokenizer):
        fingerprint = "other"

    changed, tokenizer, settings = list(documents), byte_tokenizer(), {}
    match change:
        case "text":
            changed[0] = (changed[0][0], changed[0][1] + "!")
        case "name":
            changed[0] = ("renamed", changed[0][1])
        case "order":
            changed.reverse()
        case "tokenizer":
            tokenizer = Other()
        case "vocab_size":
            tokenizer = byte_tokenizer(vocab_size=300)
        case "eos_id":
            tokenizer = byte_tokenizer(eos_id=None)
        case _:
            settings = {change: 0.5 if change == "validation" else 7}
    assert make(changed, tokenizer, **settings).key != tokens.key


@pytest.mark.parametrize("form", ["texts", "pairs", "labelled", "scored"])
def test_files_are_the_same_on_any_number_of_cores(make, invent, byte_tokenizer, tmp_path, monkeypatch, form) -> None:
    monkeypatch.setattr("blueprint.training.data.build._BATCH", 300)
    monkeypatch.setattr(pool, "_START", 0.0)
    monkeypatch.setattr(pool, "_WAY", 0.0)
    tokenizer, classes = byte_tokenizer(), Classes(["0", "1"])
    encoders = {"texts": tokenizer, "pairs": Pairs(tokenizer), "scored": Scored(tokenizer)}
    encoder = (encoders | {"labelled": Labelled(tokenizer, classes)})[form]
    documents = invent(60)
    if form != "texts":
        documents = [(name, joined((text, str(number % 2)))) for number, (name, text) in enumerate(documents) if text]
    found = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(pool, "available", lambda cores=cores: cores)
        found.append(content(make(documents, encoder, cache=tmp_path / str(cores)).folder))
    assert found[0] == found[1] == found[2]


def test_a_builder_killed_at_any_moment_leaves_nothing_that_is_used(make, invent, byte_tokenizer, tmp_path) -> None:
    documents = invent(40)
    expected = content(make(documents, cache=tmp_path / "undisturbed").folder)

    def killed(at: int) -> None:
        class Deadly(byte_tokenizer):
            calls = 0

            def encode(self, text: str):
                Deadly.calls += 1
                if at == Deadly.calls:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().encode(text)

        if at > len(documents):  # everything is written, nothing renamed
            os.rename = lambda a, b: os.kill(os.getpid(), signal.SIGKILL)  # in the child alone
        make(documents, Deadly())

    for at in (1, 20, 40, 41):
        child = FORK.Process(target=killed, args=(at,), daemon=True)
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert list((tmp_path / "cache" / "tokens").glob("*.part"))
        assert not [p for p in (tmp_path / "cache" / "tokens").iterdir() if not p.suffix]
    rebuilt = make(documents)
    assert content(rebuilt.folder) == expected
    assert not list((tmp_path / "cache" / "tokens").glob("*.part"))


def test_an_interrupt_leaves_no_litter(make, documents, byte_tokenizer, tmp_path) -> None:
    class Interrupted(byte_tokenizer):
        def encode(self, text: str):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(documents, Interrupted())
    assert [p.suffix for p in (tmp_path / "cache" / "tokens").iterdir()] == [".lock"]


def test_of_two_builders_one_builds_and_the_other_waits_and_reuses(make, documents, byte_tokenizer) -> None:
    encoded, begun, let_go, results = FORK.Value("i", 0), FORK.Event(), FORK.Event(), FORK.SimpleQueue()

    class Slow(byte_tokenizer):
        def encode(self, text: str):
            with encoded.get_lock():
                encoded.value += 1
            begun.set()
            assert let_go.wait(20)
            return super().encode(text)

    def run() -> None:
        results.put(int(make(documents, Slow()).train.ids.astype(np.int64).sum()))

    first, second = FORK.Process(target=run, daemon=True), FORK.Process(target=run, daemon=True)
    first.start()
    assert begun.wait(20)
    second.start()
    second.join(0.3)
    assert second.is_alive()
    let_go.set()
    first.join(20)
    second.join(20)
    assert results.get() == results.get()
    assert encoded.value == len(documents)


def test_a_source_that_changes_between_the_passes_is_refused(make, documents, watched, tmp_path) -> None:
    class Moving(watched):
        def __iter__(self):
            self.reads += 1
            return iter(self.documents[self.reads - 1 :])

    with pytest.raises(DataError, match="made-up text changed while it was being read"):
        make(Moving(documents))
    assert not [p for p in (tmp_path / "cache" / "tokens").iterdir() if p.is_dir()]


@pytest.mark.parametrize("documents", [[], [("a", "")], [("a", ""), ("b", "")]])
def test_data_without_text_say_so(make, documents) -> None:
    with pytest.raises(DataError, match="made-up text holds no text"):
        make(documents)


def test_copies_of_one_text_cannot_be_split_and_the_counts_are_named(make) -> None:
    with pytest.raises(DataError, match=r"holds 3 documents, all with the same text.*at least 2 different"):
        make([("a", "same"), ("b", "same"), ("c", "same"), ("d", "")])


@pytest.mark.parametrize("validation", [1e-9, 1 - 1e-9])
def test_each_split_gets_a_document_however_small_its_share(make, invent, validation: float) -> None:
    found = make(invent(5), validation=validation)
    assert sorted((found.train.documents, found.validation.documents)) == [1, 4]


@pytest.mark.parametrize("text", ["line of text\n" * 100, "é" * 1000, "ab"])
def test_of_a_single_document_the_end_is_held_out(make, text: str) -> None:
    found = make([("book.txt", text)], validation=0.1)
    parts = [split.document(0)[:-1].astype(np.uint8).tobytes().decode() for split in (found.train, found.validation)]
    assert "".join(parts) == text
    assert all(parts)
    assert len(text) < 10 or 0.05 < len(parts[1]) / len(text) < 0.15
    assert found.validation.document_name(0) == "book.txt (its end)"


def test_a_single_character_cannot_be_split(make) -> None:
    with pytest.raises(DataError, match="holds 1 document of 2 bytes, too short"):
        make([("a", "é")])


@pytest.mark.parametrize("validation", [0, 1, -0.1, 5, float("nan")])
def test_a_share_that_is_none_is_refused(make, documents, validation: float) -> None:
    with pytest.raises(DataError, match="validation must lie between 0 and 1"):
        make(documents, validation=validation)


def test_a_generator_is_refused_before_it_is_used_up(make, documents) -> None:
    generator = (pair for pair in documents)
    with pytest.raises(DataError, match="read twice"):
        make(generator)
    assert len(list(generator)) == len(documents)


def test_half_a_surrogate_pair_is_named(make) -> None:
    with pytest.raises(DataError, match=r"made-up text, bad\.txt: character 2 is half of a surrogate pair"):
        make([("good.txt", "ok"), ("bad.txt", "ab\ud800")])


def test_a_cache_that_cannot_be_written_is_named(make, documents, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=rf"cannot write to {tmp_path}/file/cache .*; set BLUEPRINT_CACHE"):
        make(documents, cache=tmp_path / "file" / "cache")


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("BLUEPRINT_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/blueprint")


def test_progress_is_shown_when_asked_and_silent_otherwise(make, documents, capfd, monkeypatch) -> None:
    make(documents)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich: take what is written to for a terminal
    make(documents, progress=True, seed=9)
    out, err = capfd.readouterr()
    assert out == ""
    assert "tokenizing" in err


REPO = str(Path(build.__file__).resolve().parents[3])
MEASURE = """
import resource, sys, pathlib, numpy as np
from blueprint.training.data.build import build
from blueprint.training.data.unigram import unigram

class Stream:
    def __iter__(self):
        for i in range(300):
            yield f"d{i}", f"{i:>8}" * 25_000

class Bytes:
    vocab_size, eos_id, fingerprint = 257, 256, "bytes"
    def encode(self, text):
        return np.frombuffer(text.encode(), dtype=np.uint8)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

before = peak()
tokens = build(Stream(), Bytes(), source="stream", cache=pathlib.Path(sys.argv[1]), progress=False)
print(tokens.train.bytes + tokens.validation.bytes, peak() - before, "torch" in sys.modules)
"""


def test_memory_does_not_grow_with_the_text(tmp_path) -> None:
    """60 MB of text and 120 MB of token files pass through a few MB."""
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": REPO})
    size, grown, torch = said.stdout.split()
    assert int(size) == 60_000_000
    assert int(grown) < 16
    assert torch == "False"


def test_the_index_can_be_read_by_a_person(tokens) -> None:
    assert tokens.index["splits"]["train"]["tokens"] == tokens.train.tokens
    assert re.fullmatch("[0-9a-f]{32}", tokens.key)
    assert tokens.folder.name == tokens.key
