"""Put documents through stages, once: streamed, keyed by content and settings, written aside and renamed when whole.

CACHE/prepared/KEY/documents.jsonl  a document a line: name, texts, label, group, whether it is only learned from
CACHE/prepared/KEY/index.json       the settings, and what each stage took, gave and left out; written last

Stages that look at each document alone run together, batch by batch, on all cores where there is much to do; the result
is the same. A stage that compares documents reads them from disk, where it can read them again. What was broken off
goes on after the last leg that is done: such a stage, or the run of others between two of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from blueprint import files
from blueprint.kinds import Document, Dropped, Stage
from blueprint.training.data.error import DataError
from blueprint.training.data.pool import in_order
from blueprint.training.data.progress import reporter
from blueprint.training.data.tally import Tally

FORMAT = 1

#: Characters of text that are worked on at once.
_BATCH = 1 << 20


class Prepared:
    """What stages made of documents: those documents, iterable again and again, and the tally of every stage."""

    def __init__(self, folder: Path) -> None:
        index = json.loads((folder / "index.json").read_bytes())
        if (folder / "documents.jsonl").stat().st_size != index["size"]:
            raise ValueError(f"{folder} is damaged")
        self.folder, self.key = folder, folder.name
        self.tallies = [Tally(**each) for each in index["stages"]]

    def __iter__(self) -> Iterator[Document]:
        return _read(self.folder / "documents.jsonl")


def prepare(
    documents: Callable[[], Iterator[Document]],
    stages: Sequence[Stage],
    *,
    fingerprint: str | None,
    source: str,
    seed: int,
    cache: Path,
    progress: bool | None = None,
) -> Prepared:
    """The documents as the stages leave them; made if the cache has none of this content, these settings and this seed.

    An equal `fingerprint` stands for equal documents; None: they are read once more, and hashed. `source` names the
    data in messages. Raises `DataError` where no document is left, a stage cannot work or the cache cannot be written.
    """
    made_of = [FORMAT, fingerprint or _hashed(documents()), seed, [_told(stage) for stage in stages]]
    key = hashlib.blake2b(json.dumps(made_of).encode(), digest_size=16).hexdigest()
    folder = cache / "prepared" / key
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return Prepared(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.lock(folder.with_suffix(".lock"), wait=True):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                return Prepared(folder)  # whoever held the lock may have made it
            _make(folder, documents, stages, source, seed, progress)
    except OSError as problem:
        if problem.filename is not None and not str(problem.filename).startswith(str(cache)):
            raise  # the source's own trouble, not the cache's
        raise DataError(f"cannot write to {cache} ({problem}); set BLUEPRINT_CACHE to another folder") from problem
    return Prepared(folder)


def _make(
    folder: Path,
    documents: Callable[[], Iterator[Document]],
    stages: Sequence[Stage],
    source: str,
    seed: int,
    progress: bool | None,
) -> None:
    aside = folder.with_suffix(".part")
    shutil.rmtree(folder, ignore_errors=True)
    aside.mkdir(exist_ok=True)
    legs = list(_legs(stages))
    done = max((number + 1 for number in range(len(legs)) if _leg(aside, number) is not None), default=0)
    try:
        for number in range(done, len(legs)):
            tallies = [Tally(stage.spec_name) for _, stage in legs[number]]
            given = documents if number == 0 else _Spool(aside / f"{number - 1}.jsonl").__iter__
            with reporter(progress) as report, report(", ".join(each.stage for each in tallies), None) as advance:
                compares = "compares" in legs[number][0][1].traits
                if compares and number == 0:
                    _write(aside / "source.jsonl", documents())
                    given = _Spool(aside / "source.jsonl").__iter__
                leg = _compared if compares else _alone
                size = _write(aside / f"{number}.jsonl", leg(_Read(given, advance), legs[number], tallies, seed))
            _whole(aside / f"{number}.json", tallies, size)
            for read in ("source.jsonl", f"{number - 1}.jsonl"):
                (aside / read).unlink(missing_ok=True)
            if not tallies[-1].given:
                break
            done = number + 1
        tallies = [tally for number in range(len(legs)) for tally in (_leg(aside, number) or ())]
        if not tallies[-1].given:
            done = 0
            lost = "".join(f"\n  {tally}" for tally in tallies)
            raise DataError(f"{source}: the stages leave no document:{lost}")
        last = aside / f"{len(legs) - 1}.jsonl"
        if last.exists():
            os.rename(last, aside / "documents.jsonl")
        _whole(aside / "index.json", tallies, (aside / "documents.jsonl").stat().st_size)
        os.rename(aside, folder)
        for number in range(len(legs)):
            (folder / f"{number}.json").unlink()
    finally:
        if not done:
            shutil.rmtree(aside, ignore_errors=True)
    files.sync_folder(folder.parent)


def _legs(stages: Sequence[Stage]) -> Iterator[list[tuple[int, Stage]]]:
    """The stages with their numbers: each that compares documents by itself, others that follow each other together."""
    for compares, group in itertools.groupby(enumerate(stages), lambda each: "compares" in each[1].traits):
        run = list(group)
        yield from ([each] for each in run) if compares else [run]


def _leg(aside: Path, number: int) -> list[Tally] | None:
    """The tallies of a leg that is done; None where it is not."""
    try:
        return [Tally(**each) for each in json.loads((aside / f"{number}.json").read_bytes())["stages"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _whole(path: Path, tallies: list[Tally], size: int) -> None:
    files.write_atomic(path, json.dumps({"stages": [tally.plain() for tally in tallies], "size": size}, indent=1))


class _Read(Iterable[Document]):
    """Documents that can be read again, each told to a progress bar the first time."""

    def __init__(self, documents: Callable[[], Iterator[Document]], advance: Callable[[int], None]) -> None:
        self.documents, self.advance, self.times = documents, advance, 0

    def __iter__(self) -> Iterator[Document]:
        self.times += 1
        first = self.times == 1
        for document in self.documents():
            if first:
                self.advance(sum(map(len, document.texts)))
            yield document


def _alone(
    documents: Iterable[Document], stages: list[tuple[int, Stage]], tallies: list[Tally], seed: int
) -> Iterator[Document]:
    """Documents after stages that look at each alone."""
    for given, counts in in_order(_walked, ((batch, stages, seed) for batch in _batches(documents))):
        for tally, count in zip(tallies, counts, strict=True):
            tally.add(count)
        yield from given


def _walked(batch: list[Document], stages: list[tuple[int, Stage]], seed: int) -> tuple[list[Document], list[Tally]]:
    """A batch of documents after the stages, and what each stage did to it."""
    counts = []
    for number, stage in stages:
        tally, given = Tally(stage.spec_name), list[Document]()
        for document in batch:
            # Pieces and copies stay with what they are made of, on its side of the split.
            whole = replace(document, group=document.group or _digest(document)) if stage.divides else document
            tally.take(document)
            try:
                made = list(stage.each(whole, f"{seed} {number} {document.name}"))
            except Dropped as why:
                tally.leave(str(why))
                continue
            if len(made) == 1 and made[0].texts == document.texts:
                made = [document]
            for each in made:
                tally.give(each, changed=each.texts != document.texts)
            given += made
        batch = given
        counts.append(tally)
    return batch, counts


def _compared(
    documents: Iterable[Document], stages: list[tuple[int, Stage]], tallies: list[Tally], _seed: int
) -> Iterator[Document]:
    """Documents after a stage that compares them."""
    ((_, stage),), (tally,) = stages, tallies
    for before, after in zip(documents, stage.over(documents), strict=True):
        tally.take(before)
        if isinstance(after, Dropped):
            tally.leave(str(after))
        else:
            tally.give(after, changed=after != before)
            yield after


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch, size = list[Document](), 0
    for document in documents:
        batch.append(document)
        size += sum(map(len, document.texts))
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Spool(Iterable[Document]):
    """Documents on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Document]:
        return _read(self.path)


def _write(path: Path, documents: Iterable[Document]) -> int:
    """Put documents on disk; the size of the file."""
    with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for each in documents:
            said = [each.name, each.texts, each.label, each.group, each.only_train]
            file.write(json.dumps(said, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path.stat().st_size


def _read(path: Path) -> Iterator[Document]:
    with open(path, encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for line in file:
            name, texts, label, group, only_train = json.loads(line)
            yield Document(name, tuple(texts), label, group, only_train)


def _digest(document: Document) -> str:
    """What decides the split of a document: a pair's source, a labelled text without its label."""
    return hashlib.blake2b(document.texts[0].encode(errors="replace"), digest_size=16).hexdigest()


def _hashed(documents: Iterator[Document]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for each in documents:
        digest.update(json.dumps([each.name, each.texts, each.label]).encode() + b"\n")
    return digest.hexdigest()


def _told(stage: Stage) -> str:
    try:
        return f"{stage.spec_name} {stage.fingerprint()}"
    except ValueError as error:
        raise DataError(f"stage `{stage.spec_name}`: {error}") from error
