"""What the script makes of an index of packages."""

from __future__ import annotations

import bz2
import json
import lzma
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.recipes.examples import example

SCRIPT = ROOT / "docs" / "examples" / "descriptions.py"


def index(count: int) -> tuple[str, str]:
    """Packages, two of each source, with a text each, and their long descriptions."""
    packages = translation = ""
    for number in range(count):
        section = ("games", "net", "contrib/libs")[number % 3]
        packages += (
            f"Package: p{number}\nSource: s{number // 2} (1.0)\nSection: {section}\nDescription-md5: {number:x}\n\n"
        )
        translation += (
            f"Package: p{number}\nDescription-md5: {number:x}\nDescription-en: synopsis {number}\n first\n line\n .\n"
            f" second: paragraph {number}\n  * an item\n\n"
        )
    return packages, translation


def test_paragraphs_are_lines_and_lists_stay_lists() -> None:
    module = example("descriptions")
    (entry, *_) = module.entries(*index(4))
    assert entry.text == "synopsis 0\n\nfirst line\nsecond: paragraph 0\n* an item"
    assert (entry.source, entry.section) == ("s0", "games")


def test_no_source_is_on_both_sides(tmp_path: Path) -> None:
    packages, translation = index(400)
    (tmp_path / "Packages.xz").write_bytes(lzma.compress(packages.encode()))
    (tmp_path / "Translation-en.bz2").write_bytes(bz2.compress(translation.encode()))
    files = ["--packages", tmp_path / "Packages.xz", "--translation", tmp_path / "Translation-en.bz2"]
    subprocess.run([sys.executable, SCRIPT, tmp_path / "out", "--labels", "20", *files], check=True)
    said = {
        name: [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "labelled", "held_out")
    }
    sources = {name: {int(each["package"][1:]) // 2 for each in rows} for name, rows in said.items()}
    assert not sources["train"] & sources["held_out"]
    assert sources["labelled"] <= sources["train"]
    assert len(said["labelled"]) == 20
    assert 0 < len(said["held_out"]) < 100
    assert {each["section"] for each in said["labelled"]} == {each["section"] for each in said["held_out"]}
    assert {each["section"] for each in said["train"]} > {each["section"] for each in said["labelled"]}
