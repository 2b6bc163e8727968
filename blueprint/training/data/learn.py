"""Learn from the training documents what has to be known before they become ids, once: kept in the cache as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from blueprint import files
from blueprint.training.data.build import _ChangedError, _dealt, _note, _survey, _writing, cache_folder
from blueprint.training.data.encoder import Content, Encoder
from blueprint.training.data.error import DataError
from blueprint.training.data.progress import reporter
from blueprint.training.data.store import SPLITS

FORMAT = 1


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
    """The file whose text `train` learns from the texts of the training split, and of nothing that is held out.

    It is learned if the cache has none of these documents, this split, and the encoder's fingerprint, which tells all
    that decides what `train` does. Arguments else as for `build`; `what` names what is learned in messages. Raises
    `DataError` for data that cannot be split or learned from, or a cache that cannot be written.
    """
    cache = cache_folder() if cache is None else Path(cache)
    with reporter(progress) as report:
        note = _note(documents, seed, cache)
        survey = _survey(documents, encoder, source, seed, cache, note, report)
        settings = {
            "format": FORMAT,
            "content": survey.content,
            "what": encoder.fingerprint,
            "validation": validation,
            "seed": seed,
        }
        key = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()
        path = cache / "tokenizers" / f"{key}.json"
        if path.is_file():
            return path
        with _writing(cache), files.lock(path.with_suffix(".lock"), wait=True):
            if path.is_file():  # whoever held the lock has learned it
                return path

            def texts() -> Iterator[str]:
                with report(f"training the {what}", survey.bytes) as advance:
                    for split, _, data in _dealt(documents, encoder, survey, validation, seed, source):
                        if split == SPLITS[0]:
                            yield from encoder.texts(data)
                        advance(len(data))

            try:
                text = train(_Again(texts))
            except _ChangedError:
                if note is not None:  # its fingerprint did not tell
                    note.unlink(missing_ok=True)
                raise
            except DataError:
                raise
            except ValueError as error:
                raise DataError(f"{what}, trained on {source}: {error}") from error
            files.write_atomic(path, text)
    return path


class _Again:
    """What a function gives, as often as it is asked for."""

    def __init__(self, make: Callable[[], Iterator[str]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[str]:
        return self.make()
