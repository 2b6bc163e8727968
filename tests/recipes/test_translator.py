"""The translator writes what programs that it never saw say, in the other language, far better than by copying."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import polib
import pytest

import blueprint as bp
from tests.conftest import ROOT

RECIPE = ROOT / "specs" / "recipes" / "translator.yaml"
#: Where docs/examples/get_catalogues.py puts them, as the recipe names it.
FETCHED = ROOT / "catalogues" / "de" / "LC_MESSAGES"

VERBS = {
    "Open": "öffnen", "Close": "schließen", "Save": "speichern", "Delete": "löschen", "Print": "drucken",
    "Copy": "kopieren", "Move": "verschieben", "Rename": "umbenennen", "Show": "anzeigen", "Hide": "verbergen",
    "Import": "importieren", "Export": "exportieren", "Choose": "wählen", "Edit": "bearbeiten",
}  # fmt: skip
NOUNS = {
    "file": "Datei die", "folder": "Ordner den", "window": "Fenster das", "image": "Bild das", "page": "Seite die",
    "layer": "Ebene die", "account": "Konto das", "message": "Nachricht die", "contact": "Kontakt den",
    "printer": "Drucker den", "font": "Schrift die", "colour": "Farbe die", "table": "Tabelle die", "tab": "Reiter den",
    "bookmark": "Lesezeichen das", "playlist": "Wiedergabeliste die", "track": "Spur die", "calendar": "Kalender den",
}  # fmt: skip


def messages() -> list[tuple[str, str]]:
    """Commands in both languages, in which the verb stands at other ends and articles go by the noun."""
    found = []
    for (verb, tun), (noun, said) in itertools.product(VERBS.items(), NOUNS.items()):
        name, article = said.split()
        found += [
            (f"{verb} the {noun}", f"{article.capitalize()} {name} {tun}"),
            (f"Could not {verb.lower()} the {noun} “%s”", f"{article.capitalize()} {name} „%s“ konnte man nicht {tun}"),
        ]
    return found


def catalogues(folder: Path, programs: int, of_each: int) -> Path:
    """Programs that say some of these each, many of them alike."""
    inside, drawn, every = folder / "de" / "LC_MESSAGES", random.Random(0), messages()
    inside.mkdir(parents=True)
    for number in range(programs):
        catalogue = polib.POFile()
        for english, german in drawn.sample(every, of_each):
            catalogue.append(polib.POEntry(msgid=english, msgstr=german))
        catalogue.save_as_mofile(str(inside / f"program{number}.mo"))
    return inside


def recipe(inside: Path, *overrides: str) -> bp.Spec:
    return bp.load(RECIPE, overrides=[f"data.source.path={inside}/*.mo", "trainer.accelerator=cpu", *overrides])


def test_the_recipe_trains_on_programs_and_is_scored_on_others(tmp_path: Path) -> None:
    small = ("model.d_model=32", "model.layers=1", "tokenizer.vocab_size=320", "data.batch_size=8", "sample=null")
    spec = recipe(
        catalogues(tmp_path, 10, 40),
        *small,
        *("trainer.max_steps=3", "schedule=constant", "trainer.val_check_interval=null"),
        *("writing.documents=6", "writing.beams=2", "data.validation=0.2"),
    )
    run = bp.fit(spec, tmp_path / "run", progress=False, cache=tmp_path / "cache")
    stages = {each["stage"]: each for each in json.loads((run.folder / "stages.json").read_text())}
    taken, given = (stages["exact_duplicates"][count] for count in ("taken", "given"))
    assert given < taken, "programs say the same: nothing of what is held out may be learned"
    scores = run.summary["writing"]["scores"]
    assert scores.keys() == {"bleu", "chrf"}
    assert scores["chrf"]["copied"] > 0
    assert len((run.folder / "written.jsonl").read_text().splitlines()) == run.summary["writing"]["documents"] == 6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_held_out_programs_are_translated_far_better_than_by_copying(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On Debian's catalogues where they were fetched, on made-up ones elsewhere."""
    fetched = FETCHED.is_dir()
    inside = FETCHED if fetched else catalogues(tmp_path, 30, 60)
    small = (
        ("trainer.max_steps=1500",)
        if fetched
        else (
            "model.d_model=64",
            "model.layers=2",
            "tokenizer.vocab_size=400",
            "trainer.max_steps=400",
            "data.bucket=4",
        )
    )
    spec = recipe(inside, *small, "writing.documents=300", "trainer.val_check_interval=null", "sample=null")
    run = bp.fit(spec, tmp_path / "run", progress=False, cache=tmp_path / "cache")
    scores = run.summary["writing"]["scores"]
    with capsys.disabled():
        said = ", ".join(
            f"{each['title']} {each['written']:.1f} ({each['copied']:.1f} copied)" for each in scores.values()
        )
        print(f"\n{'fetched' if fetched else 'made-up'} catalogues: {said}")
    assert scores["bleu"]["written"] > scores["bleu"]["copied"] + 5
    assert scores["chrf"]["written"] > scores["chrf"]["copied"] + 10
