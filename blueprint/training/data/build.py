"""Build the token files of a source, once: streamed, keyed by content, written aside and renamed when whole.

Two passes over the documents. The first hashes them: that gives the key, and the split of every document. The second
turns them into ids. A source that has a `fingerprint()` spares the first pass once its content has been seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blueprint import files
from blueprint.training.data.encoder import Content, Encoder, Tokenizer, Whole
from blueprint.training.data.error import DataError
from blueprint.training.data.progress import Report, reporter
from blueprint.training.data.store import FORMAT, SPLITS, Tokens, id_type
from blueprint.training.data.writer import Writer

_SCALE = 1 << 64


class _ChangedError(DataError):
    """The second pass met other documents than the first."""


@dataclass(frozen=True, slots=True)
class _Survey:
    """What the first pass learns: the documents' hash, how many hold text, and the extremes of their lots."""

    content: str
    documents: int
    bytes: int
    lowest: int
    highest: int


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
        note = _note(documents, seed, cache)
        survey = _survey(documents, encoder, source, seed, cache, note, report)
        settings = {
            "format": FORMAT,
            "content": survey.content,
            "tokenizer": encoder.fingerprint,
            "vocab_size": encoder.vocab_size,
            "eos_id": encoder.eos_id,
            "validation": validation,
            "seed": seed,
        }
        key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()
        folder = cache / "tokens" / key
        with contextlib.suppress(DataError):
            return Tokens(folder, source)
        with _writing(cache), files.lock(folder.with_suffix(".lock"), wait=True):
            with contextlib.suppress(DataError):  # whoever held the lock may have built it
                return Tokens(folder, source)
            aside = folder.with_suffix(".part")
            for leftover in (aside, folder):
                shutil.rmtree(leftover, ignore_errors=True)
            try:
                dealt = _dealt(documents, encoder, survey, validation, seed, source)
                splits = _write(aside, dealt, encoder, survey, report)
                index = settings | {"key": key, "dtype": id_type(encoder.vocab_size).name, "splits": splits}
                files.write_atomic(aside / "index.json", json.dumps(index, indent=1))
                os.rename(aside, folder)
            except _ChangedError:
                if note is not None:  # its fingerprint did not tell
                    note.unlink(missing_ok=True)
                raise
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            files.sync_folder(folder.parent)
    return Tokens(folder, source)


def cache_folder() -> Path:
    """`$BLUEPRINT_CACHE`, or else `~/.cache/blueprint`."""
    return Path(os.environ.get("BLUEPRINT_CACHE") or Path.home() / ".cache" / "blueprint")


def _note(documents: Iterable[Any], seed: int, cache: Path) -> Path | None:
    """Where the survey of a source with a fingerprint is kept."""
    fingerprint = getattr(documents, "fingerprint", lambda: None)()
    if fingerprint is None:
        return None
    name = hashlib.blake2b(f"{FORMAT} {seed} {fingerprint}".encode(), digest_size=16).hexdigest()
    return cache / "contents" / f"{name}.json"


def _survey(
    documents: Iterable[Any],
    encoder: Encoder,
    source: str,
    seed: int,
    cache: Path,
    note: Path | None,
    report: Callable[..., Report],
) -> _Survey:
    """The first pass, or what it found last time for the same fingerprint and seed."""
    if note is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return _Survey(**json.loads(note.read_bytes()))
    content = hashlib.blake2b(digest_size=16)
    count, size, lowest, highest = 0, 0, _SCALE, -1
    with report("reading", None) as advance:
        for name, data, group, only_train in _texts(documents, source):
            digest = _digest(data)
            content.update(_entry(name, digest, group, only_train))
            lot = _lot_of(encoder, data, digest, group, seed)
            count, size, lowest, highest = count + 1, size + len(data), min(lowest, lot), max(highest, lot)
            advance(len(data))
    if count == 0:
        raise DataError(f"{source} holds no text: every document is empty, or there is none; check its path")
    if lowest == highest and (count > 1 or not encoder.divisible):
        same = f"{count} documents, all with the same text or pieces of one"
        said = same if encoder.divisible else "one and the same input only"
        raise DataError(
            f"{source} holds {said}, so none can be held out for validation; give at least 2 different ones"
        )
    survey = _Survey(content.hexdigest(), count, size, lowest, highest)
    if note is not None:
        with _writing(cache):
            files.write_atomic(note, json.dumps(asdict(survey)))
    return survey


