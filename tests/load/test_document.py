"""From a file, a string or a dict to one tree: extends, plugins, overrides and `${…}` in their order."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.component import MEMBERS
from blueprint.diagnosis import Problem, SpecError
from blueprint.load.document import Document, document
from blueprint.load.extends import shipped
from blueprint.schema.shape import Shape
from blueprint.schema.spec import Spec
from blueprint.tree import find, plain

ROOT = Shape("section", Spec, cls=Spec)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def files(**texts: str) -> Path:
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path / "mine.yaml"

    return files


def loaded(path: Path, **options: Any) -> Document:
    return document(path, root_shape=ROOT, **options)


def refused(spec: Any, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        document(spec, root_shape=ROOT, **options)
    assert str(caught.value)
    return caught.value.problems


def test_files_are_laid_over_what_they_extend_from_left_to_right(write: Write) -> None:
    path = write(
        mine="extends: [parts/one.yaml, two.yaml]\nname: mine\n",
        parts__one="extends: ../root.yaml\nname: one\nmodel: {layers: 1}\n",
        two="model: {layers: 2}\n",
        root="name: root\nmodel: {d_model: 8, layers: 9}\nseed: 3\n",
    )
    read = loaded(path)
    assert plain(read.root) == {"name": "mine", "model": {"d_model": 8, "layers": 2}, "seed": 3}
    assert {file.resolve().stem for file in read.files} == {"mine", "one", "two", "root"}


def test_what_is_inherited_says_from_where_and_who_asked(write: Write) -> None:
    path = write(mine="name: mine\nextends: base.yaml\n", base="model:\n  layers: 2\n")
    leaf, entry, _ = find(loaded(path).root, ("model", "layers"))
    assert entry is not None
    assert leaf.span.line == 2
    assert Path(leaf.span.source.name).name == "base.yaml"
    for notes in (leaf.notes, entry.notes):
        assert len(notes) == 1
        assert "base.yaml, which" in notes[0]
        assert "mine.yaml:2:10 extends" in notes[0]


def test_a_spec_that_ships_can_be_extended_by_name(write: Write) -> None:
    name = next(each for each in sorted(shipped().rglob("*.yaml")) if "blueprint: 1" in each.read_text())
    asked = "blueprint:" + name.relative_to(shipped()).as_posix()
    path = write(mine=f"extends: {asked}\nname: mine\n")
    assert plain(loaded(path).root) == {**plain(document(asked, root_shape=ROOT).root), "name": "mine"}


@pytest.mark.parametrize(
    "asked", ["blueprint:quickstrat.yaml", "blueprint:../pyproject.toml", "blueprint:", "blueprint:/etc/passwd"]
)
def test_only_specs_ship(asked: str) -> None:
    (problem,) = refused(asked)
    assert "no spec that ships" in problem.message


def test_another_type_in_a_file_leaves_nothing_of_the_inherited_one(write: Write) -> None:
    path = write(
        mine="extends: base.yaml\nmodel: {norm: {type: layer, bias: false}}\n",
        base="model: {type: decoder, norm: {type: rms, eps: 1}}\n",
    )
    assert plain(loaded(path).root) == {"model": {"type": "decoder", "norm": {"type": "layer", "bias": False}}}


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        ({"mine": "extends: mine.yaml"}, "mine.yaml extends "),
        ({"mine": "extends: a.yaml", "a": "extends: b.yaml", "b": "extends: ./mine.yaml"}, "circle"),
        ({"mine": "extends: a.yaml", "a": "extends: b.yaml", "b": "extends: a.yaml"}, "circle"),
    ],
)
def test_a_circle_names_its_chain(write: Write, texts: dict[str, str], word: str) -> None:
    (problem,) = refused(write(**texts))
    assert word in problem.message
    assert problem.path == ("extends",)


def test_every_base_that_is_missing_or_broken_is_reported(write: Write) -> None:
    path = write(
        mine="extends: [bsae.yaml, broken.yaml, base.yaml]\na: 1\na: 2\n",
        base="blueprint: 7\n",
        broken="x: [1\n",
    )
    found = refused(path)
    assert {problem.code for problem in found} == {"extends", "syntax", "version", "duplicate-key"}
    missing = next(problem for problem in found if problem.code == "extends")
    assert missing.suggestion == "base.yaml"
    assert missing.span is not None
    assert (missing.span.line, missing.span.column, missing.span.length) == (1, 11, 9)


def test_a_base_is_migrated_from_its_own_version(write: Write) -> None:
    path = write(
        mine="blueprint: 1\nextends: old.yaml\nmodel: {layers: 3}\n",
        old="blueprint: 0\nmodel: {n_layer: 2, n_embd: 8}\n",
    )
    assert plain(loaded(path).root) == {"blueprint": 1, "model": {"layers": 3, "d_model": 8}}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("extends: {a: 1}", "a name or a list"),
        ("extends: [1]", "a name or a list"),
        ("extends: null", "a name or a list"),
        ("extends: ${name}.yaml", "before"),
        ("plugins: ['${name}.py']", "before"),
        ("plugins: 3", "a name or a list"),
        ("- model", "map of sections"),
        ("just text", "map of sections"),
        ("", "empty"),
        ("# nothing\n", "map of sections"),
    ],
)
def test_what_a_spec_cannot_begin_with(text: str, word: str) -> None:
    (problem,) = refused(text, text=True)
    assert word in problem.message


@pytest.mark.parametrize("count", [25, 60])
def test_a_deep_chain_of_files_is_refused(write: Write, count: int) -> None:
    texts = {f"f{i}": f"extends: f{i + 1}.yaml" for i in range(count)}
    assert "deep" in refused(write(mine="extends: f0.yaml", **texts, **{f"f{count}": "a: 1"}))[0].message


def test_a_bomb_of_files_is_refused_quickly(write: Write) -> None:
    texts = {f"f{i}": f"extends: [{', '.join([f'f{i + 1}.yaml'] * 9)}]" for i in range(12)}
    path = write(mine="extends: f0.yaml", **texts, f12="a: 1")
    before = time.process_time()
    found = refused(path)
    assert time.process_time() - before < 2
    assert [problem.message for problem in found] == ["a spec is made of at most 100 files"]


def test_many_large_files_are_refused(write: Write) -> None:
    big = "a: [" + "1, " * 150_000 + "1]"
    found = refused(write(mine="extends: [x.yaml, y.yaml, x.yaml]", x=big, y=big))
    assert "values" in found[0].message


PLUGIN = """
from blueprint.kinds import Norm
from blueprint.component import register

