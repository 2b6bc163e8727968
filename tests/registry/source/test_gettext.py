"""Sentence pairs from catalogues, plain and compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polib
import pytest

import blueprint as bp
from blueprint.training.task import prepare
from blueprint_registry.source.gettext import Gettext
from blueprint_registry.source.mixture import Mixture

CATALOGUE = r"""
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\n"

msgid "Open"
msgstr "Öffnen"

msgctxt "button"
msgid "Close\n"
msgstr "Schließen\n"

msgid "Later"
msgstr ""

#, fuzzy
msgid "Guess"
msgstr "Geraten"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] "%d Dateien"

#~ msgid "Gone"
#~ msgstr "Weg"
"""

PAIRS = [("Open", "Öffnen"), ("Close\n", "Schließen\n"), ("%d file", "%d Datei"), ("%d files", "%d Dateien")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "de.po").write_text(CATALOGUE, encoding="utf-8")
    return tmp_path


def test_a_translated_message_is_a_pair_named_by_its_line(folder: Path) -> None:
    found = list(Gettext(path="de.po", hold_out="messages").documents())
    assert [pair for _, pair in found] == PAIRS
    assert [where for where, _ in found] == ["de.po:5", "de.po:8", "de.po:19", "de.po:19 (plural)"]


def test_a_compiled_catalogue_gives_the_same_pairs(folder: Path) -> None:
    polib.pofile("de.po").save_as_mofile("de.mo")
    assert sorted(pair for _, pair in Gettext(path="de.mo", hold_out="messages").documents()) == sorted(PAIRS)


def test_fuzzy_translations_count_where_asked_for(folder: Path) -> None:
    found = [pair for _, pair in Gettext(path="de.po", fuzzy=True, hold_out="messages").documents()]
    assert set(found) - set(PAIRS) == {("Guess", "Geraten")}


@pytest.mark.parametrize(("name", "data"), [("x.mo", b"\0\1\2"), ("x.po", b'msgid "a"\nmsgwhat "b"\n'), ("x.mo", b"")])
def test_a_damaged_catalogue_is_named_and_counted(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"1 of 5 rows is malformed.*\n  {name}: it is no catalogue"):
        list(Gettext(path=["de.po", name]).documents())
    with pytest.warns(UserWarning, match=name):
        assert len(list(Gettext(path=["de.po", name], bad_rows=0.2).documents())) == 4


def programs(folder: Path, count: int = 12) -> None:
    """Catalogues of two languages, with messages of their own and some that others have, too."""
    for language in ("de", "fr"):
        inside = folder / "locale" / language / "LC_MESSAGES"
        inside.mkdir(parents=True)
        for program in range(count):
            catalogue = polib.POFile()
            for number in range(10):
                own = f"message {number} of program {program}" if number > 3 else f"_Common {number}"
                catalogue.append(polib.POEntry(msgid=own, msgstr=f"{language} {own}"))
            catalogue.save_as_mofile(str(inside / f"p{program}.mo"))


def test_a_catalogue_is_a_group_and_those_of_one_program_in_two_languages_are_one(folder: Path) -> None:
    programs(folder)
    source = Gettext(path="locale/*/LC_MESSAGES/*.mo")
    groups = {where: source.group(where) for where, _ in source.documents()}
    assert len(groups) == 240
    assert set(groups.values()) == {f"p{number}" for number in range(12)}
    assert all(f"/{group}.mo#" in where for where, group in groups.items())
    assert Gettext(path=["de.po", "locale"]).group("de.po:19 (plural)") == "de.po"
    assert {Gettext(path="locale", hold_out="messages").group(where) for where in groups} == {None}


def test_a_catalogue_in_a_mixture_is_the_same_group_in_every_round(folder: Path) -> None:
    programs(folder, 3)
    sources: Any = {name: Gettext(path=f"locale/{name}/LC_MESSAGES/*.mo") for name in ("de", "fr")}
    mixture = Mixture(sources=sources, epochs={"de": 2, "fr": 1})
    names = [where for where, _ in mixture.documents()]
    assert any(where.endswith("(round 2)") for where in names)
    assert {mixture.group(where) for where in names} == {"p0", "p1", "p2"}


def test_of_one_catalogue_alone_none_can_be_held_out(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"de\.po is one catalogue only, .* or say `hold_out: messages`"):
        list(Gettext(path="de.po").documents())


SPEC = """
model: {type: encoder_decoder, d_model: 16, layers: 1, max_length: 40, block: {attention: {heads: 2}}}
tokenizer: byte
data:
  source: {type: gettext, path: locale/de/LC_MESSAGES/*.mo}
  stages: STAGES
  validation: 0.2
"""


@pytest.mark.parametrize("stages", ["null", "[unicode]", "{type: exact_duplicates, compare: input, ignore: signs}"])
def test_whole_programs_are_held_out_and_once_duplicates_are_gone_nothing_of_theirs_is_learned(
    folder: Path, stages: str
) -> None:
    programs(folder)
    text = prepare(bp.loads(SPEC.replace("STAGES", stages)), cache=folder / "cache", progress=False)
    splits = (text.tokens.train, text.tokens.validation)
    names = [{split.document_name(number) for number in range(split.documents)} for split in splits]
    learned, held_out = ({where.partition("#")[0] for where in each} for each in names)
    assert learned
    assert held_out
    assert not learned & held_out, "a program lies on both sides"
    assert len(learned | held_out) == 12
    read = dict(text.spec.data.source.documents())  # type: ignore[union-attr]
    both = {read[where][0] for where in names[0]} & {read[where][0] for where in names[1]}
    assert bool(both) == ("duplicates" not in stages)
