"""One name: what a spec says is what the file and the class are called."""

from __future__ import annotations

import keyword
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


def test_what_a_tensor_half_says_first_are_its_shapes() -> None:
    for path in ROOT.glob("*/*_nn.py"):
        head = path.read_text().split('"""')[1]
        assert "any shape" in head or "batch" in head or "every other axis" in head, f"{path} explains no shape suffix"


def test_speaking_every_name_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from blueprint.registry import kinds, members\n"
        "found = [m for kind in kinds() for m in members(kind)]\n"
        "assert len(found) > 30, found\n"
        "assert not {'torch', 'lightning'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
