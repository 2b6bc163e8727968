"""Every mistake is told, where it is, in the user's words."""

from __future__ import annotations

from pathlib import Path

import pytest

import blueprint as bp

GOOD = """
model:
  type: decoder
  d_model: 64
  layers: 4
  max_length: 128
  vocab_size: 100
  block:
    attention: {heads: 4, kv_heads: 2}
"""


EXPERTS = "trainer.strategy.expert_parallel_size"


def told(text: str, *overrides: str) -> list[bp.Problem]:
    with pytest.raises(bp.SpecError) as caught:
        bp.loads(text, list(overrides))
    return list(caught.value.problems)


def only(text: str, *overrides: str) -> bp.Problem:
    problems = told(text, *overrides)
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


def test_the_good_spec_is_good() -> None:
    assert bp.loads(GOOD).model.block.attention.heads == 4


@pytest.mark.parametrize(
    ("changed", "line", "words"),
    [
        (("heads: 4", "heads: 6, kv_heads: 4"), None, None),
        (("kv_heads: 2", "kv_heads: 3"), 9, "must be a multiple of kv_heads"),
        (("d_model: 64", "d_model: 66"), 9, "66/4, not a whole number"),
        (("kv_heads: 2", "mask: {type: sliding, window: 500}"), 9, "never narrows a context of 128"),
        (("kv_heads: 2", "head_dim: 9"), 9, "odd"),
        (("kv_heads: 2", "head_dim: 9.5"), 9, "whole number"),
        (("d_model: 64", 'd_model: "64"'), 4, 'the string "64"'),
        (("d_model: 64", "d_model: true"), 4, "the boolean true"),
        (("d_model: 64", "d_model: -64"), 4, "a positive whole number"),
        (("vocab_size: 100", "vocab_size: null"), 7, "`vocab_size` must be said"),
        (("kv_heads: 2", "scale: sqrt(d_modle)"), 9, "d_modle"),
        (("block:", "pattern: [a]\n  block:"), 8, "no block is called `a`"),
        (("block:", "blocks: {a: {}}\n  block:"), 8, "no layer uses the block `a`"),
        (("block:", "overrides: {9: {}}\n  block:"), 8, "names no layer"),
        (("block:", "overrides: {3: {}, -1: {}}\n  block:"), 8, "overridden twice"),
        (("block:", "share: [0, 1]\n  block:"), 8, "2 groups for 4 layers"),
        (("block:", "embedding: {positions: learned}\n  block:"), 10, "told twice"),
    ],
)
def test_rules_speak_the_users_language(changed: tuple[str, str], line: int | None, words: str | None) -> None:
    text = GOOD.replace(*changed)
    problems = told(text)
    if words is None:
        return
    found = [p for p in problems if words in p.message]
    assert found, "\n".join(map(str, problems))
    assert found[0].span is not None
    assert found[0].span.line == line


@pytest.mark.parametrize(
    ("said", "at", "words"),
    [
        ("model.head.scale=0", "model.head.scale", "any number but 0"),
        ("model.embedding.scale=d_model - 64", "model.embedding.scale", "is 0 here"),
        ("model.block.attention.value_scale=0.0", "model.block.attention.value_scale", "any number but 0"),
        ("model.vocab_size=1", "model.vocab_size", "at least 2"),
        ("data={source: stdlib, positions: restart}", "data.positions", "reads positions"),
        ("precision.float32=[norm, router]", "precision.float32.1", "no router"),
        ("trainer.strategy={type: model_parallel, expert_parallel_size: 2}", EXPERTS, "no experts"),
        ("data.stages=[unicode, exact_duplicates, exact_duplicates]", "data.stages.2", "a second time"),
        ("objective={type: masked, mask: 0, random: 0}", "objective.mask", "no token is hidden"),
    ],
)
def test_what_would_do_nothing_is_refused_where_it_is_said(said: str, at: str, words: str) -> None:
    given = ["trainer={precision: bf16-mixed, devices: 2}", "data={source: stdlib}"]
    problems = told(GOOD, *given, "model.block.attention.position=none", said)
    assert [problem.message for problem in problems if problem.key == at and words in problem.message], problems


def test_what_does_something_is_not_refused_with_it() -> None:
    experts = "model.block.feed_forward={type: experts, experts: 4}"
    strategy = "trainer={precision: bf16-mixed, devices: 2, strategy: {type: model_parallel, expert_parallel_size: 2}}"
    bp.loads(GOOD, [experts, strategy, "precision.float32=[router]", "model.block.residual={type: scaled, stream: 0}"])
    restart = "data={source: stdlib, positions: restart}"
    sharper = "model.block.attention={heads: 4, position: none, temperature: {scale: 0.1, floor: 8}}"
    learned = ["model.block.attention.position=none", "model.embedding={positions: learned}"]
    for said in ([], [sharper], learned):
        bp.loads(GOOD, [restart, *said])
    bp.loads(GOOD, ["data={source: stdlib, stages: [word_dropout, word_dropout, unicode, exact_duplicates, unicode]}"])


