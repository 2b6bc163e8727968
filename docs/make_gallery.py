"""Writes `specs/README.md` from the specs themselves: each with what it says of itself and its parameters."""

from __future__ import annotations

import re
from pathlib import Path

import blueprint as bp
from blueprint.interop.family import families, read_family
from blueprint.tree import plain

SPECS = Path(__file__).resolve().parents[1] / "specs"
#: What an editor reads, not a person.
EDITORS = "# yaml-language-server:"


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Specs that ship",
            "",
            "Each is a whole model in one file: read it, change it, or build on it with `extends: blueprint:PATH`, the",
            "path as below. Parameters are counted on what is built from the file; this page is written by",
            "`docs/make_gallery.py`.",
            "",
            "## To train",
            "",
            "| spec | what it is | parameters |",
            "|---|---|--:|",
            *(trained(path) for path in (SPECS / "quickstart.yaml", *sorted((SPECS / "recipes").glob("*.yaml")))),
            "",
            "## Published models",
            "",
            "The comment in each says where its sizes come from, and why a count is not the paper's where it is not.",
            "",
            "| spec | model | parameters | paper |",
            "|---|---|--:|---|",
            *(published(path) for path in sorted((SPECS / "papers").glob("*.yaml"))),
            "",
            "## Families",
            "",
            "Hugging Face checkpoints of these come in by `blueprint import` and go out by `blueprint export`;",
            "[Families](../docs/families.md) shows how to add one.",
            "",
            "| family | `model_type` | what it is |",
            "|---|---|---|",
            *(family(path) for path in families().values()),
            "",
        ]
    )


def trained(path: Path) -> str:
    """A row for a spec that describes itself, or whose comment begins with a sentence that does."""
    what = bp.load(path).description or re.split(r"(?<=\.)\s", comment(path))[0]
    return row(link(path), what.rstrip("."), f"{parameters(path):,}")


def published(path: Path) -> str:
    """A row for a spec whose comment reads `MODEL: N parameters… AUTHORS, YEAR, "TITLE", …`."""
    said = re.match(r'(.+?): [\d,]+ parameters.*?\. (.+?, \d{4}, "[^"]+")', comment(path))
    if said is None:
        raise ValueError(f'{path}: the comment is not `MODEL: N parameters. AUTHORS, YEAR, "TITLE", …`')
    return row(link(path), said[1], f"{parameters(path):,}", said[2])


def family(path: Path) -> str:
    """A row for a family."""
    said = read_family(path)
    types = plain(said.match).get("model_type", [])
    known = ", ".join(f"`{each}`" for each in (types if isinstance(types, list) else [types]))
    return row(link(path), known, said.description)


def comment(path: Path) -> str:
    """What a spec says of itself above its first key, as one line."""
    lines = path.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("# ") for line in lines[:first] if not line.startswith(EDITORS))


def parameters(path: Path) -> int:
    """How many parameters are built from a spec, shared ones counted once."""
    return sum(p.numel() for p in bp.build(bp.load(path), device="meta").parameters())


def link(path: Path) -> str:
    """A spec's place under `specs/`, as a link from there."""
    place = path.relative_to(SPECS).as_posix()
    return f"[`{place}`]({place})"


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    (SPECS / "README.md").write_text(page())
