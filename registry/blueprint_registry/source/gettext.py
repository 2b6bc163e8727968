"""Sentence pairs from the catalogues of translated programs."""

import re
import struct
from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from blueprint.component import register
from blueprint_registry.source._files import found
from blueprint_registry.source._formats import Malformed
from blueprint_registry.source._opened import library
from blueprint_registry.source._rows import Tolerant

#: Where in its catalogue a message is, as its name ends.
_PLACE = re.compile(r"[#:]\d+( \(plural\))?$")


@register("gettext")
class Gettext(Tolerant):
    """A message and its translation each, out of gettext's catalogues: `.po`, and `.mo` as programs carry them
    (https://www.gnu.org/software/gettext/manual/). Needs the extra `gettext`."""

    gives: ClassVar[str] = "pairs"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    fuzzy: bool = False
    """Whether translations of a `.po` file count that are marked fuzzy: guesses that nobody has looked at."""

    hold_out: Literal["catalogues", "messages"] = "catalogues"
    """What is held out as a whole. Messages of one program are much alike, so that single ones would be told from their
    neighbours. Files `…/LC_MESSAGES/PROGRAM.mo` of several languages are one catalogue, others each their own."""

    bad_rows: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of malformed catalogues, each counting as a pair, that are passed over with a warning; with more, the data
    is refused."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """What is installed in German; sources of catalogues."""
        return [{"path": "/usr/share/locale/de/LC_MESSAGES/*.mo"}, {"path": "po/de.po", "fuzzy": True}]

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Every good message; raises ValueError also for one catalogue alone, of which none could be held out."""
        catalogues = {_catalogue(name) for name, _, _ in found(self.path)}
        if self.hold_out == "catalogues" and len(catalogues) == 1:
            raise ValueError(
                f"{self.path} is one catalogue only, so none can be held out: name more, or say `hold_out: messages`"
            )
        yield from super().documents()

    def group(self, name: str) -> str | None:
        """The catalogue that a message is in."""
        if self.hold_out == "messages":
            return None
        return _catalogue(_PLACE.sub("", name))

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


def _catalogue(file: str) -> str:
    """The program whose catalogue a file is, where its folder tells that it is named so; else the file."""
    path = PurePath(file)
    return path.stem if path.parent.name == "LC_MESSAGES" else file