def test_all_mistakes_are_told_at_once() -> None:
    text = GOOD.replace("layers: 4", "layrs: 4").replace("heads: 4", "heads: 5").replace("128", "many")
    problems = told(text)
    assert {p.span.line for p in problems if p.span} >= {5, 6, 9}
    assert any(p.suggestion == "layers" for p in problems)


def test_a_mistake_in_a_common_block_is_told_once_and_where_it_is_written() -> None:
    text = (
        GOOD.replace("kv_heads: 2", "kv_haeds: 2")
        + "  blocks: {a: {dropout: 0.1}, b: {dropout: 0.2}}\n  pattern: [a, b]\n"
    )
    assert only(text).key == "model.block.attention.kv_haeds"


def test_a_common_block_need_not_be_whole_where_no_layer_uses_it() -> None:
    text = GOOD.replace("heads: 4, kv_heads: 2", "position: none")
    text += "  blocks: {a: {attention: {heads: 4}}, b: {attention: {heads: 8}}}\n  pattern: [a, b]\n"
    spec = bp.loads(text)
    assert [spec.model.blocks[name].attention.heads for name in "ab"] == [4, 8]
    assert spec.model.blocks["a"].attention.position.spec_name == "none"


def test_a_field_of_another_type_is_an_error_that_says_where_it_belongs() -> None:
    problem = only(GOOD.replace("kv_heads: 2", "mask: {type: full, window: 4}"))
    assert problem.key.endswith("mask.window")
    assert "sliding" in (problem.fix or "")


def test_norms_inherit_within_one_type() -> None:
    text = GOOD + "  norm: {type: layer, eps: 1e-3}\n  final_norm: {bias: false}\n"
    model = bp.loads(text).model
    assert (model.final_norm.eps, model.final_norm.bias) == (1e-3, False)
    assert model.block.attention_norm.eps == 1e-3
    other = bp.loads(text.replace("{bias: false}", "rms")).model.final_norm
    assert other.spec_name == "rms"
    assert other.eps != 1e-3


def test_precision_is_held_against_the_device() -> None:
    problem = only(GOOD + "trainer: {precision: 16-true, accelerator: cpu}\n")
    assert problem.key == "trainer.precision"
    assert problem.fix is not None
    assert "16-mixed" in problem.fix


def test_what_an_override_broke_is_told_as_the_overrides() -> None:
    problem = only(GOOD, "model.block.attention.kv_heads=3")
    assert "model.block.attention.kv_heads=3" in str(problem)


def test_a_misspelt_key_may_be_one_that_another_text_gives() -> None:
    assert only(GOOD, "model.block.attention.head=2").suggestion == "heads"
    # Within one text it is more likely another, where the right one stands there too.
    assert only(GOOD.replace("heads: 4", "heads: 4, kv_head: 2")).suggestion == "kv_heads"


def test_a_dict_is_diagnosed_like_a_file() -> None:
    with pytest.raises(bp.SpecError, match="did you mean `layers`"):
        bp.load({"model": {"type": "decoder", "d_model": 8, "layer": 2}})


def test_the_resolved_spec_reads_back_as_itself() -> None:
    spec = bp.loads(
        GOOD + "  blocks: {a: {attention: {kv_heads: 1}}}\n  pattern: [a, block]\n  overrides: {0: {dropout: 0.1}}\n"
    )
    again = bp.load(spec.to_plain())
    assert again.to_plain() == spec.to_plain()
    assert bp.plan(bp.load(spec.to_plain(defaults=False))).hash == bp.plan(spec).hash


def test_an_expression_without_a_value_is_told_at_its_field() -> None:
    problem = only(GOOD.replace("kv_heads: 2", "scale: 1 / layer"))
    assert problem.key == "model.block.attention.scale"
    late = bp.loads(GOOD.replace("kv_heads: 2", "scale: 1 / (2 - layer)"))
    with pytest.raises(bp.SpecError) as caught:
        bp.plan(late)
    assert caught.value.problems[0].key == "model.block.attention.scale"
    assert caught.value.problems[0].span.line == 9


def test_a_wrong_word_in_a_list_is_told_at_its_place() -> None:
    problem = only(GOOD.replace("kv_heads: 2", "bias: [q, x]"))
    assert problem.key == "model.block.attention.bias.1"


def test_a_norm_that_is_usually_absent_inherits_too() -> None:
    text = GOOD + "  norm: {type: layer, eps: 1e-3}\n  embedding: {norm: {bias: false}}\n"
    model = bp.loads(text).model
    assert (model.embedding.norm.spec_name, model.embedding.norm.eps, model.embedding.norm.bias) == (
        "layer",
        1e-3,
        False,
    )
    assert model.final_norm.spec_name == "layer"
    assert bp.loads(GOOD + "  embedding: {norm: layer}\n").model.final_norm.spec_name == "rms"
    again = bp.load(bp.loads(text).to_plain(defaults=False))
    assert bp.plan(again).hash == bp.plan(bp.loads(text)).hash


