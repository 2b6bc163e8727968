"""One name: what a spec says is what the file and the class are called."""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from pathlib import Path

import pytest

import blueprint_registry
from blueprint.registry import kinds, member

ROOT = Path(blueprint_registry.__file__).parent
FILES = sorted(
    path
    for path in ROOT.glob("*/*.py")
    if not path.stem.startswith("_") and not path.stem.endswith("_nn") and path.parent.name != "__pycache__"
)


def camel(name: str) -> str:
    joined = "".join(word.capitalize() for word in name.split("_"))
    return f"{joined}_" if keyword.iskeyword(joined) else joined


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_spec_name_file_name_and_class_agree(path: Path) -> None:
    cls = member(path.parent.name, path.stem)
    assert cls.spec_name == path.stem
    assert cls.__name__ == camel(path.stem)
    assert cls.kind == path.parent.name
    assert Path(sys.modules[cls.__module__].__file__ or "") == path


def test_every_folder_is_a_kind_and_says_what_it_is() -> None:
    for folder in sorted({path.parent for path in FILES}):
        assert folder.name in kinds()
        assert (folder / "__init__.py").read_text().startswith('"""')


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*_nn.py")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_head_of_a_tensor_half_explains_every_letter_of_its_shapes(path: Path) -> None:
    text = path.read_text()
    legend = text.split('"""')[1]
    letters = {
        letter for suffix in re.findall(r"[a-z]_([A-Z][A-Z0-9]*)\b", text) for letter in suffix if letter.isalpha()
    }
    unknown = {letter for letter in letters if not re.search(rf"\b{letter}\b", legend)}
    assert not unknown, f"the legend does not explain {sorted(unknown)}"


def test_speaking_every_name_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from blueprint.registry import kinds, members\n"
        "found = [m for kind in kinds() for m in members(kind)]\n"
        "assert len(found) > 30, found\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
