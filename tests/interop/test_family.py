"""Family files: what is wrong with one is said at its place; the right one is found by what a config says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueprint.interop.config import Config, FamilyError, parse_config, read_config
from blueprint.interop.family import families, find_family, read_family
from blueprint.tree import Map, Seq, Span

WHOLE = """\
match: {model_type: mine}
model: {type: decoder}
weights: {}
"""


def refused(tmp_path: Path, text: str) -> FamilyError:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(FamilyError) as caught:
        read_family(str(file))
    return caught.value


def test_a_file_is_a_family(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(WHOLE)
    family = read_family(str(file))
    assert family.name == "mine"
    assert family.match.entries.keys() == {"model_type"}
    before = family.text_hash
    file.write_text(WHOLE + "description: more\n")
    assert read_family(file).text_hash != before


@pytest.mark.parametrize("name", families())
def test_families_that_ship_are_whole(name: str) -> None:
    family = read_family(name)
    assert family.name == name
    assert family.description
    assert not name.startswith("_")


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        (WHOLE + "wieghts: {}", 4, 1, "unknown key of a family; did you mean `weights`"),
        (WHOLE + "zzz: {}", 4, 1, "the keys here are match"),
        ("match: {a: b}\nweights: {}", 1, 1, "`model` is required"),
        (WHOLE.replace("{type: decoder}", "[1]"), 2, 8, "expected a map, got a list of 1"),
        (WHOLE.replace("{model_type: mine}", "{}"), 1, 8, "empty `match`"),
        (WHOLE + "description: 3", 4, 14, "expected a text"),
        (WHOLE + "layouts: {base: x}", 4, 10, "expected a list of maps"),
        (WHOLE + "aliases: {a: 3}", 4, 14, "an older name"),
        (WHOLE + "aliases: {a: [a]}", 4, 11, "alias of itself"),
        (WHOLE + "let: {hf: 1}", 4, 7, "`hf` means something already"),
        (WHOLE + "let: {a-b: 1}", 4, 7, "is no name"),
        (WHOLE.replace("weights: {}", "weights: {x: 3}"), 3, 14, "a tensor's name in the file"),
        (WHOLE.replace("weights: {}", "weights: {x: {form: y}}"), 3, 15, "did you mean `from`"),
        (WHOLE.replace("weights: {}", "weights: {x: {as: a -> a}}"), 3, 11, "a rule needs `from`"),
        (WHOLE.replace("decoder", '"${hf.x +}"'), 2, 24, "`}` stands where a value"),
        (WHOLE.replace("decoder", '"${hf.x"'), 2, 18, "`}` is missing"),
        (WHOLE + "let:\n  a: ${sqr(2)}", 5, 8, "`sqr` is no function; did you mean `sqrt`"),
        ("- 1", 1, 1, "a family is a map"),
        ("match: {", 1, 9, "close what was opened"),
    ],
)
def test_faults_are_located(tmp_path: Path, text: str, line: int, column: int, words: str) -> None:
    error = refused(tmp_path, text)
    assert words in str(error)
    span = error.problems[0].span
    assert span is not None
    assert (span.line, span.column) == (line, column)
    assert str(error).endswith("in 1 family")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    error = refused(tmp_path, WHOLE + "lets: {}\nlet: {in: 1}\ndescription: 3")
    assert len(error.problems) == 3


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(FamilyError, match="did you mean `llama`"):
        read_family("lama")
    with pytest.raises(FamilyError, match="no such file"):
        read_family("nowhere/mine.yaml")


def test_a_family_is_found_by_its_config() -> None:
    assert find_family(Config.of({"model_type": "llama"})).name == "llama"


def test_where_there_is_none_the_nearest_are_named() -> None:
    fields = {"model_type": "strange", "n_embd": 8, "n_head": 2, "n_layer": 1, "resid_pdrop": 0.1, "vocab_size": 9}
    fields |= {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False}
    with pytest.raises(FamilyError) as caught:
        find_family(Config.of(fields))
    said = str(caught.value)
    assert "no family matches `model_type: strange`" in said
    assert "nearest: gpt2" in said
    assert "docs/families.md" in said
    with pytest.raises(FamilyError, match="the config has no `model_type`"):
        find_family(Config.of({"n_embd": 8}))


# config.json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "this is no JSON"),
        ('{"a": 1,}', "this is no JSON"),
        ("[1]", "a config is a map of fields, not a list of 1"),
        ('{"a": 1, "a": 2}', "`a` is given twice"),
        ("[" * 100_000, "nests at most"),
        ('{"a": ' * 150 + "1" + "}" * 150, "nests at most"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_what_is_no_config_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FamilyError, match=words) as caught:
        read_config(tmp_path)
    assert "config.json" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match="no such file"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(FamilyError, match="not UTF-8"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_bytes(b'{"a": "' + b"x" * 10_000_001 + b'"}')
    with pytest.raises(FamilyError, match="at most 10 MB"):
        read_config(tmp_path)


def test_a_config_knows_where_its_fields_are(tmp_path: Path) -> None:
    text = '{\n  "a": 1,\n\t"b": {"c": [1, 2]}\n}'
    config = parse_config(text)
    assert config.plain == {"a": 1, "b": {"c": [1, 2]}}
    spans: list[Any] = [config.span(("a",)), parse_config('{\n "b": {"c": 1}}').span(("b", "c"))]
    assert spans[1].line == 2
    assert spans[1].column == 8


def places(node: Any) -> Iterator[tuple[str, Span]]:
    """Every key and every text of a tree, with its place."""
    if isinstance(node, Map):
        for key, entry in node.entries.items():
            yield key, entry.span
            yield from places(entry.value)
    elif isinstance(node, Seq):
        for item in node.items:
            yield from places(item)
    elif isinstance(node.value, str):
        yield node.value[:12], node.span


@pytest.mark.parametrize("name", [name for name, path in families().items() if "\nextends: " in path.read_text()])
def test_what_a_family_took_over_keeps_its_place(name: str) -> None:
    """A fault in it is told in the file that says it."""
    family = read_family(name)
    sources = set()
    for part in ("model", "weights", "defaults"):
        for text, span in places(family.root.entries[part].value):
            sources.add(span.source.name)
            assert text in Path(span.source.name).read_text().splitlines()[span.line - 1]
    assert len(sources) > 1
