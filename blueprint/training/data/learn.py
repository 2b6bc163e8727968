"""Learn from the training documents what has to be known before they become ids, once: kept in the cache as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from blueprint import files
from blueprint.training.data.cache import cache_folder, intact, passing_over, writing
from blueprint.training.data.encoder import Content, Encoder
from blueprint.training.data.error import DataError
from blueprint.training.data.progress import reporter
from blueprint.training.data.store import SPLITS
from blueprint.training.data.survey import ChangedError, Dealt, noted, survey

FORMAT = 1

#: Bytes of text that are learned from; of more, documents are drawn by lot.
_MOST = 1 << 28
#: Characters of a document that are learned from at once: the tokenizers library takes hundreds of texts in one hand.
_LONGEST = 1 << 20
_SCALE = 1 << 64


def learn(
    documents: Iterable[tuple[str, Content] | tuple[str, Content, str | None, bool]],
    encoder: Encoder,
    train: Callable[[Iterable[str]], str],
    *,
    what: str,
    source: str,
    validation: float,
    seed: int,
    cache: Path | None = None,
    progress: bool | None = None,
) -> Path:
    """The file whose text `train` learns from the texts of the training split, and of nothing that is held out; of more
    than a quarter of a gigabyte, from as much, drawn by a lot of each document.

    It is learned if the cache has none of these documents, this split, and the encoder's fingerprint, which tells all
    that decides what `train` does. Arguments else as for `build`; `what` names what is learned in messages. Raises
    `DataError` for data that cannot be split or learned from, or a cache that cannot be written.
    """
    cache = cache_folder() if cache is None else Path(cache)
    with reporter(progress) as report:
        note = noted(documents, seed, cache)
        found = survey(documents, encoder, source, seed, cache, note, report)
        settings = {
            "format": FORMAT,
            "content": found.content,
            "what": encoder.fingerprint,
            "validation": validation,
            "seed": seed,
        } | ({"of": _MOST} if found.bytes > _MOST else {})
        key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()
        path = cache / "tokenizers" / f"{key}.json"
        digest = path.with_suffix(".sha256")
        if _there(path, digest):
            return path
        with writing(cache), files.lock(path.with_suffix(".lock"), wait=True):
            if _there(path, digest):  # whoever held the lock has learned it
                return path
            if path.exists():
                passing_over(path, "it does not match its checksum")
                path.unlink()
            files.sweep(path.parent, f"{key}.*")

            def texts() -> Iterator[str]:
                with report(f"training the {what}", found.bytes) as advance:
                    for split, _, data in Dealt(documents, encoder, found, validation, seed, source):
                        if split == SPLITS[0] and _drawn(data, _MOST / found.bytes, seed):
                            yield from (piece for text in encoder.texts(data) for piece in _pieces(text))
                        advance(len(data))

            try:
                text = train(_Again(texts))
            except ChangedError:
                if note is not None:  # its fingerprint did not tell
                    note.unlink(missing_ok=True)
                raise
            except DataError:
                raise
            except ValueError as error:
                raise DataError(f"{what}, trained on {source}: {error}") from error
            files.write_atomic(digest, hashlib.sha256(text.encode()).hexdigest())
            files.write_atomic(path, text)
    return path


def _there(path: Path, digest: Path) -> bool:
    return path.is_file() and intact(path, digest.read_text() if digest.is_file() else None)


def _drawn(data: bytes, share: float, seed: int) -> bool:
    """Whether a document is among a share of all."""
    if share >= 1:
        return True
    lot = hashlib.blake2b(data, digest_size=8, key=f"learn {seed}".encode()).digest()
    return int.from_bytes(lot, "little") < share * _SCALE


def _pieces(text: str) -> Iterator[str]:
    """A text, or pieces of a very long one, cut after lines where there are any."""
    at = 0
    while len(text) - at > _LONGEST:
        end = text.rfind("\n", at, at + _LONGEST) + 1 or at + _LONGEST
        yield text[at:end]
        at = end
    yield text[at:] if at else text


class _Again:
    """What a function gives, as often as it is asked for."""

    def __init__(self, make: Callable[[], Iterator[str]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[str]:
        return self.make()
