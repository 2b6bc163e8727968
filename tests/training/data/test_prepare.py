"""Documents go through stages once; what is left of them and why is told; what belongs together is never parted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import blueprint as bp
from blueprint.kinds import Document, Stage
from blueprint.registry import member
from blueprint.training import task
from blueprint.training.data import DataError, pool
from blueprint.training.data.prepare import Prepared, prepare
from blueprint.training.data.tally import table
from blueprint.training.forms import FORMS
from blueprint_registry.stage.chunk import Chunk

WORDS = ("the", "a", "spec", "model", "run", "data", "norm", "head", "layer", "token", "step", "loss", "text")


class Source:
    """Documents that count how often they are read."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.reads = texts, 0

    def __call__(self) -> Iterator[Document]:
        self.reads += 1
        return (Document(f"d{number}", (text,)) for number, text in enumerate(self.texts))


def texts(count: int = 60, seed: int = 0) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(2, 60))) + f" {n}" for n in range(count)]


def stages(*said: Any) -> list[Stage]:
    return [Stage.of(each) for each in said]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Prepared]:
    def make(source: Source, *said: Any, fingerprint: str | None = "one", seed: int = 0) -> Prepared:
        options = {"source": "made-up text", "cache": tmp_path, "progress": False}
        return prepare(source, stages(*said), fingerprint=fingerprint, seed=seed, **options)  # type: ignore[arg-type]

    return make


LENGTH = {"type": "length", "least": 60}
CHUNK = {"type": "chunk", "length": 80, "overlap": 20}
DROPOUT = {"type": "word_dropout", "share": 0.2}


def test_every_stage_tells_what_it_took_gave_and_left_out(make: Callable[..., Prepared]) -> None:
    source = Source([*texts(), "short", "short", "sho\x00rt"])
    found = make(source, "unicode", "exact_duplicates", LENGTH, CHUNK)
    unicode, exact, length, chunk = found.tallies
    assert (unicode.taken, unicode.given, unicode.changed) == (63, 63, 1)
    assert (exact.taken, exact.given, exact.why) == (63, 61, {"the same as an earlier one": 2})
    short = sum(len(text) < 60 for text in source.texts) - 2
    assert (length.taken, length.given, length.why) == (61, 61 - short, {"fewer than 60 characters": short})
    assert chunk.given == len(list(found)) > chunk.taken == length.given
    assert chunk.given_characters == sum(len(each.texts[0]) for each in found)
    for one, following in zip(found.tallies[:-1], found.tallies[1:], strict=True):
        assert (one.given, one.given_characters) == (following.taken, following.taken_characters)
    assert f"| exact_duplicates | 63 | 61 | {exact.taken_characters:,} |" in table(found.tallies)


def test_it_is_done_once_for_a_content_and_its_settings(make: Callable[..., Prepared]) -> None:
    source = Source(texts())
    one = make(source, LENGTH)
    assert source.reads == 1
    assert make(source, LENGTH).key == one.key
    assert source.reads == 1
    others = [
        make(source, LENGTH, seed=1).key,
        make(source, {**LENGTH, "least": 50}).key,
        make(source, LENGTH, "unicode").key,
        make(source, LENGTH, fingerprint="two").key,
        make(source, LENGTH, fingerprint=None).key,
    ]
    assert len({one.key, *others}) == 6
    reads = source.reads
    assert make(Source(texts()), LENGTH, fingerprint=None).key == others[-1]
    assert make(Source(texts(seed=1)), LENGTH, fingerprint=None).key not in others
    make(source, LENGTH, fingerprint=None)
    assert source.reads == reads + 1  # read to be hashed, not to be prepared


def test_what_was_broken_off_leaves_nothing_that_is_used(make: Callable[..., Prepared], tmp_path: Path) -> None:
    class Broken(Source):
        def __call__(self) -> Iterator[Document]:
            yield from list(super().__call__())[:40]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(Broken(texts()), "exact_duplicates", LENGTH)
    assert [path.suffix for path in (tmp_path / "prepared").iterdir()] == [".lock"]
    whole = make(Source(texts()), "exact_duplicates", LENGTH)
    (whole.folder / "documents.jsonl").write_text("")
    assert list(make(Source(texts()), "exact_duplicates", LENGTH))


