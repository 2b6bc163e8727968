"""Build the token files of a source, once: streamed, keyed by content, written aside and renamed when whole.

Two passes over the documents. The first hashes them: that gives the key, and the split of every document. The second
turns them into ids, batch by batch on all cores. A source that has a `fingerprint()` spares the first pass once its
content has been seen; a second pass that was broken off, by whatever, goes on where it was seconds before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint import files
from blueprint.training.data.cache import cache_folder, passing_over, summed, writing
from blueprint.training.data.encoder import Content, Encoder, Tokenizer, Whole
from blueprint.training.data.error import DataError
from blueprint.training.data.journal import Journal
from blueprint.training.data.pool import in_order
from blueprint.training.data.progress import Report, reporter
from blueprint.training.data.store import FORMAT, SPLITS, Tokens, id_type
from blueprint.training.data.survey import ChangedError, Dealt, StaleError, Survey, noted, survey
from blueprint.training.data.writer import Writer

#: Bytes of text that are turned into ids at once.
_BATCH = 1 << 18


def build(
    documents: Iterable[tuple[str, Content] | tuple[str, Content, str | None, bool]],
    tokenizer: Tokenizer | Encoder,
    *,
    source: str,
    validation: float = 0.05,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool | None = None,
) -> Tokens:
    """The token files of `documents`, (name, content) pairs; built if the cache has none of this content and settings.

    A document may have two more parts: its group (a hash in hexadecimal, or None), and whether it is only learned from.
    A group goes to one split whatever its documents hold, and what is only learned from is never held out.
    `documents` is read more than once, in the same order each time; where it has a method `fingerprint() -> str`, an
    equal fingerprint stands for equal documents. A document goes to the validation split by a lot drawn from what the
    encoder says decides it (a text: all of it) and `seed`, so that equal ones never lie in both; at least one document
    goes to each. Of a single document, the end is held out. A tokenizer alone encodes plain texts. `source` names the
    data in messages. Progress shows on a terminal, unless `progress` says.
    Raises `DataError` for data that cannot be split or read, or a cache that cannot be written.
    """
    if not 0 < validation < 1:
        raise DataError(f"{source}: validation must lie between 0 and 1 (a share of the documents), not {validation}")
    if isinstance(documents, Iterator):
        raise DataError(f"{source}: the documents are read twice, so a generator will not do; give a list or a class")
    cache = cache_folder() if cache is None else Path(cache)
    encoder = tokenizer if isinstance(tokenizer, Encoder) else Whole(tokenizer)
    with reporter(progress) as report:
        note = noted(documents, seed, cache)
        found = survey(documents, encoder, source, seed, cache, note, report)
        settings = {
            "format": FORMAT,
            "content": found.content,
            "tokenizer": encoder.fingerprint,
            "vocab_size": encoder.vocab_size,
            "eos_id": encoder.eos_id,
            "validation": validation,
            "seed": seed,
        }
        key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()
        folder = cache / "tokens" / key
        with contextlib.suppress(DataError):
            return _there(folder, source)
        with writing(cache), files.lock(folder.with_suffix(".lock"), wait=True):
            try:
                return _there(folder, source)  # whoever held the lock may have built it
            except DataError as why:
                if folder.exists():
                    passing_over(folder, why)
            shutil.rmtree(folder, ignore_errors=True)
            aside = folder.with_suffix(".part")
            deal = partial(Dealt, documents, encoder, found, validation, seed, source)
            try:
                splits = _written(aside, deal, encoder, found, report)
                index = settings | {"key": key, "dtype": id_type(encoder.vocab_size).name, "splits": splits}
                files.write_atomic(aside / "index.json", json.dumps(summed(index), indent=1))
                _journal(aside).remove()
                os.rename(aside, folder)
            except ChangedError:
                shutil.rmtree(aside, ignore_errors=True)
                if note is not None:  # its fingerprint did not tell
                    note.unlink(missing_ok=True)
                raise
            finally:
                if _journal(aside).read() is None:  # nothing to go on from
                    shutil.rmtree(aside, ignore_errors=True)
            files.sync_folder(folder.parent)
    return Tokens(folder, source)


def _there(folder: Path, source: str) -> Tokens:
    found = Tokens(folder, source)
    found.check()
    return found


def _journal(aside: Path) -> Journal:
    return Journal(aside / "journal.json")


def _written(
    aside: Path, deal: Callable[..., Dealt], encoder: Encoder, found: Survey, report: Callable[..., Report]
) -> dict[str, dict[str, Any]]:
    """The second pass, from where it was broken off, if it was; returns the counts of every split."""
    said = _journal(aside).read()
    if said is not None:
        # What lies there may be of another time: then all begins anew.
        with contextlib.suppress(StaleError, OSError, KeyError, TypeError):
            dealt = deal(start=said["read"], digest=said["content"])
            before = {name: said["splits"][name] for name in SPLITS}
            return _write(aside, dealt, encoder, found, report, before)
    shutil.rmtree(aside, ignore_errors=True)
    return _write(aside, deal(), encoder, found, report, {})


def _write(
    folder: Path,
    dealt: Dealt,
    encoder: Encoder,
    found: Survey,
    report: Callable[..., Report],
    before: dict[str, dict[str, int]],
) -> dict[str, dict[str, Any]]:
    """Every split's files, gone on with after what they held `before`; returns their counts."""
    dtype, journal = id_type(encoder.vocab_size), _journal(folder)
    with contextlib.ExitStack() as stack, report("tokenizing", found.bytes) as advance:
        writers = {name: stack.enter_context(Writer(folder / name, dtype, before.get(name))) for name in SPLITS}
        advance(sum(writer.bytes for writer in writers.values()))
        given: deque[_Batch] = deque()

        def inputs() -> Iterator[tuple[list[str], list[bytes]]]:
            for batch in _batches(dealt):
                given.append(batch)
                yield batch.names, batch.data

        for ids, ends in in_order(partial(_encoded, encoder), inputs()):
            batch, start = given.popleft(), 0
            for split, name, data, end in zip(batch.splits, batch.names, batch.data, ends.tolist(), strict=True):
                writers[split].add(name, ids[start:end], len(data))
                start = end
                advance(len(data))
            # A lone document lies in both splits, and half of it is not read.
            if journal.due and found.documents > 1:
                splits = {name: writer.place() for name, writer in writers.items()}
                said = {"read": batch.read, "content": batch.content, "splits": splits}
                journal.write(said, (file for writer in writers.values() for file in writer.files))
    return {name: writer.counts() for name, writer in writers.items()}


