"""Every block of the README and the documentation does what it shows.

A fence's words, or its title, say what it is: `yaml NAME` is written to that file, and every YAML that has a model must
load (with `wrong`, must not), or, with `family`, be read as one; `bash` runs line by line (`fails`: must exit with 1);
the `text` after it must be what it printed; `python` runs, under its name if it has one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import blueprint as bp
from blueprint.interop.family import read_family
from blueprint.interop.rules import read_rules
from tests.conftest import ROOT, plugins_forgotten

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Commands that make an environment: the slow test runs them in a fresh clone.
NEWCOMER = ("make", "pip")


@dataclass(frozen=True)
class Block:
    language: str
    words: tuple[str, ...]
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [Block(lang, tuple(re.sub(r'title="([^"]*)"', r"\1", words).split()), text) for lang, words, text in found]


def run(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One command as a newcomer types it, on a screen of 120 columns."""
    bin_folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(shlex.split(line), cwd=cwd, env=env, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_block_does_what_it_shows(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    printed = ""
    for block in blocks(page):
        if block.language == "yaml":
            name = next((word for word in block.words if word.endswith(".yaml")), "block.yaml")
            path = tmp_path / name
            path.write_text(block.text)
            if "family" in block.words:
                read_rules(read_family(path))
            elif any(word.startswith("wrong") for word in block.words):
                with pytest.raises(bp.SpecError) as caught:
                    bp.load(path)
                printed = str(caught.value)
            else:
                with plugins_forgotten():
                    bp.load(path, allow_plugins=block.text.startswith("plugins:"))
        elif block.language == "bash":
            printed = ""
            for line in block.text.strip().splitlines():
                if shlex.split(line)[0] in NEWCOMER:
                    continue
                done = run(line, tmp_path)
                assert done.returncode == (1 if "fails" in block.words else 0), f"{line}\n{done.stdout}{done.stderr}"
                printed += done.stdout + done.stderr
        elif block.language == "python":
            name = next((word for word in block.words if word.endswith(".py")), "block.py")
            (tmp_path / name).write_text(block.text)
            done = run(f"{sys.executable} {name}", tmp_path)
            assert done.returncode == 0, done.stderr
            printed = done.stdout
        elif block.language == "text":
            assert _same(block.text) in _same(printed), f"expected\n{block.text}\nprinted\n{printed}"


def _same(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def test_the_component_shown_is_the_example() -> None:
    (shown,) = (block for block in blocks(ROOT / "docs" / "extending.md") if "docs/examples/average.py" in block.words)
    assert shown.text == (ROOT / "docs" / "examples" / "average.py").read_text()


def _listed(nav: Any) -> Iterator[str]:
    """The pages of a menu and of the menus in it."""
    if isinstance(nav, str):
        yield nav
    else:
        for inner in nav.values() if isinstance(nav, dict) else nav:
            yield from _listed(inner)


def test_the_site_has_every_page_and_its_fences_are_ones_it_understands() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(_listed(nav)) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:])
    for page in PAGES[1:]:
        # Other words after the language make the fence plain text there.
        assert not re.findall(r'^```\w+ (?!title="[^"]+"$).*', page.read_text(), re.M), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target and target != "reference.md":
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_two_commands_work_in_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    for line in ("make demo", "make demo"):
        done = subprocess.run(shlex.split(line), cwd=clone, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (clone / "runs" / "quickstart" / "loss.png").stat().st_size > 10_000


def test_the_reference_is_the_registrys() -> None:
    made = run(f"{sys.executable} -c 'import make_reference; print(make_reference.page(), end=\"\")'", ROOT / "docs")
    assert made.stdout == (ROOT / "docs" / "reference.md").read_text(), "run `python docs/make_reference.py`"


def test_the_gallery_is_the_specs() -> None:
    made = run(f"{sys.executable} -c 'import make_gallery; print(make_gallery.page(), end=\"\")'", ROOT / "docs")
    folder = ROOT / "specs"
    assert made.stdout == (folder / "README.md").read_text(), f"run `python docs/make_gallery.py`\n{made.stderr}"
    specs = {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml") if not path.name.startswith("_")}
    assert set(re.findall(r"\]\(([^.][^)]+)\)", made.stdout)) == specs
