"""The plan as text says each thing once, and leaves nothing out that matters."""

from __future__ import annotations

import pytest

import blueprint as bp
from blueprint.component import Component
from blueprint.render import WIDTH, groups, plan_plain, ranges

SPEC = """\
name: folded
model:
  type: decoder
  d_model: 64
  layers: 7
  vocab_size: 100
  max_length: 256
  block:
    attention: {heads: 4, softcap: 30.0}
    feed_forward: {type: mlp, activation: relu2, bias: true}
  blocks:
    local: {attention: {mask: {type: sliding, window: 64}, softcap: null}}
  pattern: [local, local, block]
  head: {tie: true}
"""


@pytest.fixture(scope="module")
def text() -> str:
    return str(bp.plan(bp.loads(SPEC)))


def test_equal_layers_are_told_once_wherever_they_stand(text: str) -> None:
    assert text.count("layers 0–1, 3–4, 6 ") == 1
    assert text.count("layers 2, 5 ") == 1
    assert text.count("attention  ") == 2


def test_every_layer_is_in_exactly_one_group() -> None:
    plan = bp.plan(bp.loads(SPEC))
    told = [index for _, indices, _ in groups(plan) for index in indices]
    assert sorted(told) == list(range(7))


def test_every_part_and_its_sizes_are_named(text: str) -> None:
    plan = bp.plan(bp.loads(SPEC))
    for path, part, _ in plan.parts():
        assert part.spec_name in text, path
    for said in ("heads 4", "kv_heads 4", "head_dim 16", "d_ff 256", "window 64", "softcap 30", plan.hash):
        assert said in text


def test_defaults_that_say_nothing_are_left_out(text: str) -> None:
    assert "dropout" not in text
    assert "eps" not in text


def test_what_will_compute_attention_is_told_with_its_reason(text: str) -> None:
    lines = [line.split("computed by")[1].strip() for line in text.splitlines() if "computed by" in line]
    assert [line.split()[0] for line in lines] == ["blocked", "dense"]
    assert "window 64" in lines[0]
    assert "softcap" in lines[1]


def test_of_experts_it_is_told_how_many_serve_a_token() -> None:
    experts = "{type: experts, experts: 8, router: {type: top_k}, shared: {type: gated}}"
    text = str(bp.plan(bp.loads(SPEC, overrides=[f"model.blocks.local.feed_forward={experts}"])))
    assert text.count("for a token ") == 1
    assert "2 of 8 experts, and what is shared" in text


def test_a_long_name_has_a_line_of_its_own() -> None:
    lines = str(bp.plan(bp.loads(SPEC, overrides=["model.layers=40"]))).splitlines()
    long = next(line for line in lines if line.startswith("layers 0–1, 3–4, 6–7"))
    assert lines[lines.index(long) + 1].strip() == "local: sequential"


def test_lines_are_no_wider_than_promised() -> None:
    wide = SPEC.replace("softcap: 30.0", "softcap: 30.0, bias: [q, k, v], qk_norm: {over: full}, value_dim: 24")
    lines = str(bp.plan(bp.loads(wide))).splitlines()
    assert all(len(line) <= WIDTH for line in lines if "computed by" not in line)


def test_the_json_says_the_same_with_whole_numbers_whole() -> None:
    plan = bp.plan(bp.loads(SPEC))
    found = plan_plain(plan)
    assert found["plan"] == plan.to_plain()
    assert isinstance(found["plan"]["d_model"], int)


@pytest.mark.parametrize(("numbers", "said"), [([0], "0"), ([0, 1, 2], "0–2"), ([0, 1, 3, 5, 6], "0–1, 3, 5–6")])
def test_runs_of_numbers(numbers: list[int], said: str) -> None:
    assert ranges(numbers) == said


def test_a_mixer_without_backends_has_no_line_for_them() -> None:
    from blueprint.kinds import Attention

    class Mixer(Attention):
        """A mixer that is no attention."""

    assert isinstance(Mixer(), Component)
    assert Mixer().choice(bp.Site(d_model=8, width=8), 16, "cpu") is None