@dataclass
class _Batch:
    """Documents that are turned into ids together; `read` and `content` tell how far the pass is behind them."""

    splits: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    read: int = 0
    content: str = ""


def _batches(dealt: Dealt) -> Iterator[_Batch]:
    batch, size = _Batch(), 0
    for split, name, data in dealt:
        batch.splits.append(split)
        batch.names.append(name)
        batch.data.append(data)
        size += len(data)
        if size >= _BATCH:
            batch.read, batch.content = dealt.read, dealt.content.hexdigest()
            yield batch
            batch, size = _Batch(), 0
    if batch.data:
        batch.read, batch.content = dealt.read, dealt.content.hexdigest()
        yield batch


def _encoded(encoder: Encoder, names: Sequence[str], data: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The ids of documents end to end, each with its end token, and where each of them ends."""
    size, end = encoder.vocab_size, encoder.eos_id
    found = encoder.ids(data)
    for name, ids in zip(names, found, strict=True):
        if len(ids) and not (ids.min() >= 0 and ids.max() < size):
            raise DataError(f"{name}: the tokenizer gave an id outside 0 to {size - 1:,}, its vocabulary")
    last = np.array([] if end is None else [end], dtype=np.int64)
    if last.size and not 0 <= last[0] < size:
        raise DataError(f"{names[0]}: the tokenizer gave an id outside 0 to {size - 1:,}, its vocabulary")
    ids = np.concatenate([part for each in found for part in (each, last)])
    return ids.astype(id_type(size)), np.cumsum([len(each) + len(last) for each in found])