@register("document_test_{name}")
class Mine(Norm):
    "A norm."
    strength: int = 1
    "How strong."
"""


def test_a_plugin_runs_only_with_permission(write: Write, tmp_path: Path) -> None:
    path = write(mine="name: x\nplugins:\n  - ./mine.py\nmodel: ${nothing}\n")
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')")
    found = refused(path)
    assert [(p.span.line, p.span.column) for p in found if p.span] == [(3, 5), (4, 8)]
    assert "--allow-plugins" in str(found[0])
    assert "allow_plugins=True" in str(found[0])


def test_a_plugin_is_there_before_files_are_merged(write: Write, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "early.py").write_text(PLUGIN.format(name="early"))
    path = write(
        mine="extends: parts/base.yaml\nmodel: {type: decoder, norm: {type: document_test_early}}\n",
        parts__base="plugins: ./early.py\nmodel: {norm: {type: document_test_early, strength: 5}}\n",
    )
    read = loaded(path, allow_plugins=True)
    assert plain(read.root)["model"]["norm"] == {"type": "document_test_early", "strength": 5}
    assert read.plugins == [str(tmp_path / "parts" / "early.py")]
    assert "plugins" not in read.root.entries
    assert ("norm", "document_test_early") in MEMBERS


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(0)", "ended the process"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "registers no component"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
    ],
)
def test_a_plugin_that_fails_is_a_problem_at_its_line(write: Write, tmp_path: Path, code: str, word: str) -> None:
    (tmp_path / "bad.py").write_text(code)
    path = write(mine="name: x\nplugins: [./bad.py, no.such.module, ./missing.py]\n")
    found = refused(path, allow_plugins=True)
    assert [(p.span.line, p.span.column) for p in found if p.span] == [(2, 11), (2, 21), (2, 37)]
    assert word in found[0].message


def test_overrides_come_before_interpolation_and_after_extends(write: Write) -> None:
    path = write(mine="extends: base.yaml\nmodel: {d_model: 8}", base="model: {d_model: 4}\nseed: ${model.d_model}\n")
    read = loaded(path, overrides=["model.d_model=16", "name=${seed}x"])
    assert plain(read.root) == {"model": {"d_model": 16}, "seed": 16, "name": "16x"}
    assert plain(loaded(path, overrides="seed=1").root)["seed"] == 1


def test_what_does_not_stop_reading_is_collected(write: Write) -> None:
    read = loaded(write(mine="name: x\nname: y\nseed: ${sed}\ntag: !!str 3\n"), overrides=["nonsense"])
    assert [problem.code for problem in read.problems] == ["duplicate-key", "tag", "override", "interpolation"]
    assert plain(read.root)["name"] == "x"
    assert read.broken == {("seed",)}


def test_a_dict_is_a_spec_with_lines() -> None:
    read = document({"name": "x", "model": {"layers": 2, "rate": 1e-5, "all": (1, None, float("inf"))}})
    assert plain(read.root) == {"name": "x", "model": {"layers": 2, "rate": 1e-5, "all": [1, None, float("inf")]}}
    leaf, _, _ = find(read.root, ("model", "layers"))
    assert str(leaf.span) == "<dict>:4:15"
    assert leaf.span.text.strip() == '"layers": 2,'


def test_a_string_is_a_spec_only_when_said_so(tmp_path: Path) -> None:
    assert plain(document("name: x", text=True).root) == {"name": "x"}
    assert refused("name: x")[0].code == "missing-file"


@pytest.mark.parametrize("value", [{"a": object()}, {"a": {1, 2}}, {"a": b"x"}, {"a": Path("x")}, {"a": 10**5000}])
def test_a_dict_holds_only_what_yaml_can_say(value: Any) -> None:
    assert refused(value)[0].message


def test_a_dict_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["a"] = value
    assert "deep" in refused(value)[0].message


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=4).filter(lambda key: key not in ("extends", "plugins")),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text("abc\n\"'\\\u2028\x7f\ufeff é😀", max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, max_size=3),
            max_leaves=10,
        ),
        min_size=1,
    )
)
def test_a_dict_reads_back_whole(value: dict[str, Any]) -> None:
    assert plain(document(value).root) == value
