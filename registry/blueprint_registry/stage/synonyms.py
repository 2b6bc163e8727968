"""Copies with other words for some."""

import hashlib
import random
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from blueprint.component import FilePath, register
from blueprint_registry.stage._copies import Copies

#: A word with the signs before and after it.
_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


@register("synonyms")
class Synonyms(Copies):
    """Adds copies in which some of the words of a table are others that mean the same, drawn by lot (Zhang et al.,
    2015, §2.4; Wei & Zou, 2019, §2). Copies are learned from, never measured on."""

    path: FilePath
    """A UTF-8 file of lines: a word, and with tabs between them what may stand for it; relative to the file of the spec
    that says it, in an override to the working directory."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Two copies."""
        return [{"path": "synonyms.tsv", "share": 0.2, "copies": 2}]

    def changed(self, parts: list[str], drawn: random.Random) -> str:
        """A word's capital and the signs around it stay."""
        return "".join(self._other(part, drawn) if part and not part.isspace() else part for part in parts)

    def _other(self, word: str, drawn: random.Random) -> str:
        match = _CORE.match(word)
        assert match is not None
        before, core, after = match.groups()
        others = self._table.get(core.casefold())
        if others is None or drawn.random() >= self.share:
            return word
        other = drawn.choice(others)
        return before + (other[:1].upper() + other[1:] if core[:1].isupper() else other) + after

    def fingerprint(self) -> str:
        """The settings, and the table as it is now."""
        digest = hashlib.blake2b(repr(sorted(self._table.items())).encode(errors="replace"), digest_size=16)
        return f"{super().fingerprint()} {digest.hexdigest()}"

    @cached_property
    def _table(self) -> dict[str, list[str]]:
        """Other words by word; raises ValueError, naming the line, for a file that is no such table."""
        path, table = Path(self.path).expanduser(), dict[str, list[str]]()
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            word, *others = (each.strip() for each in line.split("\t"))
            if not word or not others or not all(others):
                raise ValueError(f"{self.path}:{number} is no word with others after it, with tabs between them")
            table.setdefault(word.casefold(), []).extend(others)
        return table
