"""What Debian says of its packages, as texts to learn from: an index that apt fetches for itself, some 20 MB.

    python docs/examples/descriptions.py descriptions

writes three files of JSON lines, `{"package": …, "section": …, "text": …}`:

    train.jsonl      every text of the training side, whatever its section
    labelled.jsonl   a few texts of the training side, drawn by lot from the sections that are to be told apart
    held_out.jsonl   the texts of the other side in those sections

A package goes to a side by a hash of the source it is built from, so that packages which share sentences share a side.
No text stands twice. The same index gives the same files.

On a machine with apt nothing else is needed, no rights either: its own lists are not touched. Elsewhere name two files
of a Debian mirror, of the folder `dists/bookworm/main` its `binary-amd64/Packages.xz` and `i18n/Translation-en.bz2`:

    python docs/examples/descriptions.py descriptions --packages Packages.xz --translation Translation-en.bz2
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import hashlib
import json
import lzma
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

#: What programs are for. Sections of programming languages are left out: their names stand in nearly every text.
SECTIONS = (
    *("admin", "database", "editors", "electronics", "fonts", "games", "graphics", "hamradio"),
    *("mail", "math", "net", "science", "sound", "text", "video", "web"),
)

#: One source of so many is held out.
SHARE = 10

Stanza = dict[str, str]


@dataclass(frozen=True)
class Entry:
    """A package with what is said of it: the synopsis, an empty line, then a paragraph a line."""

    package: str
    source: str
    section: str
    text: str

    @property
    def held_out(self) -> bool:
        """Whether its source is one of those held out."""
        return lot(f"side {self.source}") % SHARE == 0


def lot(word: str) -> int:
    """A number that follows from a word."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


def stanzas(index: str) -> Iterator[Stanza]:
    """The entries of an index: fields by their names, lines that go on below each other."""
    for block in index.split("\n\n"):
        found: Stanza = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                found[name] += "\n" + line[1:]
            elif line:
                name, _, value = line.partition(":")
                found[name] = value.strip()
        if found:
            yield found


def prose(description: str) -> str:
    """A description with every paragraph on one line; lists keep their lines (Debian Policy, §5.6.13)."""
    synopsis, *lines = description.split("\n")
    out = [synopsis, ""]
    fresh = True
    for line in lines:
        if line == ".":
            fresh = True
        elif fresh or line.startswith((" ", "\t", "*", "-")):
            out.append(line.strip())
            fresh = False
        else:
            out[-1] += " " + line.strip()
    return "\n".join(out).strip()


def entries(packages: str, translation: str) -> list[Entry]:
    """Every package with its text, in the order of the index, each text once."""
    long = "Description-en"
    said = {each["Description-md5"]: each[long] for each in stanzas(translation) if long in each}
    found: dict[str, Entry] = {}
    for each in stanzas(packages):
        if each.get("Description-md5") in said:
            source = each.get("Source", each["Package"]).split(" ")[0]
            section = each.get("Section", "").rpartition("/")[2]
            entry = Entry(each["Package"], source, section, prose(said[each["Description-md5"]]))
            found.setdefault(entry.text, entry)
    return list(found.values())


def sides(found: list[Entry], labels: int) -> dict[str, list[Entry]]:
    """The entries of the three files."""
    train = [each for each in found if not each.held_out]
    told = sorted((each for each in train if each.section in SECTIONS), key=lambda each: lot(f"label {each.package}"))
    return {
        "train": train,
        "labelled": told[:labels],
        "held_out": [each for each in found if each.held_out and each.section in SECTIONS],
    }


def fetched() -> tuple[str, str]:
    """Both indexes of the release that this machine installs from, by apt, into a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "lists" / "partial").mkdir(parents=True)
        places = {"State::Lists": f"{folder}/lists", "Cache": f"{folder}/cache"}
        options = [*(f"-oDir::{name}={path}" for name, path in places.items()), "-oAcquire::Languages=en"]
        # Whoever owns the folder reads and writes it, root too.
        subprocess.run(["apt-get", "update", "-qq", "-oAPT::Sandbox::User=root", *options], check=True)
        listing = subprocess.run(
            ["apt-get", "indextargets", *options, "--format", "$(CREATED_BY) $(CODENAME) $(FILENAME)"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        paths: dict[str, Path] = {}
        for line in listing.splitlines():
            kind, _, path = line.split(" ", 2)
            # The release is the largest; what was mended since stands beside it.
            if kind not in paths or Path(path).stat().st_size > paths[kind].stat().st_size:
                paths[kind] = Path(path)
        cat = ["/usr/lib/apt/apt-helper", "cat-file"]
        one, other = (
            subprocess.run([*cat, str(paths[kind])], check=True, capture_output=True).stdout.decode()
            for kind in ("Packages", "Translations")
        )
        return one, other


def opened(path: Path) -> str:
    """The text of an index, decompressed as its name says."""
    openers = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
    with openers.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
        text: str = file.read()
    return text


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, default=500, help="texts in labelled.jsonl")
    parser.add_argument("--packages", type=Path, help="an index of packages, where there is no apt")
    parser.add_argument("--translation", type=Path, help="the long descriptions of the same release")
    said = parser.parse_args()
    indexes = fetched() if said.packages is None else (opened(said.packages), opened(said.translation))
    said.folder.mkdir(parents=True, exist_ok=True)
    for name, found in sides(entries(*indexes), said.labels).items():
        lines = [
            json.dumps({key: value for key, value in asdict(each).items() if key != "source"}, ensure_ascii=False)
            for each in found
        ]
        path = said.folder / f"{name}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{path}: {len(found):,} texts, {sum(len(each.text) for each in found) / 1e6:.1f} million characters")


if __name__ == "__main__":
    main()
