"""Templates filled from configs: every field counts, layers may differ, and faults lie in the family file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import blueprint as bp
from blueprint.interop.config import Config, FamilyError, parse_config
from blueprint.interop.family import Family, read_family
from blueprint.interop.template import Filled, fill

HEAD = "match: {model_type: mine}\nweights: {}\n"
MODEL = """\
model:
  type: decoder
  vocab_size: 11
  d_model: ${hf.width}
  layers: ${hf.depth}
  block:
    attention: {heads: 2}
"""
SAID: dict[str, Any] = {"model_type": "mine", "width": 8, "depth": 6}


def family(tmp_path: Path, text: str) -> Family:
    file = tmp_path / "mine.yaml"
    file.write_text(HEAD + text)
    return read_family(file)


def filled(tmp_path: Path, text: str, ignore: tuple[str, ...] = (), **more: Any) -> Filled:
    return fill(family(tmp_path, text), Config.of({**SAID, **more}), ignore)


def model(found: Filled) -> dict[str, Any]:
    said: dict[str, Any] = bp.loads(found.text).to_plain(defaults=False)["model"]
    return said


def refused(tmp_path: Path, text: str, **more: Any) -> str:
    with pytest.raises(FamilyError) as caught:
        filled(tmp_path, text, **more).check_used()
    return str(caught.value)


def test_a_template_is_a_spec(tmp_path: Path) -> None:
    found = filled(tmp_path, MODEL)
    found.check_used()
    assert found.plan.hash == bp.plan(bp.loads(found.text)).hash
    assert found.text == (
        "# From config.json, by the family `mine`.\nblueprint: 1\nname: mine\nmodel:\n  type: decoder\n"
        "  vocab_size: 11\n  d_model: 8\n  layers: 6\n  block:\n    attention: {heads: 2}\n"
    )


def test_values_keep_their_type_and_texts_are_pasted(tmp_path: Path) -> None:
    text = MODEL.replace("heads: 2", 'heads: 2, scale: "1 / sqrt(${hf.s})", bias: "${hf.b}", dropout: "${hf.d}"')
    attention = filled(tmp_path, text, s=24, b=["q", "v"], d=0.25).spec.to_plain()["model"]["block"]["attention"]
    assert attention["scale"] == "1 / sqrt(24)"
    assert attention["bias"] == ["q", "v"]
    assert attention["dropout"] == 0.25


MASK = MODEL.replace("{heads: 2}", "\n      heads: 2\n      mask:") + (
    '        $case: hf.types[i]\n        near: {type: sliding, window: "${hf.window}"}\n        far: full\n'
)


def test_every_layer_is_filled_by_itself(tmp_path: Path) -> None:
    found = filled(tmp_path, MASK, types=["near", "near", "far"] * 2, window=4)
    found.check_used()
    said = model(found)
    assert said["pattern"] == ["sliding", "sliding", "block"]
    kinds = [layer.block.to_plain()["attention"]["mask"]["type"] for layer in found.plan.stacks["decoder"]]
    assert kinds == ["sliding", "sliding", "full"] * 2


def test_i_and_n_are_the_layer_and_the_depth(tmp_path: Path) -> None:
    text = MODEL.replace("heads: 2", 'heads: "${3 * (n - i)}"')
    found = filled(tmp_path, text, depth=2, width=12)
    assert [layer.block.to_plain()["attention"]["heads"] for layer in found.plan.stacks["decoder"]] == [6, 3]


@pytest.mark.parametrize(("flag", "expected"), [(True, 0.5), (False, None), (None, None)])
def test_if_chooses_and_leaves_out(tmp_path: Path, flag: bool | None, expected: float | None) -> None:
    text = MODEL + '  head:\n    softcap: {$if: hf.flag, then: "${hf.cap}"}\n'
    found = filled(tmp_path, text, flag=flag, cap=0.5)
    assert found.spec.to_plain()["model"]["head"]["softcap"] == expected
    # The choice has said that `cap` is without effect.
    found.check_used()


def test_case_has_words_for_everything(tmp_path: Path) -> None:
    text = (
        MODEL + '  head:\n    softcap: {$case: hf.kind, "true": 1, "3": 2, "null": 3, big: 4, none: $omit, else: 5}\n'
    )
    for kind, expected in [(True, 1), (3, 2), (None, 3), ("big", 4), ("none", None), ("other", 5)]:
        assert filled(tmp_path, text, kind=kind).spec.to_plain()["model"]["head"]["softcap"] == expected


def test_templates_are_used_under_other_names(tmp_path: Path) -> None:
    text = MODEL.replace(
        "{heads: 2}", "{heads: 2, position: {type: rope, scaling: {$use: rope_scaling, rope: hf.turn}}}"
    )
    found = filled(tmp_path, text, turn={"rope_type": "linear", "factor": 2.0}, max_position_embeddings=64)
    attention = found.spec.to_plain()["model"]["block"]["attention"]
    assert attention["position"]["scaling"] == {"type": "linear", "factor": 2.0}
    found.check_used()
    said = refused(tmp_path, text, turn={"rope_type": "linear"})
    assert "config.json has no `turn.factor`" in said
    assert "in the template `rope_scaling`, used at" in said


# What a config says, and how.


def test_defaults_aliases_and_null(tmp_path: Path) -> None:
    text = (
        'defaults: {heads: "${hf.width // 4}"}\naliases: {heads: [n_head], rope.theta: [theta], rope: [scaling]}\n'
        + (MODEL.replace("heads: 2", 'heads: "${hf.heads}", dropout: "${default(hf.rope.theta, 0.5)}"'))
    )

    def attention(**more: Any) -> Any:
        found = filled(tmp_path, text, **more)
        found.check_used()
        inside = found.spec.to_plain()["model"]["block"]["attention"]
        return inside["heads"], inside["dropout"]

    assert attention() == (2, 0.5)
    assert attention(heads=None) == (2, 0.5)
    assert attention(heads=4) == (4, 0.5)
    assert attention(n_head=1, theta=0.25) == (1, 0.25)
    assert attention(scaling={"theta": 0.125}, theta=None) == (2, 0.125)
    # The same said twice is said once; two different things are not.
    assert attention(heads=4, n_head=4) == (4, 0.5)
    assert "`n_head: 2` is read by nothing" in refused(tmp_path, text, heads=4, n_head=2)


def test_a_field_that_nobody_reads_refuses(tmp_path: Path) -> None:
    said = refused(tmp_path, MODEL, clever=True, inner={"a": 1, "b": None})
    assert "`clever: true` is read by nothing" in said
    assert "--ignore inner.a" in said
    assert "inner.b" not in said
    filled(tmp_path, MODEL, ("clever", "inner"), clever=True, inner={"a": 1}).check_used()


def test_inert_fields_are_so_at_their_values(tmp_path: Path) -> None:
    text = "inert: {tp: 1, act: [a, b], note: any, maps: any, same: \"${hf.width}\", 'summary_*': any}\n" + MODEL
    filled(tmp_path, text, tp=1, act="b", note=[1], maps={"x": {"y": 2}}, same=8, summary_type="x").check_used()
    said = refused(tmp_path, text, tp=2, act="c", same=9)
    assert "`tp` is 2; it is known to be without effect at 1 alone" in said
    assert said.count("without effect") == 3
    filled(tmp_path, text, architectures=["X"], torch_dtype="float32", id2label={"0": "a"}).check_used()


def test_what_rules_read_counts(tmp_path: Path) -> None:
    found = filled(tmp_path, MODEL, bias=True, unread=1)
    when = found.family.root.with_entry(next(iter(found.family.model.entries.values()))).entries["match"]
    assert found.env.text(when, "hf.bias and hf.width == 8") is True
    assert found.env.with_(i=3).text(when, "i // 2 + hf.depth") == 7
    with pytest.raises(FamilyError, match="`unread: 1`") as caught:
        found.check_used()
    assert len(caught.value.problems) == 1


# Faults.


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("${hf.width}", "${hf.widht}", "6:14", "has no `widht`; did you mean `hf.width`"),
        ("${hf.width}", "${width}", "6:14", "`width` has no value here; did you mean `hf.width`"),
        ("${hf.width}", "${i}", "6:14", "inside `block` alone"),
        ("${hf.width}", "${hf.width / 0}", "6:23", "division by zero"),
        ("${hf.width}", "${hf.width * 'a'}", "6:25", "takes numbers, not `a`"),
        ("${hf.width}", "wide", "6:12", "expected a positive whole number"),
        ("${hf.width}", "w ${hf.types}", "6:14", "a map of 1 has no place inside a text"),
        ("${hf.depth}", "100000", "7:11", "at most 2,000 layers"),
        ("{heads: 2}", '{heads: "${hf.heads}"}', "9:24", "2 heads"),
        ("{heads: 2}", "{head: 2}", "9:17", "unknown key"),
        ("{heads: 2}", '{heads: "${hf.list[i]}"}', "9:27", "has 1 items; there is none at 1"),
        ("{heads: 2}", "{$if: hf.heads, then: 1}", "9:22", "a condition is true, false or null; this is 3"),
        ("{heads: 2}", "{$if: true, thn: 1}", "9:28", "did you mean `then`"),
        ("{heads: 2}", "{$if: true}", "9:17", "needs `then`"),
        ("{heads: 2}", "{$case: hf.heads, a: 1, b: 2}", "9:24", "3 is none of the options: a, b"),
        ("{heads: 2}", "{$cse: hf.heads}", "9:17", "did you mean `$case`"),
        ("{heads: 2}", "{$use: rope_scalling}", "9:23", "did you mean `rope_scaling`"),
    ],
)
def test_faults_lie_in_the_family(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    said = refused(tmp_path, MODEL.replace(old, new), heads=3, types={"a": 1}, list=[2])
    assert f"mine.yaml:{place}" in said, said
    assert words in said or ("heads" in words and "heads" in said), said


def test_faults_name_the_values_and_where_they_are(tmp_path: Path) -> None:
    text = MODEL.replace("{heads: 2}", '{heads: "${hf.heads}"}')
    config = parse_config(json.dumps({**SAID, "heads": 3}, indent=1), "there/config.json")
    with pytest.raises(FamilyError, match=r"`hf.heads` is 3 \(there/config.json:5:2\)"):
        fill(family(tmp_path, text), config)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, MODEL.replace("11", "${hf.a}").replace("heads: 2", 'heads: "${hf.b}"'))
    assert "`a`" in said
    assert "`b`" in said
    assert said.endswith("2 errors in 1 family")


def test_circles_end(tmp_path: Path) -> None:
    assert "in a circle: hf.a needs hf.b needs hf.a" in refused(
        tmp_path, 'defaults: {a: "${hf.b}", b: "${hf.a}"}\n' + MODEL.replace("11", "${hf.a}")
    )
    assert "in a circle" in refused(tmp_path, 'let: {a: "${b}", b: "${a}"}\n' + MODEL.replace("11", "${a}"))
    assert "at most 20 deep" in refused(tmp_path, "templates: {x: {$use: x}}\n" + MODEL + "  head: {$use: x}\n")


# The families that ship.

ROPES: list[dict[str, Any]] = [
    {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 5e5,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 8.0}},
    {"rope_theta": 5e5, "rope_scaling": {"rope_type": "dynamic", "factor": 8.0}},
    {"rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "beta_fast": 16}},
    {"rope_theta": 5e5, "rope_scaling": None},
]


@pytest.mark.parametrize("rope", ROPES, ids=["llama3", "linear", "dynamic", "yarn", "none"])
def test_rope_is_read_as_any_version_writes_it(rope: dict[str, Any]) -> None:
    small = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    found = fill(read_family("llama"), Config.of({**small, **rope}))
    position = found.spec.to_plain()["model"]["block"]["attention"]["position"]
    assert position["theta"] == 5e5
    map_ = rope.get("rope_parameters") or rope["rope_scaling"] or {}
    said = position["scaling"] or {}
    assert said.get("type") == map_.get("rope_type", map_.get("type"))
    assert said.get("factor") == map_.get("factor")


def test_gemma_3_as_older_configs_write_it() -> None:
    config = {
        "model_type": "gemma3_text",
        "num_hidden_layers": 26,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "sliding_window_pattern": 6,
        "sliding_window": 512,
        "query_pre_attn_scalar": 256,
    }
    found = fill(read_family("gemma3_text"), Config.of(config))
    said = model(found)
    assert said["pattern"] == ["sliding"] * 5 + ["full"]
    layers = [layer.block.to_plain()["attention"]["position"] for layer in found.plan.stacks["decoder"]]
    assert [layer["theta"] for layer in layers] == ([1e4] * 5 + [1e6]) * 4 + [1e4] * 2
    assert layers[5]["scaling"] == {"type": "linear", "factor": 8.0}
