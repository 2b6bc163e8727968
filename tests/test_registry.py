"""A plugin is loaded whole or not at all, and what ships may be built upon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from blueprint.component import MEMBERS
from blueprint.registry import PluginError, load_plugin, member

HALF = """
from blueprint import register
from blueprint.kinds import Norm

@register("test_registry_half")
class Half(Norm):
    \"\"\"Mine.\"\"\"

{last}
"""

#: In a process of its own, where nothing that ships has been imported yet.
SUBCLASS = """
import blueprint as bp
from pathlib import Path
Path("mine.py").write_text('''
from blueprint import register
from blueprint_registry.attention.multi_head import MultiHead

@register("mine")
class Mine(MultiHead):
    \"\"\"Mine.\"\"\"
''')
attention = {"type": "mine", "heads": 2}
said = {"type": "decoder", "d_model": 8, "layers": 1, "vocab_size": 9, "block": {"attention": attention}}
for kind in ("mine", "multi_head"):
    attention["type"] = kind
    print(bp.load({"plugins": ["./mine.py"], "model": said}, allow_plugins=True).model.block.attention.spec_name)
"""


def test_a_plugin_may_build_on_what_ships(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SUBCLASS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["mine", "multi_head"], done.stderr


def test_a_plugin_that_fails_says_where_leaves_nothing_behind_and_can_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "half.py"
    path.write_text(HALF.format(last="1 / 0"))
    with pytest.raises(PluginError, match="at line 9: ZeroDivisionError"):
        load_plugin("./half.py", tmp_path)
    assert ("norm", "test_registry_half") not in MEMBERS
    path.write_text("\n\n" + HALF.format(last=""))
    assert [cls.spec_name for cls in load_plugin("./half.py", tmp_path)] == ["test_registry_half"]


def test_a_module_that_was_imported_before_is_a_plugin_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "test_registry_early.py").write_text(HALF.format(last="").replace("half", "early"))
    __import__("test_registry_early")
    assert load_plugin("test_registry_early") == [member("norm", "test_registry_early")]
