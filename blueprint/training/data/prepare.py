"""Put documents through stages, once: streamed, keyed by content and settings, written aside and renamed when whole.

CACHE/prepared/KEY/documents.jsonl  a document a line: name, texts, label, group, whether it is only learned from
CACHE/prepared/KEY/index.json       the settings, and what each stage took, gave and left out; written last

Stages that look at each document alone run together, batch by batch, on all cores where there is much to do; the result
is the same. Before a stage that compares documents, they are put on disk, so that it can read them again.
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
            with contextlib.suppress(
                OSError, ValueError, TypeError, KeyError
            ):  # whoever held the lock may have made it
                return Prepared(folder)
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
    for leftover in (aside, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    aside.mkdir()
    tallies = [Tally(stage.spec_name) for stage in stages]
    try:
        with reporter(progress) as report, report("preparing", None) as advance:
            found = _counted(documents(), advance)
            for compares, run in itertools.groupby(enumerate(stages), lambda each: "compares" in each[1].traits):
                numbered = list(run)
                if not compares:
                    found = _alone(found, numbered, tallies, seed)
                    continue
                for number, stage in numbered:
                    spool = aside / f"before_{number}.jsonl"
                    _write(spool, found)
                    found = _compared(_Spool(spool), stage, tallies[number])
            size = _write(aside / "documents.jsonl", found)
        if tallies and not tallies[-1].given:
            lost = "".join(f"\n  {tally}" for tally in tallies)
            raise DataError(f"{source}: the stages leave no document:{lost}")
        for spool in aside.glob("before_*"):
            spool.unlink()
        index = {"stages": [tally.plain() for tally in tallies], "size": size}
        files.write_atomic(aside / "index.json", json.dumps(index, indent=1))
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    files.sync_folder(folder.parent)


def _alone(
    documents: Iterator[Document], stages: list[tuple[int, Stage]], tallies: list[Tally], seed: int
) -> Iterator[Document]:
    """Documents after a run of stages that look at each alone."""
    for given, counts in in_order(_walked, ((batch, stages, seed) for batch in _batches(documents))):
        for (number, _), count in zip(stages, counts, strict=True):
            tallies[number].add(count)
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


def _compared(documents: _Spool, stage: Stage, tally: Tally) -> Iterator[Document]:
    """Documents after a stage that compares them."""
    for before, after in zip(documents, stage.over(documents), strict=True):
        tally.take(before)
        if isinstance(after, Dropped):
            tally.leave(str(after))
        else:
            tally.give(after, changed=after != before)
            yield after


def _counted(documents: Iterator[Document], advance: Callable[[int], None]) -> Iterator[Document]:
    for document in documents:
        advance(sum(map(len, document.texts)))
        yield document


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
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
    with open(path, "x", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
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
