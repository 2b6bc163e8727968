"""The first pass over a source's documents: what they are, by hashes, and the split that each goes to by its lot."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blueprint import files
from blueprint.training.data.cache import summed, unsummed, writing
from blueprint.training.data.encoder import Encoder
from blueprint.training.data.error import DataError
from blueprint.training.data.progress import Report
from blueprint.training.data.store import FORMAT, SPLITS

_SCALE = 1 << 64


class ChangedError(DataError):
    """The second pass met other documents than the first."""


class StaleError(DataError):
    """What a pass was to go on from is of other documents."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first pass learns: the documents' hash, how many hold text, and the extremes of their lots."""

    content: str
    documents: int
    bytes: int
    lowest: int
    highest: int


def noted(documents: Iterable[Any], seed: int, cache: Path) -> Path | None:
    """Where the survey of a source with a fingerprint is kept."""
    fingerprint = getattr(documents, "fingerprint", lambda: None)()
    if fingerprint is None:
        return None
    name = hashlib.blake2b(f"{FORMAT} {seed} {fingerprint}".encode(), digest_size=16).hexdigest()
    return cache / "contents" / f"{name}.json"


def survey(
    documents: Iterable[Any],
    encoder: Encoder,
    source: str,
    seed: int,
    cache: Path,
    note: Path | None,
    report: Callable[..., Report],
) -> Survey:
    """The first pass, or what it found last time for the same fingerprint and seed. Raises `DataError` for documents of
    which none can be held out."""
    if note is not None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Survey(**unsummed(json.loads(note.read_bytes())))
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
    found = Survey(content.hexdigest(), count, size, lowest, highest)
    if note is not None:
        with writing(cache):
            files.write_atomic(note, json.dumps(summed(asdict(found))))
    return found


class Dealt:
    """A further pass: (split, name, content) of every document; at its end, whether they are those of the survey.

    `read` tells how many documents it has met, `content` hashes them. A pass that was broken off goes on behind the
    first `start` documents, whose hash was `digest`. Raises `ChangedError`, and `StaleError` where those are others.
    """

    def __init__(
        self,
        documents: Iterable[Any],
        encoder: Encoder,
        found: Survey,
        validation: float,
        seed: int,
        source: str,
        *,
        start: int = 0,
        digest: str = "",
    ) -> None:
        self.documents, self.encoder, self.survey = documents, encoder, found
        self.validation, self.seed, self.source = validation, seed, source
        self.start, self.digest = start, digest
        self.read, self.content = 0, hashlib.blake2b(digest_size=16)

    def __iter__(self) -> Iterator[tuple[str, str, bytes]]:
        threshold = min(max(int(self.validation * _SCALE), self.survey.lowest + 1), self.survey.highest)
        train, held_out = SPLITS
        for name, data, group, only_train in _texts(self.documents, self.source):
            digest = _digest(data)
            self.content.update(_entry(name, digest, group, only_train))
            self.read += 1
            if self.read <= self.start:
                if self.read == self.start and self.content.hexdigest() != self.digest:
                    raise StaleError(f"{self.source} is not what it was")
            elif self.survey.documents > 1:
                lot = _lot_of(self.encoder, data, digest, group, self.seed)
                if lot >= threshold or not only_train:
                    yield held_out if lot < threshold else train, name, data
            else:
                at = _cut(data, 1 - self.validation, self.source)
                yield train, name, data[:at]
                yield held_out, f"{name} (its end)", data[at:]
        if self.content.hexdigest() != self.survey.content:
            raise ChangedError(f"{self.source} changed while it was being read; try again when nothing writes to it")


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
