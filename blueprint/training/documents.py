"""A source's documents on their way to token files, as they are read and as stages leave them. No Lightning here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from blueprint.kinds import DataSource, Document
from blueprint.training.data import DataError
from blueprint.training.data import prepare as stages
from blueprint.training.data.cache import cache_folder
from blueprint.training.data.encoder import Content
from blueprint.training.data.prepare import Prepared
from blueprint.training.error import TrainError
from blueprint.training.form import Form

#: Of a document its name, its content, its group, and whether it is only learned from.
Read = tuple[str, Content, str | None, bool]


class Documents:
    """A source's documents, iterable again and again; what the source finds wrong is the user's to mend."""

    def __init__(self, source: DataSource, content: Callable[[Any], Content] = lambda said: said) -> None:
        self.source, self.content = source, content

    def __iter__(self) -> Iterator[Read]:
        with self.named():
            for name, said in self.source.documents():
                yield name, self.content(said), self.group(name), False

    def group(self, name: str) -> str | None:
        """The hash of what a document is a part of, as far as the source says."""
        said = self.source.group(name)
        return None if said is None else hashlib.blake2b(said.encode(errors="replace"), digest_size=16).hexdigest()

    @contextmanager
    def named(self) -> Iterator[None]:
        """What goes wrong inside is told as the source's."""
        try:
            yield
        except (DataError, TrainError):
            raise
        except ValueError as error:
            raise DataError(f"data.source `{self.source.spec_name}`: {error}") from error


class Fingerprinted(Documents):
    """Documents whose source tells without reading them whether they are still the same."""

    def fingerprint(self) -> str | None:
        """The source's own fingerprint."""
        with self.named():
            found: str | None = self.source.fingerprint()  # type: ignore[attr-defined]
            return found


class Staged:
    """A source's documents after the stages of its data, with their groups; on disk once they were asked for."""

    def __init__(self, source: Documents, form: Form, cache: Path | None, progress: bool | None) -> None:
        self.source, self.form, self.cache, self.progress = source, form, cache, progress

    def __iter__(self) -> Iterator[Read]:
        for each in self.prepared:
            yield each.name, self.source.content(self.form.said(each)), each.group, each.only_train

    def fingerprint(self) -> str:
        """The key of what was prepared."""
        return self.prepared.key

    @cached_property
    def prepared(self) -> Prepared:
        """The documents as the stages leave them."""
        source = self.source.source
        stamp = self.source.fingerprint() if isinstance(self.source, Fingerprinted) else None
        return stages.prepare(
            self._documents,
            self.form.data.all_stages,
            fingerprint=None if stamp is None else f"{source.spec_name} {stamp}",
            source=f"data.source `{source.spec_name}`",
            seed=self.form.spec.seed,
            cache=self.cache or cache_folder(),
            progress=self.progress,
        )

    def _documents(self) -> Iterator[Document]:
        with self.source.named():
            for name, said in self.source.source.documents():
                if said:
                    yield replace(self.form.document(name, said), group=self.source.group(name))
