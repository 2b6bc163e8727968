"""Sentence pairs from catalogues, plain and compiled."""

from __future__ import annotations

from pathlib import Path

import polib
import pytest

from blueprint_registry.source.gettext import Gettext

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
    found = list(Gettext(path="de.po").documents())
    assert [pair for _, pair in found] == PAIRS
    assert [where for where, _ in found] == ["de.po:5", "de.po:8", "de.po:19", "de.po:19 (plural)"]


def test_a_compiled_catalogue_gives_the_same_pairs(folder: Path) -> None:
    polib.pofile("de.po").save_as_mofile("de.mo")
    assert sorted(pair for _, pair in Gettext(path="de.mo").documents()) == sorted(PAIRS)


def test_fuzzy_translations_count_where_asked_for(folder: Path) -> None:
    found = [pair for _, pair in Gettext(path="de.po", fuzzy=True).documents()]
    assert set(found) - set(PAIRS) == {("Guess", "Geraten")}


@pytest.mark.parametrize(("name", "data"), [("x.mo", b"\0\1\2"), ("x.po", b'msgid "a"\nmsgwhat "b"\n'), ("x.mo", b"")])
def test_a_damaged_catalogue_is_named_and_counted(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"1 of 5 rows is malformed.*\n  {name}: it is no catalogue"):
        list(Gettext(path=["de.po", name]).documents())
    with pytest.warns(UserWarning, match=name):
        assert len(list(Gettext(path=["de.po", name], bad_rows=0.2).documents())) == 4
