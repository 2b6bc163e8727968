"""Tokenizers that learn: they learn what their papers say, every field shows, and mistakes are told in words."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blueprint as bp
from blueprint.registry import member
from blueprint.schema.shape import fields
from blueprint_registry.tokenizer._trained import Trained

NAMES = ("bpe", "byte_bpe", "wordpiece", "unigram", "words")
TEXTS = [
    "Low lower lowest, new newer newest: wide wider widest 1234 5678\n",
    "The newest and the widest are lower; Éa été, the  low ones  are not.\n\tdef low(new): return 12",
    "low low low new new new wide wide wide lowlow newnew, e.g. a_b-c",
] * 4


def trained(name: str, folder: Path, texts: list[str] = TEXTS, **said: Any) -> Any:
    """A tokenizer that has learned, as a run holds it."""
    asked: Any = member("tokenizer", name).of({"type": name, "vocab_size": 400, **said})
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(asked.train(texts), encoding="utf-8")
    return asked.of({**asked.to_plain(), "path": str(path)})


@pytest.fixture(scope="module")
def byte_bpe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained("byte_bpe", tmp_path_factory.mktemp("trained"))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_from_bytes(byte_bpe: Any, text: str) -> None:
    assert byte_bpe.decode(byte_bpe.encode(text)) == text == byte_bpe.normal(text)


def test_the_first_pairs_joined_are_the_most_frequent(tmp_path: Path) -> None:
    """Sennrich et al., 2016, Figure 1, with the mark at the beginning of a word."""
    text = "low " * 5 + "lower " * 2 + "newest " * 6 + "widest " * 3
    made = json.loads(Path(trained("bpe", tmp_path, [text], split="whitespace").path).read_text())
    merges = ["".join(pair) for pair in made["model"]["merges"]]
    assert merges[:2] == ["es", "est"]  # nine times each, before the seven of `lo`
    assert merges.index("lo") < merges.index("▁newest")


def test_pieces_of_a_word_are_the_longest_from_its_beginning(tmp_path: Path) -> None:
    made = trained("wordpiece", tmp_path)
    names = {number: token for token, number in made.content.ids.items()}
    pieces = [names[int(i)] for i in made.encode("widelow")]
    rest = "widelow"
    for at, piece in enumerate(pieces):
        assert piece.startswith("##") == (at > 0)
        longest = max(
            (token.removeprefix("##") for token in made.content.ids if token.startswith("##") == (at > 0)),
            key=lambda token: len(token) if rest.startswith(token) else -1,
        )
        assert piece.removeprefix("##") == longest
        rest = rest.removeprefix(longest)
    assert not rest


def test_a_word_takes_its_likeliest_pieces(tmp_path: Path) -> None:
    made = trained("unigram", tmp_path, vocab_size=60)
    score = dict(map(tuple, json.loads(Path(made.path).read_text())["model"]["vocab"]))
    names = {number: token for token, number in made.content.ids.items()}

    def best(word: str) -> float:
        if not word:
            return 0.0
        return max(score[word[:n]] + best(word[n:]) for n in range(1, len(word) + 1) if word[:n] in score)

    for word in ("newest", "lower", "widest"):
        found = sum(score[names[int(i)]] for i in made.encode(word))
        assert found == pytest.approx(best(f"▁{word}"), abs=1e-6)


def test_words_are_known_by_frequency_and_others_are_not(tmp_path: Path) -> None:
    made = trained("words", tmp_path, ["b b b a a c, c"], vocab_size=5, pad=None)
    assert made.content.ids == {"<unk>": 0, "</s>": 1, "b": 2, "a": 3, "c": 4}
    assert made.encode("a x, b").tolist() == [3, 0, 0, 2]
    assert made.decode(made.encode("a b")) == "a b"
    digits = trained("words", tmp_path, ["a1b22"], split="pattern", pattern=r"\d+")
    assert digits.normal("a1b22") == "1 22"
    assert trained("words", tmp_path, ["a,b c"], split="whitespace").normal("a,b  c") == "a,b c"
    assert trained("words", tmp_path, ["a,b c"]).normal("a,b  c") == "a , b c"


def test_what_is_lost_of_a_text_is_declared(tmp_path: Path) -> None:
    text = "Éa  été, the low.  "
    plain = trained("bpe", tmp_path)
    assert plain.decode(plain.encode(text)) == plain.normal(text) == text
    cut = trained("bpe", tmp_path, split="words")
    assert cut.decode(cut.encode(text)) == cut.normal(text) == "Éa été , the low ."
    bare = trained("wordpiece", tmp_path, normalization=["nfd", "strip_accents", "lowercase"])
    assert bare.decode(bare.encode(text)) == bare.normal(text) == "ea ete , the low ."


@pytest.mark.parametrize("name", NAMES)
def test_words_are_told_by_their_tokens(name: str, tmp_path: Path) -> None:
    made = trained(name, tmp_path)
    begins = made.begins_word()
    assert begins.shape == (400,)
    ids = made.encode("new lower widest")
    assert int(begins[ids].sum()) + (not begins[ids[0]]) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_template_stands_around_documents_and_before_prompts(name: str, tmp_path: Path) -> None:
    roles = {"cls": "[CLS]", "sep": "[SEP]", "eos": "[SEP]", "template": "[CLS] $A [SEP]"}
    made = trained(name, tmp_path, **roles)
    text = made.encode("new low").tolist()
    begin, end = made.special("cls"), made.eos_id
    assert made.document("new low").tolist() == [begin, *text]  # the end follows every document anyway
    assert made.prompt("new low").tolist() == [begin, *text]
    assert made.sentences(["new low"])["input_ids"].tolist() == [[begin, *text, end]]
    other = trained(name, tmp_path, **{**roles, "eos": "<end>"})
    assert other.document("new").tolist() == [other.special("cls"), *other.encode("new").tolist(), other.special("sep")]


#: Another value of every field, and what it shows beside.
KNOBS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vocab_size": ({"vocab_size": 300}, {}),
    "normalization": ({"normalization": ["lowercase"]}, {}),
    "template": ({"template": "[CLS] $A"}, {"cls": "[CLS]"}),
    **{role: ({role: "<other>"}, {}) for role in ("pad", "unk", "bos", "cls", "sep", "mask", "eos")},
    "extra": ({"extra": ["<0>", "<1>"]}, {}),
    "sentinels": ({"sentinels": 3}, {}),
    "min_frequency": ({"min_frequency": 30}, {}),
    "bpe.split": ({"split": "words"}, {}),
    "words.split": ({"split": "whitespace"}, {}),
    "byte_bpe.pattern": ({"pattern": "[a-z]"}, {}),
    "words.pattern": ({"pattern": "[a-z]"}, {"split": "pattern", "pattern": "[A-Z]"}),
    "longest": ({"longest": 2}, {}),
    "shrink": ({"shrink": 0.2}, {"vocab_size": 150}),
    "rounds": ({"rounds": 8}, {"vocab_size": 150}),
}


@pytest.mark.parametrize(
    ("name", "key"),
    [(name, key) for name in NAMES for key in fields(member("tokenizer", name)) if key != "path"],
    ids=lambda word: word,
)
def test_every_field_changes_what_is_learned(name: str, key: str, tmp_path: Path) -> None:
    def shown(**said: Any) -> Any:
        texts = [*TEXTS, inspect.getsource(textwrap)]  # long enough to have pieces to drop
        made = trained(name, tmp_path, texts, **said)
        ids = [made.document(text).tolist() for text in texts]
        return made.content.ids, ids, made.vocab_size, [made.special(role) for role in ("pad", "unk", "mask", "eos")]

    change, beside = KNOBS.get(f"{name}.{key}") or KNOBS[key]
    assert shown(**beside) != shown(**{**beside, **change})


@pytest.mark.parametrize("name", NAMES)
def test_learning_is_the_same_in_another_process(name: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom blueprint.registry import member\n"
        f"made = member('tokenizer', {name!r}).of({{'type': {name!r}, 'vocab_size': 400}})\n"
        f"sys.stdout.buffer.write(made.train({TEXTS!r}).encode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode() == Path(trained(name, tmp_path).path).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_sentinels_are_known_before_and_after_training(name: str, tmp_path: Path) -> None:
    before = member("tokenizer", name).of({"type": name, "vocab_size": 400, "extra": ["<0>"], "sentinels": 3})
    after = trained(name, tmp_path, extra=["<0>"], sentinels=3)
    last = before.id_of("<0>")
    assert before.sentinel_ids == after.sentinel_ids == (last + 1, last + 2, last + 3)
    assert after.encode("<extra_id_1>").tolist() == [last + 2]
    assert set(after.sentinel_ids) <= set(after.special_ids)


SPEC = """
model: {type: encoder, d_model: 32, layers: 1, max_length: 32, block: {attention: {heads: 2}}}
tokenizer: {type: bpe, vocab_size: 400}
"""


def refusal(*overrides: str) -> Any:
    with pytest.raises(bp.SpecError) as refused:
        bp.loads(SPEC, overrides=[f"tokenizer.{each}" for each in overrides])
    (problem,) = refused.value.problems
    return problem


def test_before_training_sizes_and_special_tokens_are_known() -> None:
    spec = bp.loads(SPEC)
    made: Any = spec.tokenizer
    assert spec.vocab_size == 400 == bp.plan(spec).site.vocab_size
    assert (made.untrained, made.pad_id, made.eos_id, made.mask_id) == (True, 0, 2, None)
    with pytest.raises(ValueError, match="not trained yet"):
        made.encode("a")
    assert isinstance(made, Trained)


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    assert "after `nfd`" in refusal("normalization=[strip_accents]").message
    assert "said twice" in refusal("normalization=[nfc, nfc]").message
    assert "no special token" in refusal("template='[CLS] $A'").message
    assert "around one `$A`" in refusal("template='</s>'").message
    assert "already" in refusal("extra=['</s>']").message
    assert "without spaces" in refusal("mask='a b'").message
    assert "does not exist" in refusal("path=nowhere.json").message
    assert "need 257 ids" in refusal("type=byte_bpe", "vocab_size=200").message
    assert "needs a `pattern`" in refusal("type=words", "vocab_size=9", "split=pattern").message
    assert "does nothing" in refusal("type=words", "vocab_size=9", "pattern=a").message
    path = trained("bpe", tmp_path).path
    found = refusal(f"path={path}", "vocab_size=20")
    assert "tokens, `vocab_size` says 20" in found.message


@pytest.mark.parametrize(
    ("name", "said", "texts", "message"),
    [
        ("bpe", {"vocab_size": 10}, TEXTS, "`vocab_size` says 10"),
        ("wordpiece", {"vocab_size": 10}, TEXTS, "`vocab_size` says 10"),
        ("words", {}, [" "], "nothing to learn"),
        ("byte_bpe", {"pattern": "("}, TEXTS, "no regular expression"),
    ],
)
def test_what_cannot_be_learned_is_told(name: str, said: dict[str, Any], texts: list[str], message: str) -> None:
    asked: Any = member("tokenizer", name).of({"type": name, "vocab_size": 400, **said})
    with pytest.raises(ValueError, match=message):
        asked.train(texts)


def test_without_the_library_a_spec_is_planned_and_the_extra_named() -> None:
    code = (
        "import sys\nsys.modules['tokenizers'] = None\n"
        f"import blueprint as bp\nspec = bp.loads({SPEC!r})\nassert bp.plan(spec).site.vocab_size == 400\n"
        "try: spec.tokenizer.train(['a'])\nexcept ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'blueprint-lightning[tokenizers]'" in done.stdout


def test_ids_that_stand_for_nothing_are_no_words(tmp_path: Path) -> None:
    made = trained("words", tmp_path, ["a b c"])
    assert made.known == 6
    assert made.special_ids == (0, 1, 2, *range(6, 400))
    assert np.all(made.encode("a b c") < 6)
