"""Put documents through stages, once: streamed, keyed by content and settings, written aside and renamed when whole.

CACHE/prepared/KEY/documents.jsonl  a document a line: name, texts, label, group, whether it is only learned from
CACHE/prepared/KEY/index.json       the settings, and what each stage took, gave and left out; written last

Stages that look at each document alone run together, batch by batch, on all cores where there is much to do; the result
is the same. Of a stage that compares documents, what it has to know of each is worked out so, too; it then reads them
from disk. What was broken off, by whatever, goes on where it was seconds before; a comparison itself begins anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from blueprint import files
from blueprint.kinds import Document, Dropped, Stage
from blueprint.training.data.cache import digest_of, intact, passing_over, summed, unsummed, writing
from blueprint.training.data.error import DataError
from blueprint.training.data.journal import Journal, opened
from blueprint.training.data.pool import in_order
from blueprint.training.data.progress import Report, reporter
from blueprint.training.data.spool import Spool, line
from blueprint.training.data.tally import Tally

FORMAT = 1

#: Characters of text that are worked on at once.
_BATCH = 1 << 20


class Prepared:
    """What stages made of documents: those documents, iterable again and again, and the tally of every stage."""

    def __init__(self, folder: Path) -> None:
        index = unsummed(json.loads((folder / "index.json").read_bytes()))
        path = folder / "documents.jsonl"
        if path.stat().st_size != index["size"] or not intact(path, index.get("digest")):
            raise ValueError(f"{path.name} is not what was written")
        self.folder, self.key = folder, folder.name
        self.tallies = [Tally(**each) for each in index["stages"]]

    def __iter__(self) -> Iterator[Document]:
        return iter(Spool(self.folder / "documents.jsonl"))


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
    with writing(cache):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.lock(folder.with_suffix(".lock"), wait=True):
            try:
                return Prepared(folder)  # whoever held the lock may have made it
            except (OSError, ValueError, TypeError, KeyError) as why:
                if folder.exists():
                    passing_over(folder, why)
            _make(folder, documents, stages, source, seed, progress)
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
            with reporter(progress) as report:
                if any("compares" in stage.traits for _, stage in legs[number]):
                    _compared(aside, number, legs[number][0][1], tallies[0], report)
                else:
                    given = documents if number == 0 else Spool(aside / f"{number - 1}.jsonl").__iter__
                    function, name = partial(_walked, legs[number], seed), _named(tallies) or "reading"
                    tallies = _through(aside / f"{number}.jsonl", given, function, tallies, report, name)
            _whole(aside / f"{number}.json", tallies, (aside / f"{number}.jsonl").stat().st_size)
            for read in (f"{number}.journal", f"{number}.sketches", f"{number - 1}.jsonl"):
                (aside / read).unlink(missing_ok=True)
            if tallies and not tallies[-1].given:
                break
            done = number + 1
        tallies = [tally for number in range(len(legs)) for tally in (_leg(aside, number) or ())]
        if not tallies[-1].given:
            shutil.rmtree(aside, ignore_errors=True)
            lost = "".join(f"\n  {tally}" for tally in tallies)
            raise DataError(f"{source}: the stages leave no document:{lost}")
        last = aside / f"{len(legs) - 1}.jsonl"
        if last.exists():
            os.rename(last, aside / "documents.jsonl")
        whole = aside / "documents.jsonl"
        _whole(aside / "index.json", tallies, whole.stat().st_size, digest_of(whole))
        os.rename(aside, folder)
        for path in folder.iterdir():
            if path.name not in ("documents.jsonl", "index.json"):
                path.unlink()
    finally:
        if not done and not (aside / "0.journal").exists():  # nothing to go on from
            shutil.rmtree(aside, ignore_errors=True)
    files.sync_folder(folder.parent)


def _legs(stages: Sequence[Stage]) -> Iterator[list[tuple[int, Stage]]]:
    """The stages with their numbers: each that compares documents by itself, others that follow each other together.

    A comparison reads from disk; the first leg then has no stage and puts the source there.
    """
    for compares, group in itertools.groupby(enumerate(stages), lambda each: "compares" in each[1].traits):
        run = list(group)
        if compares and run[0][0] == 0:
            yield []
        yield from ([each] for each in run) if compares else [run]


def _leg(aside: Path, number: int) -> list[Tally] | None:
    """The tallies of a leg that is done; None where it is not."""
    try:
        return [Tally(**each) for each in json.loads((aside / f"{number}.json").read_bytes())["stages"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _whole(path: Path, tallies: list[Tally], size: int, digest: str | None = None) -> None:
    said = {"stages": [tally.plain() for tally in tallies], "size": size, "digest": digest}
    files.write_atomic(path, json.dumps(summed(said), indent=1))


def _named(tallies: Iterable[Tally]) -> str:
    return ", ".join(each.stage for each in tallies)


def _through(
    path: Path,
    documents: Callable[[], Iterator[Document]],
    function: Callable[[list[Document]], tuple[bytes, list[Tally]]],
    tallies: list[Tally],
    report: Callable[..., Report],
    title: str,
) -> list[Tally]:
    """Write what a function gives for batches of documents, from where that was broken off; returns all its counts."""
    journal = Journal(path.with_suffix(".journal"))
    read, file = 0, None
    said = journal.read()
    if said is not None:
        with contextlib.suppress(OSError, KeyError, TypeError):
            file = opened(path, said["size"])
            read, tallies = said["read"], [Tally(**each) for each in said["stages"]]
    given: deque[int] = deque()
    with file or open(path, "wb") as file, report(title, None) as advance:

        def inputs() -> Iterator[tuple[list[Document]]]:
            for batch in _batches(itertools.islice(documents(), read, None)):
                given.append(len(batch))
                advance(sum(len(text) for document in batch for text in document.texts))
                yield (batch,)

        for data, counts in in_order(function, inputs()):
            file.write(data)
            read += given.popleft()
            for tally, count in zip(tallies, counts, strict=True):
                tally.add(count)
            if journal.due:
                said = {"read": read, "size": file.tell(), "stages": [each.plain() for each in tallies]}
                journal.write(said, [file])
        _synced(file)
    return tallies


def _synced(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _walked(stages: list[tuple[int, Stage]], seed: int, batch: list[Document]) -> tuple[bytes, list[Tally]]:
    """A batch of documents after stages that look at each alone, as lines; and what each stage did to it."""
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
    return b"".join(map(line, batch)), counts


def _compared(aside: Path, number: int, stage: Stage, tally: Tally, report: Callable[..., Report]) -> None:
    """Write documents after a stage that compares them."""
    path, documents = aside / f"{number}.sketches", Spool(aside / f"{number - 1}.jsonl")
    _through(path, documents.__iter__, partial(_sketched, stage), [], report, stage.spec_name)
    with open(path, "rb") as sketches, open(aside / f"{number}.jsonl", "wb") as file:
        found = stage.over(documents, iter(partial(sketches.read, stage.sketch_size), b""))
        for before, after in zip(documents, found, strict=True):
            tally.take(before)
            if isinstance(after, Dropped):
                tally.leave(str(after))
            else:
                tally.give(after, changed=after != before)
                file.write(line(after))
        _synced(file)


def _sketched(stage: Stage, batch: list[Document]) -> tuple[bytes, list[Tally]]:
    return b"".join(map(stage.sketch, batch)), []


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


def _digest(document: Document) -> str:
    """What decides the split of a document: a pair's source, a labelled text without its label."""
    return hashlib.blake2b(document.texts[0].encode(errors="replace"), digest_size=16).hexdigest()


def _hashed(documents: Iterator[Document]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for each in documents:
        digest.update(json.dumps([each.name, each.texts, each.label, each.group]).encode() + b"\n")
    return digest.hexdigest()


def _told(stage: Stage) -> str:
    try:
        return f"{stage.spec_name} {stage.fingerprint()}"
    except ValueError as error:
        raise DataError(f"stage `{stage.spec_name}`: {error}") from error