def test_what_was_broken_off_goes_on_after_the_last_leg_that_is_done(
    make: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("unicode", LENGTH, "exact_duplicates", CHUNK, "exact_duplicates")
    undisturbed = make(Source(texts()), *said, fingerprint="undisturbed")
    real = Chunk.each

    def broken(self: Chunk, document: Document, lot: str) -> Iterator[Document]:
        raise KeyboardInterrupt

    source = Source(texts())
    monkeypatch.setattr(Chunk, "each", broken)
    with pytest.raises(KeyboardInterrupt):
        make(source, *said)
    assert not [path for path in (tmp_path / "prepared").iterdir() if path.suffix == "" and path != undisturbed.folder]
    monkeypatch.setattr(Chunk, "each", real)
    found = make(source, *said)
    assert source.reads == 1
    assert (list(found), found.tallies) == (list(undisturbed), undisturbed.tallies)
    assert sorted(path.name for path in found.folder.iterdir()) == ["documents.jsonl", "index.json"]
    assert not list((tmp_path / "prepared").glob("*.part"))


def test_the_result_is_the_same_on_any_number_of_cores(
    make: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("blueprint.training.data.prepare._BATCH", 200)
    monkeypatch.setattr(pool, "_START", 0.0)
    monkeypatch.setattr(pool, "_WAY", 0.0)
    said = ("unicode", LENGTH, "exact_duplicates", DROPOUT, CHUNK)
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(pool, "available", lambda cores=cores: cores)
        made = make(Source(texts()), *said, fingerprint=str(cores))
        found.append((list(made), made.tallies))
    assert found[0] == found[1]


def test_a_pool_gives_results_in_order_and_holds_few_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_START", 0.0)
    monkeypatch.setattr(pool, "_WAY", 0.0)
    taken: list[int] = []

    def inputs() -> Iterator[tuple[int]]:
        for number in range(60):
            taken.append(number)
            yield (number,)

    processes = set()
    # A function that cannot be pickled will do.
    for number, (result, process) in enumerate(pool.in_order(lambda n: (n**2, os.getpid()), inputs(), cores=2)):
        assert result == number**2
        assert len(taken) <= number + 7
        processes.add(process)
    assert len(processes) > 1


def test_little_work_and_quick_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) * 0.009)
    assert set(pool.in_order(lambda _: os.getpid(), iter([(0,)] * 50), cores=2)) == {os.getpid()}


def test_a_process_that_is_ended_from_outside_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_START", 0.0)
    monkeypatch.setattr(pool, "_WAY", 0.0)
    here = os.getpid()

    def fall(number: int) -> int:
        if os.getpid() != here and number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(DataError, match="ended from outside, for lack of memory perhaps; what is done is kept"):
        list(pool.in_order(fall, iter([(number,) for number in range(20)]), cores=2))


def test_a_library_with_threads_is_not_warned_of(tmp_path: Path) -> None:
    """The tokenizers library has threads once it has worked, and says so in every process that is forked then."""
    script = """
import os, sys, tokenizers
from blueprint.training.data import pool
made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, "?"))
made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
work = lambda text: (os.getpid(), [each.ids for each in made.encode_batch([text] * 9)])
pool._START = pool._WAY = 0.0
found = list(pool.in_order(work, iter([("a b a",)] * 9), cores=2))
assert len({process for process, _ in found}) > 1
assert all(ids == [[0, 1, 0]] * 9 for _, ids in found)
assert "TOKENIZERS_PARALLELISM" not in os.environ
"""
    env = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    command = [sys.executable, "-W", "error", "-c", script]
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_document_left_is_an_error_that_says_which_stage_took_them(make: Callable[..., Prepared]) -> None:
    with pytest.raises(DataError, match=r"made-up text: the stages leave no document:\n  length: 60 in, 0 out; 60"):
        make(Source(texts()), {"type": "length", "least": 9999})


def test_a_stage_that_cannot_work_is_named(make: Callable[..., Prepared]) -> None:
    with pytest.raises(DataError, match=r"stage `synonyms`: none\.tsv cannot be read"):
        make(Source(texts()), {"type": "synonyms", "path": "none.tsv"})