def test_only_what_a_base_said_is_told_as_inherited(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(GOOD.replace("kv_heads: 2", "kv_heads: 3"))
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: base.yaml\nmodel:\n  block:\n    attention: {biass: true}\n")
    with pytest.raises(bp.SpecError) as caught:
        bp.load(mine)
    theirs, own = sorted(caught.value.problems, key=lambda p: p.suggestion == "bias")
    assert "multiple" in theirs.message
    assert any("inherited from" in note for note in theirs.notes)
    assert not own.notes
    assert theirs.span is not None
    assert theirs.span.source.name.endswith("base.yaml")


WINDOW = "mask: {type: sliding, window: 500}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"kv_heads: 2": f"kv_heads: 3, {WINDOW}"}, "cannot share", id="a rule of the same part"),
        pytest.param({"heads: 4, kv_heads: 2": f"heads: 5, {WINDOW}"}, "no whole number", id="a width"),
        pytest.param({"heads: 4, kv_heads: 2": f"heads: x, {WINDOW}"}, "a positive whole number", id="a wrong value"),
        pytest.param({"kv_heads: 2": WINDOW, "d_model: 64": "d_model: x"}, "whole number", id="the width of all"),
        pytest.param({"kv_heads: 2": WINDOW, "layers: 4": "layers: x"}, "whole number", id="the depth"),
        pytest.param({"kv_heads: 2": WINDOW, "block:": "norm: {epss: 1}\n  block:"}, "unknown key", id="a norm"),
        pytest.param({"kv_heads: 2": f"kv_heads: 2, {WINDOW}, zzqx: 1"}, "unknown key", id="an unknown key"),
        pytest.param({"kv_heads: 2": WINDOW, "block:": "pattern: [zzqx]\n  block:"}, "no block is", id="a pattern"),
        pytest.param({"kv_heads: 2": f"scale: 1 / layer, {WINDOW}"}, "division by zero", id="an expression"),
        pytest.param(
            {"heads: 4, kv_heads: 2": "heads: 4, mask: [{type: sliding, window: 500}, zzqx]"}, "zzqx", id="a list"
        ),
    ],
)
def test_no_mistake_hides_another(changes: dict[str, str], words: str) -> None:
    text = GOOD
    for before, after in changes.items():
        text = text.replace(before, after)
    first, second = sorted(told(text), key=lambda problem: "never narrows" in problem.message)
    assert words.replace("no whole", "not a whole") in first.message
    assert "never narrows a context of 128" in second.message


def test_a_mistake_in_the_model_does_not_hide_what_it_means_for_the_data() -> None:
    text = GOOD.replace("heads: 4", "heads: x") + "data: {source: stdlib, length: 500}\ntokenizer: byte\n"
    assert {problem.key for problem in told(text)} == {
        "model.block.attention.heads",
        "model.vocab_size",
        "data.length",
    }


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("max_length: 128", "max_lenght: 128").replace("kv_heads: 2", "position: none")
        + "  embedding: {positions: learned}\n",
        GOOD.replace("vocab_size: 100", "vocab_siez: 100"),
        GOOD.replace("max_length: 128", "max_length: many") + "data: {source: stdlib}\n",
        GOOD.replace("d_model: 64", "d_model: many") + "    feed_forward: {d_ff: d_model / 3}\n",
    ],
)
def test_what_follows_from_a_mistake_is_not_told_as_another(text: str) -> None:
    assert len(told(text)) == 1


def test_a_rule_says_where_the_other_value_it_reads_stands() -> None:
    problem = only(GOOD + "  overrides:\n    2: {attention: {kv_heads: 3}}\n")
    assert (problem.key, problem.notes) == (
        "model.block.attention.heads",
        ("`kv_heads: 3` is said at <string>:11:21, under model.overrides.2.attention",),
    )


def test_what_nobody_said_is_told_at_the_variant_that_made_it_wrong() -> None:
    problem = only(GOOD + "  overrides:\n    2: {attention: {head_dim: 9}}\n")
    assert "odd" in problem.message
    assert problem.span is not None
    assert (problem.key, problem.span.line) == ("model.overrides.2.attention.position", 11)


def test_layers_without_a_block_are_refused() -> None:
    assert "need a block" in only(GOOD.replace("block:\n    attention: {heads: 4, kv_heads: 2}", "block: null")).message


def test_no_number_is_infinite() -> None:
    assert only(GOOD + "  norm: {eps: .inf}\n").message == "expected a positive number, got inf"


def test_null_for_what_is_required_is_told_where_it_is_said() -> None:
    problem = only(GOOD, "model.layers=null")
    assert problem.key == "model.layers"
    assert problem.notes == ("set by the override `model.layers=null`",)


def test_parts_of_experts_are_judged_though_their_number_is_missing() -> None:
    router = "{type: top_k, k: 0}"
    found = told(GOOD + "    feed_forward: {type: experts, balance: expert, router: " + router + "}\n")
    assert [each.key.removeprefix("model.block.feed_forward.") for each in found] == ["experts", "router.k"]