def _dealt(
    documents: Iterable[Any],
    encoder: Encoder,
    survey: _Survey,
    validation: float,
    seed: int,
    source: str,
) -> Iterator[tuple[str, str, bytes]]:
    """(split, name, content) of every document; at the end, make sure that they were those the survey saw."""
    threshold = min(max(int(validation * _SCALE), survey.lowest + 1), survey.highest)
    content = hashlib.blake2b(digest_size=16)
    train, held_out = SPLITS
    for name, data, group, only_train in _texts(documents, source):
        digest = _digest(data)
        content.update(_entry(name, digest, group, only_train))
        if survey.documents > 1:
            lot = _lot_of(encoder, data, digest, group, seed)
            if lot >= threshold or not only_train:
                yield held_out if lot < threshold else train, name, data
        else:
            at = _cut(data, 1 - validation, source)
            yield train, name, data[:at]
            yield held_out, f"{name} (its end)", data[at:]
    if content.hexdigest() != survey.content:
        raise _ChangedError(f"{source} changed while it was being read; try again when nothing writes to it")


def _write(
    folder: Path,
    dealt: Iterator[tuple[str, str, bytes]],
    encoder: Encoder,
    survey: _Survey,
    report: Callable[..., Report],
) -> dict[str, dict[str, Any]]:
    """The second pass: every split's files; returns their counts."""
    dtype, size = id_type(encoder.vocab_size), encoder.vocab_size
    end = np.array([] if encoder.eos_id is None else [encoder.eos_id], dtype=np.int64)
    with contextlib.ExitStack() as stack, report("tokenizing", survey.bytes) as advance:
        writers = {name: stack.enter_context(Writer(folder / name, dtype)) for name in SPLITS}
        for split, name, data in dealt:
            ids = np.concatenate([np.asarray(encoder.ids(data)), end])
            if ids.size and not (ids.min() >= 0 and ids.max() < size):
                raise DataError(f"{name}: the tokenizer gave an id outside 0 to {size - 1:,}, its vocabulary")
            writers[split].add(name, ids.astype(dtype), len(data))
            advance(len(data))
    return {name: writer.counts() for name, writer in writers.items()}


def _texts(documents: Iterable[Any], source: str) -> Iterator[tuple[str, bytes, str | None, bool]]:
    """(name, bytes, group, whether it is only learned from) of every document that is not empty; a text as UTF-8."""
    for name, text, *more in documents:
        group, only_train = more or (None, False)
        try:
            data = text if isinstance(text, bytes) else text.encode()
        except UnicodeEncodeError as problem:
            raise DataError(
                f"{source}, {name}: character {problem.start:,} is half of a surrogate pair, not a character; "
                f"read the file with its true encoding"
            ) from None
        if data:
            yield name, data, group, only_train


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _entry(name: str, digest: bytes, group: str | None, only_train: bool) -> bytes:
    said = name.encode(errors="replace")
    dealt = b"" if group is None and not only_train else json.dumps([group, only_train]).encode()
    return len(said).to_bytes(8, "little") + said + digest + dealt


def _lot_of(encoder: Encoder, data: bytes, digest: bytes, group: str | None, seed: int) -> int:
    """The lot of a document, whose own digest is known already, or of its group."""
    if group is not None:
        return _lot(bytes.fromhex(group), seed)
    part = encoder.dealt_by(data)
    return _lot(digest if part is data else _digest(part), seed)


def _lot(digest: bytes, seed: int) -> int:
    """A number below 2^64, uniform over texts, the same wherever the text stands."""
    return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=f"split {seed}".encode()).digest(), "little")


def _cut(data: bytes, share: float, source: str) -> int:
    """Where to cut a lone document: after a line near `share` of it, or else between two characters."""
    at = int(len(data) * share)
    line = data.rfind(b"\n", max(0, at - 4096), at) + 1
    if line > 0:
        return line
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:  # inside a UTF-8 character
        at -= 1
    if not 0 < at < len(data):
        raise DataError(
            f"{source} holds 1 document of {len(data)} bytes, too short to hold a part out for validation; give more"
        )
    return at


@contextlib.contextmanager
def _writing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.filename is not None and not str(problem.filename).startswith(str(cache)):
            raise  # the source's own trouble, not the cache's
        raise DataError(
            f"cannot write token files to {cache} ({problem}); set BLUEPRINT_CACHE to another folder"
        ) from problem