SPEC = """
model: {type: decoder, d_model: 16, layers: 1, max_length: 16, block: {attention: {heads: 2}}}
tokenizer: byte
data:
  source: {type: text, path: TEXT, document: line}
  validation: 0.3
  stages: STAGES
trainer: {max_steps: 2, accelerator: cpu}
sample: null
"""


def spec(folder: Path, *said: Any) -> bp.Spec:
    (folder / "text.txt").write_text("\n".join(texts(100)))
    return bp.loads(SPEC.replace("TEXT", str(folder / "text.txt")).replace("STAGES", json.dumps(list(said))))


def split(spec: bp.Spec, cache: Path) -> tuple[list[str], list[str], task.Text]:
    found = task.prepare(spec, cache=cache, progress=False)
    sides = []
    for side in (found.tokens.train, found.tokens.validation):
        sides.append([side.document_name(number) for number in range(side.documents)])
    return sides[0], sides[1], found


def stem(name: str) -> str:
    return name.partition(" (")[0]


def test_pieces_and_copies_stay_on_their_documents_side_and_copies_are_never_held_out(tmp_path: Path) -> None:
    train, held_out, _ = split(spec(tmp_path, DROPOUT, CHUNK), tmp_path / "cache")
    assert max(Counter(map(stem, train)).values()) > 4
    assert max(Counter(map(stem, held_out)).values()) > 2
    assert not set(map(stem, train)) & set(map(stem, held_out))
    assert any("word_dropout" in name for name in train)
    assert not any("word_dropout" in name for name in held_out)
    # Held out is what would be without copies.
    assert held_out == split(spec(tmp_path, CHUNK), tmp_path / "cache")[1]


def test_stages_that_change_nothing_change_no_split(tmp_path: Path) -> None:
    plain, same = (split(spec(tmp_path, *said), tmp_path / "cache")[:2] for said in ([], ["unicode"]))
    assert plain == same


def test_near_duplicates_lie_on_one_side(tmp_path: Path) -> None:
    drawn = random.Random(1)
    lines = []
    for family in range(40):
        words = drawn.choices([f"{word}{family}" for word in WORDS] + [*WORDS], k=150)
        lines += [" ".join(words) + f" {copy}" for copy in "xyz"]
    said = spec(tmp_path, {"type": "near_duplicates", "keep": "all"})
    apart = spec(tmp_path)
    (tmp_path / "text.txt").write_text("\n".join(lines))

    def families(names: list[str]) -> set[int]:
        return {(int(name.rpartition(":")[2]) - 1) // 3 for name in names}

    for each, leaks in ((said, False), (apart, True)):
        train, held_out, _ = split(each, tmp_path / "cache")
        assert len(train) + len(held_out) == 120
        assert bool(families(train) & families(held_out)) == leaks


@pytest.mark.parametrize("name", ["pairs", "labelled"])
def test_pairs_and_labels_keep_their_answers(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("".join(f"{text}\t{number % 2}\n" for number, text in enumerate(texts(30))))
    source = member("source", name)(path=str(tmp_path / "a.tsv"))
    given = spec(tmp_path)
    assert given.data is not None
    form = FORMS[source.gives](given, given.data)
    again = [(where, form.said(form.document(where, content))) for where, content in source.documents()]
    assert again == list(source.documents())
    assert form.document("x", ("a", "b")).texts == (("a", "b") if name == "pairs" else ("a",))


def test_the_run_keeps_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    bp.fit(spec(tmp_path, "unicode", LENGTH), tmp_path / "run", progress=False)
    counts = json.loads((tmp_path / "run" / "stages.json").read_text())
    assert [each["stage"] for each in counts] == ["unicode", "length"]
    assert counts[1]["taken"] == 100 == counts[1]["given"] + sum(counts[1]["why"].values())
    assert "| length | 100 |" in (tmp_path / "run" / "stages.md").read_text()


def test_a_stage_that_cannot_work_on_the_samples_is_refused() -> None:
    with pytest.raises(
        bp.SpecError,
        match="stage `chunk` works on labelled, multi_labelled, scored, text, and source `reversal` gives pairs",
    ):
        bp.loads("extends: blueprint:recipes/reverse.yaml\ndata: {stages: [chunk]}\n")
