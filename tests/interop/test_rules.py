"""Rules for tensors: what they mean for a model and a file, and every way to get one wrong, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.interop.config import Config, FamilyError
from blueprint.interop.env import Env
from blueprint.interop.family import Family, read_family
from blueprint.interop.moves import Moves, moves_in, moves_out
from blueprint.interop.rules import read_rules
from blueprint.interop.template import fill

HEAD = """\
match: {model_type: tiny}
model: {type: decoder, d_model: 8, layers: 2, vocab_size: 10, max_length: 8, block: {attention: {heads: 2}}}
"""
CONFIG = Config.of({"model_type": "tiny", "heads": 2, "bias": False, "kinds": ["a", "b"]})
SHAPES = {"table.weight": (10, 8), "layers.0.up.weight": (6, 4), "layers.1.up.weight": (6, 4)}
THEIRS = {"wte": ("F32", (10, 8)), "h.0.up": ("F32", (6, 4)), "h.1.up": ("F32", (6, 4))}
Files = dict[str, tuple[str, tuple[int, ...]]]


def family(tmp_path: Path, rules: str) -> tuple[Family, Env]:
    path = tmp_path / "tiny.yaml"
    path.write_text(HEAD + rules)
    found = read_family(path)
    return found, fill(found, CONFIG).env


def moved(
    tmp_path: Path, rules: str, ours: dict[str, tuple[int, ...]] | None = None, theirs: Files | None = None
) -> Moves:
    found, env = family(tmp_path, rules)
    return moves_in(read_rules(found), env, SHAPES if ours is None else ours, THEIRS if theirs is None else theirs)


def pairs(moves: Moves) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    return [(move.ours, [each.names for each in move.theirs]) for move in moves.moves]


GOOD = "weights:\n  table.weight: wte\n  layers.{i}.up.weight: h.{i}.up\n"


def test_a_letter_is_every_number(tmp_path: Path) -> None:
    found = moved(tmp_path, GOOD)
    assert pairs(found) == [
        (("table.weight",), [("wte",)]),
        (("layers.0.up.weight",), [("h.0.up",)]),
        (("layers.1.up.weight",), [("h.1.up",)]),
    ]


def test_an_expression_is_worked_out_for_each_number(tmp_path: Path) -> None:
    theirs: Files = {"wte": ("F32", (10, 8)), "a.5.up": ("F32", (6, 4)), "b.4.up": ("F32", (6, 4))}
    found = moved(tmp_path, GOOD.replace("h.{i}.up", '"{hf.kinds[i]}.{5 - i}.up"'), theirs=theirs)
    assert [names for _, [(*names,)] in pairs(found)[1:]] == [["a.5.up"], ["b.4.up"]]


def test_braces_with_commas_are_choices_and_go_one_by_one_without_an_operator(tmp_path: Path) -> None:
    ours = {f"layers.{i}.{name}.weight": (2, 2) for i in range(2) for name in "qk"}
    theirs: Files = {f"h.{i}.{name}_proj": ("F32", (2, 2)) for i in range(2) for name in "qk"}
    found = moved(tmp_path, 'weights:\n  layers.{i}.{q,k}.weight: "h.{i}.{q,k}_proj"\n', ours, theirs)
    assert sorted(pairs(found)) == [
        ((f"layers.{i}.{name}.weight",), [(f"h.{i}.{name}_proj",)]) for i in range(2) for name in "kq"
    ]


def test_several_of_ours_in_one_of_theirs(tmp_path: Path) -> None:
    ours = {"q.weight": (4, 2), "k.weight": (2, 2), "v.weight": (2, 2)}
    rules = 'weights:\n  "{q,k,v}.weight": {from: qkv, as: "m (q + k + v) -> q m, k m, v m"}\n'
    (move,) = moved(tmp_path, rules, ours, {"qkv": ("F16", (2, 8))}).moves
    assert move.ours == ("q.weight", "k.weight", "v.weight")
    assert move.sizes == {"q": 4, "k": 2, "v": 2, "m": 2}


def test_a_letter_of_theirs_alone_stacks(tmp_path: Path) -> None:
    ours = {f"layers.{i}.experts": (3, 4, 6) for i in range(2)}
    theirs: Files = {f"h.{i}.e.{e}": ("F32", (6, 4)) for i in range(2) for e in range(3)}
    rules = "weights:\n  layers.{i}.experts: {from: 'h.{i}.e.{e}', as: e a b -> e b a}\n"
    found = moved(tmp_path, rules, ours, theirs)
    assert pairs(found) == [((f"layers.{i}.experts",), [tuple(f"h.{i}.e.{e}" for e in range(3))]) for i in range(2)]
    other, env = family(tmp_path, rules)
    back = moves_out(read_rules(other), env, ours)
    assert pairs(back) == pairs(found)
    assert [each.shape for move in back.moves for each in move.theirs] == [(3, 6, 4)] * 2
    with pytest.raises(FamilyError) as caught:
        moved(tmp_path, rules.replace(", as: e a b -> e b a", ""), ours, theirs)
    assert "theirs: h.0.e.0 … [3, 6, 4]" in str(caught.value)


def test_a_rule_that_does_not_hold_is_not_there(tmp_path: Path) -> None:
    rules = f"{GOOD}  head.weight: {{from: lm_head, when: hf.bias}}\n"
    assert len(moved(tmp_path, rules).moves) == 3
    with pytest.raises(FamilyError, match=r"no parameter of this model is called `head.weight`"):
        moved(tmp_path, rules.replace("hf.bias", "not hf.bias"))


def test_a_rule_for_some_layers_is_held_against_those_layers(tmp_path: Path) -> None:
    """Where none is of its kind it is not there; where one is, its name has to be right."""
    of_none = "  layers.{i}.down.weight: {from: 'h.{i}.down', when: \"hf.kinds[i] == 'c'\"}\n"
    assert pairs(moved(tmp_path, GOOD + of_none)) == pairs(moved(tmp_path, GOOD))
    with pytest.raises(FamilyError, match="no parameter of this model is called"):
        moved(tmp_path, GOOD + of_none.replace("'c'", "'b'"))


def test_of_several_rules_for_a_tensor_those_that_hold_are_there(tmp_path: Path) -> None:
    both = "[{from: b.{i}.up, when: hf.bias}, {from: 'h.{i}.up', when: not hf.bias}]"
    rules = GOOD.replace(": h.{i}.up", ": " + both.replace("from: b.{i}.up", "from: 'b.{i}.up'"))
    assert pairs(moved(tmp_path, rules)) == pairs(moved(tmp_path, GOOD))
    with pytest.raises(FamilyError, match="claimed twice"):
        moved(tmp_path, GOOD.replace(": h.{i}.up", ": ['h.{i}.up', 'h.{i}.up']"))


def test_a_rule_and_the_type_of_a_model_are_said_anew_by_what_extends_a_family(tmp_path: Path) -> None:
    family(tmp_path, GOOD.replace(": wte", ": {from: wte, as: v d -> v d}"))
    (tmp_path / "kin.yaml").write_text(
        "extends: tiny.yaml\nmodel: {type: encoder}\nweights:\n  table.weight: {from: wte, when: hf.heads == 2}\n"
    )
    found = read_family(tmp_path / "kin.yaml")
    assert [rule.operator for rule in read_rules(found).rules] == [None, None]
    spec = fill(found, CONFIG).spec
    assert spec.model.spec_name == "encoder"
    assert spec.model.d_model == 8  # type: ignore[attr-defined]


def test_a_rule_of_the_family_that_is_extended_is_said_anew_or_taken_away(tmp_path: Path) -> None:
    family(tmp_path, GOOD.replace("layers.{i}.up", "layers.{i}.down"))
    (tmp_path / "kin.yaml").write_text("extends: tiny.yaml\nweights:\n  layers.{i}.up.weight: h.{i}.up\n")
    found = read_family(tmp_path / "kin.yaml")
    with pytest.raises(FamilyError) as caught:
        moves_in(read_rules(found), fill(found, CONFIG).env, SHAPES, THEIRS)
    assert "no parameter of this model is called `layers.{i}.down.weight`" in str(caught.value)
    assert "or `layers.{i}.down.weight: null` to take it away" in str(caught.value)


def test_the_layout_with_the_most_names_in_the_file_is_taken(tmp_path: Path) -> None:
    rules = 'layouts: [{base: model.}, {base: ""}]\n' + GOOD.replace(": wte", ': "{base}wte"').replace(
        "h.{i}.up", '"{base}h.{i}.up"'
    )
    assert moved(tmp_path, rules).layout == 1
    assert moved(tmp_path, rules, theirs={f"model.{name}": said for name, said in THEIRS.items()}).layout == 0


def test_what_carries_nothing_may_be_all_that_begins_alike(tmp_path: Path) -> None:
    rules = GOOD + "drop: {'h.{hf.heads}.*': a layer that is not part of the model}\n"
    theirs: Files = {**THEIRS, "h.2.up": ("F32", (6, 4)), "h.2.down.bias": ("F32", (6,))}
    assert moved(tmp_path, rules, theirs=theirs).dropped == ("h.2.up", "h.2.down.bias")
    with pytest.raises(FamilyError, match=r"h\.3\.up"):
        moved(tmp_path, rules, theirs={**theirs, "h.3.up": ("F32", (6, 4))})
    with pytest.raises(FamilyError, match=r"did you mean `hf\.heads`"):
        moved(tmp_path, rules.replace("hf.heads", "hf.headz"), theirs=theirs)


def test_copies_and_what_carries_nothing_are_accounted_for(tmp_path: Path) -> None:
    rules = GOOD + "tied: {head: wte}\ndrop: {'h.{i}.mask': a causal mask}\n"
    theirs: Files = {**THEIRS, "head": THEIRS["wte"], "h.0.mask": ("BOOL", (4, 4)), "h.1.mask": ("BOOL", (4, 4))}
    found = moved(tmp_path, rules, theirs=theirs)
    assert found.tied == {"head": "wte"}
    assert found.dropped == ("h.0.mask", "h.1.mask")
    # A copy stands for an original that is not there.
    del theirs["wte"]
    found = moved(tmp_path, rules, theirs=theirs)
    assert (found.tied, pairs(found)[0]) == ({"head": "wte"}, (("table.weight",), [("head",)]))


@pytest.mark.parametrize(
    ("rules", "place", "said"),
    [
        (GOOD + "  tabel.weight: x\n", "tabel.weight", "did you mean `table.weight`?"),
        (GOOD + "  layers.{i}.upp.weight: x\n", "layers.{i}.upp.weight", "did you mean `layers.{i}.up.weight`?"),
        (GOOD.replace(": wte", ": wtee"), "wtee", "the file has no `wtee`; did you mean `wte`?"),
        (GOOD.replace(": wte", ": wtee"), "weights", "no rule uses 1 tensor in the file"),
        (GOOD.replace("h.{i}.up", "h.0.up"), "h.0.up", "their tensor `h.0.up` is claimed twice; the other rule is at"),
        (
            GOOD + "  layers.1.up.weight: h.1.up\n",
            "layers.1.up.weight",
            "our tensor `layers.1.up.weight` is claimed twice",
        ),
        (GOOD.replace("  table.weight: wte\n", ""), "weights", "no rule fills 1 tensor of the model"),
        (GOOD.replace("h.{i}.up", "h.{i"), "{i", "this brace is never closed"),
        (GOOD.replace("h.{i}.up", "h.i}"), "}", "this brace was never opened"),
        (GOOD.replace("h.{i}.up", "h.{i + }.up"), "", "expected"),
        (GOOD.replace("h.{i}.up", "h.{j}.{k}"), "h.{j}.{k}", "stacked over one letter at most"),
        (GOOD.replace("layers.{i}", "layers.{i+1}"), "i+1", "a hole in this name is a letter"),
        (GOOD.replace(": wte", ": {from: [wte, wpe]}"), "table.weight", "2 tensors of theirs stand beside 1 of ours"),
        (GOOD.replace(": wte", ": {as: a b -> b a}"), "table.weight", "a rule needs `from`"),
        (GOOD.replace(": wte", ": {from: wte, as: a b -> b c}"), "a b", "`a` stands on the left alone"),
        (GOOD.replace(": wte", ": {from: wte, as: a b -> a, b}"), "b", "put quotes around one that has commas"),
        (GOOD.replace(": wte", ": {from: wte, as: 'a b, c -> (a b + c)'}"), "a b, c", "2 patterns for 1 of theirs"),
        (GOOD.replace(": wte", ": {from: wte, as: a b -> b a}"), "b", "`b` is 8 by its names, and 10 in the tensor"),
        (GOOD.replace(": wte", ": {from: wte, as: a b -> a b, sizes: {c: 3}}"), "c", "`c` is no axis of the operator"),
        (GOOD.replace(": wte", ": {from: wte, as: a b -> a b, sizes: {a: hf.kinds}}"), "a", "no whole number"),
        (GOOD.replace(": wte", ": {from: wte, when: hf.heads}"), "hf.heads", "`when` is true or false"),
        (GOOD.replace(": wte", ": {from: wte, when: hf.headz}"), "hf.headz", "did you mean `hf.heads`?"),
    ],
)
def test_faults_are_told_at_their_place(tmp_path: Path, rules: str, place: str, said: str) -> None:
    with pytest.raises(FamilyError) as caught:
        moved(tmp_path, rules)
    met = [each for each in caught.value.problems if said in str(each)]
    assert met, str(caught.value)
    span = met[0].span
    assert span is not None
    assert span.source.name == str(tmp_path / "tiny.yaml")
    assert span.text[span.column - 1 :].lstrip("'\"").startswith(place), (span.column, str(met[0]))


def test_a_shape_that_does_not_fit_shows_both(tmp_path: Path) -> None:
    with pytest.raises(FamilyError) as caught:
        moved(tmp_path, GOOD, theirs={**THEIRS, "h.0.up": ("F32", (4, 6)), "h.1.up": ("F32", (4, 6))})
    text = str(caught.value)
    assert "theirs: h.0.up [4, 6]" in text
    assert "ours: layers.0.up.weight [6, 4]" in text
    assert "`as: a b -> b a` transposes" in text
    assert "and 1 more like this" in text
    assert len(caught.value.problems) == 1


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    rules = "weights:\n  tabel.weight: wte\n  layers.{i}.up.weight: h.{i}.upp\n"
    with pytest.raises(FamilyError) as caught:
        moved(tmp_path, rules)
    codes = sorted(each.code for each in caught.value.problems)
    assert codes == ["missing-tensor", "unfilled-tensor", "unmatched-rule", "unused-tensor"]
    assert "h.0.up … h.1.up (2)" in str(caught.value)
