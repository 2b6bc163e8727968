"""Specs by lot: none may be refused without a reason and its place, and none that is accepted may fail later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import blueprint as bp
from tests.random_lots import PLUGINS, own_components, seeded, specs
from tests.random_specs import Broken, try_spec

#: How many quick ones there are in a run of all tests, and how many slow ones besides.
QUICK, MANY = 300, 5000
#: The share of the quick ones of which the whole cost is measured; of the slow ones it is of all.
COSTED = 0.25
BECAME: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _own_components() -> Iterator[None]:
    with own_components():
        yield


# Hypothesis finds; what makes it small is done on the spec itself, and ends after a time that is set.
@settings(
    max_examples=QUICK,
    phases=(Phase.generate,),
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(said=specs())
def test_specs_by_lot(said: dict[str, Any]) -> None:
    """Each is refused with reasons and places, or does all that a spec must do."""
    try:
        BECAME[try_spec(said, COSTED)] += 1
    except Broken as broken:
        raise broken.smallest(20) from None


def test_most_specs_by_lot_are_run() -> None:
    """A test of refusals alone would say little."""
    test_specs_by_lot() if not BECAME else None
    assert BECAME["held"] > QUICK / 3, BECAME
    assert BECAME["refused"] > QUICK / 20, BECAME
    assert BECAME["large"] > QUICK / 20, BECAME


@pytest.mark.slow
def test_many_specs_by_lot() -> None:
    """The same of very many others; `python -m tests.random_specs` does not stop at the first that fails."""
    became: Counter[str] = Counter()
    for number in range(MANY):
        try:
            became[try_spec(seeded(number))] += 1
        except Broken as broken:
            raise AssertionError(f"the spec of number {number}: {broken.smallest()}") from None
    assert became["held"] > MANY / 3, became


def test_what_is_a_users_own_is_among_them() -> None:
    """Components of every file of a user's own are drawn, and their files said."""
    said = [seeded(number) for number in range(100)]
    assert {path for each in said for path in each.get("plugins", [])} == {str(path) for path in PLUGINS}


BLOCK = {"d_model": 32, "layers": 2, "max_length": 32, "vocab_size": 61}
HEADS: dict[str, Any] = {"type": "multi_head", "heads": 4}
PATCHES = {"image_size": 12, "patch_size": 4}


def decoder(**attention: Any) -> dict[str, Any]:
    """A small decoder of an attention."""
    return {"model": {"type": "decoder", **BLOCK, "block": {"attention": {**HEADS, **attention}}}}


#: What the lot once found; each was mended at its root.
FOUND: dict[str, dict[str, Any]] = {
    "scores times 0 are NaN where a kernel hides keys by minus infinity": decoder(scale=0.0, backend="sdpa"),
    "so are scores times less": decoder(scale=-1.0),
    "the cost of a norm of its own for every head is unknown": decoder(
        qk_norm={"over": "heads", "norm": {"type": "layer", "bias": False}}
    ),
    "variants left half a norm of a cross-attention that is not there": {
        "model": {
            "type": "encoder",
            **BLOCK,
            "block": {"attention": HEADS, "cross_attention_norm": {"type": "layer", "offset": 1}},
            "blocks": {"other": {"cross_attention_norm": {"bias": False}}},
            "pattern": ["block", "other"],
        }
    },
    "a number of the comparison of two towers that is none was not the reader's to find": {
        "model": {
            "type": "dual_encoder",
            "text": {**BLOCK, "block": {"attention": HEADS}},
            "image": {"d_model": 32, "layers": 1, "block": {"attention": HEADS}, "embedding": PATCHES},
            "contrast": {"width": "sqrt(d_model)"},
        }
    },
    "tokens times 0 leave a stream of nothing, whose gradients overflow": {
        "model": {**decoder()["model"], "embedding": {"scale": 0.0}},
        "optimizer": "adafactor",
    },
    "a decoder whose only block that reads the memory is used by no layer": {
        "model": {
            "type": "encoder_decoder",
            **BLOCK,
            "block": {"attention": HEADS},
            "overrides": {"0": {"cross_attention": None}, "1": {"cross_attention": None}},
        }
    },
    "a number that is not known has no form to be told in": decoder(position={"fraction": "d_model", "width": 4}),
    "a base that grows divides by the frequencies beside the first": decoder(
        position={"width": 2, "scaling": {"type": "dynamic", "factor": 2.0, "original_length": 6}}
    ),
    "adafactor divides by squares of gradients alone": {**decoder(), "optimizer": {"type": "adafactor", "eps": 0.0}},
    "logits times 0 learn nothing": {"model": {**decoder()["model"], "head": {"scale": 0.0}}, "optimizer": "sgd"},
    "one word is foretold without a model": {
        "model": {**decoder()["model"], "vocab_size": None},
        "tokenizer": {"type": "wordpiece", "vocab_size": 1},
        "optimizer": "adafactor",
    },
    "the feed-forward of a pool has something to tell": {
        "model": {
            "type": "encoder",
            **BLOCK,
            "block": {"attention": HEADS},
            "head": {
                "type": "classification",
                "labels": 3,
                "over": {
                    "type": "attention",
                    "heads": 4,
                    "feed_forward": {"type": "experts", "experts": 4, "balance": "expert"},
                },
            },
        }
    },
    "decoding was held against the whole of another source": {
        "model": {
            "type": "encoder_decoder",
            **BLOCK,
            "block": {"attention": {**HEADS, "position": {"scaling": {"type": "dynamic", "factor": 2.0}}}},
            "max_length": 8,
        }
    },
}


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_stays_mended(found: str) -> None:
    """A spec that once failed is refused with a reason, or holds."""
    try_spec(FOUND[found])


def test_a_size_that_may_be_null_is_reckoned_like_any() -> None:
    """The lot found 5.66 channels, of which five were made: an expression is a whole number, and the same as it."""

    def model(width: int | str) -> dict[str, Any]:
        return {"model": {"type": "decoder", **BLOCK, "block": {"attention": HEADS}, "embedding": {"width": width}}}

    assert bp.plan(bp.load(model("d_model / 4"))).hash == bp.plan(bp.load(model(8))).hash
    with pytest.raises(bp.SpecError, match="width must be a whole number"):
        bp.load(model("sqrt(d_model)"))
