"""Sentence pairs from the catalogues of translated programs."""

import struct
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import register
from blueprint_registry.source._files import found
from blueprint_registry.source._formats import Malformed
from blueprint_registry.source._opened import library
from blueprint_registry.source._rows import Tolerant


@register("gettext")
class Gettext(Tolerant):
    """A message and its translation each, out of gettext's catalogues: `.po`, and `.mo` as programs carry them
    (https://www.gnu.org/software/gettext/manual/). Needs the extra `gettext`."""

    gives: ClassVar[str] = "pairs"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    fuzzy: bool = False
    """Whether translations of a `.po` file count that are marked fuzzy: guesses that nobody has looked at."""

    bad_rows: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of malformed catalogues, each counting as a pair, that are passed over with a warning; with more, the data
    is refused."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """What is installed in German; sources of catalogues."""
        return [{"path": "/usr/share/locale/de/LC_MESSAGES/*.mo"}, {"path": "po/de.po", "fuzzy": True}]

    def found(self) -> Iterator[tuple[str, Any]]:
        """Every translated message as (file:line, or file#number, (message, translation)), file by file.

        Of a message with plurals the singular and the last plural each make a pair. Without translation, none is made.
        """
        polib = library("polib", "gettext's catalogues are read", "gettext")
        for name, path, _ in found(self.path):
            compiled = path.suffix.lower() in (".mo", ".gmo")
            try:
                catalogue = (polib.mofile if compiled else polib.pofile)(str(path))
            except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
                yield name, Malformed(f"it is no catalogue: {error}")
                continue
            for number, entry in enumerate(catalogue, 1):
                if entry.obsolete or ("fuzzy" in entry.flags and not self.fuzzy):
                    continue
                where = f"{name}#{number}" if compiled else f"{name}:{entry.linenum}"
                plural = [entry.msgstr_plural[each] for each in sorted(entry.msgstr_plural)]
                told = entry.msgstr or (plural[0] if plural else "")
                if entry.msgid and told:
                    yield where, (entry.msgid, told)
                if entry.msgid_plural and len(plural) > 1 and plural[-1]:
                    yield f"{where} (plural)", (entry.msgid_plural, plural[-1])
