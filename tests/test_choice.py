"""The cheapest backend that can do the work is chosen, and says why."""

from __future__ import annotations

import pytest

from blueprint.choice import BACKENDS, choose
from blueprint.visible import Visible

PLAIN = {"plain": True, "softcap": False, "bias": False, "sinks": False, "dropout": 0.0, "device": "cpu"}
LONG = {"q_len": 4096, "k_len": 4096}
CAUSAL, WINDOW = Visible(ahead=0), Visible(back=255, ahead=0)


@pytest.mark.parametrize(
    ("visible", "changes", "name", "words"),
    [
        (CAUSAL, {}, "sdpa", "no mask held"),
        (Visible(), {}, "sdpa", "no mask held"),
        (CAUSAL, {"plain": False}, "sdpa", "boolean mask"),
        (CAUSAL, {"bias": True}, "sdpa", "the bias as its mask"),
        (CAUSAL, {"softcap": True}, "dense", "softcap"),
        (CAUSAL, {"sinks": True, "softcap": True}, "dense", "softcap and the sinks"),
        (WINDOW, {}, "blocked", "linear in length: causal, window 256"),
        (WINDOW, {"softcap": True, "sinks": True, "bias": True}, "blocked", "linear in length"),
        (WINDOW, {"q_len": 200, "k_len": 200}, "sdpa", "no mask held"),
        (WINDOW, {"q_len": 1}, "sdpa", "boolean mask"),
        (Visible(back=4095, ahead=0), {}, "sdpa", "no mask held"),
        (WINDOW, {"device": "cuda"}, "flex", "causal, window 256"),
        (WINDOW, {"device": "cuda", "dropout": 0.1}, "blocked", "linear in length"),
        (CAUSAL, {"device": "cuda"}, "sdpa", "no mask held"),
    ],
)
def test_the_choice(visible, changes, name, words):
    choice = choose(visible, **(PLAIN | LONG | changes))
    assert choice.name == name
    assert words in choice.reason


@pytest.mark.parametrize(
    ("forced", "changes", "why"),
    [
        ("sdpa", {"softcap": True}, "no softcap"),
        ("sdpa", {"sinks": True}, "no sinks"),
        ("blocked", {}, "no finite window"),
        ("flex", {}, "only on CUDA"),
        ("flex", {"device": "cuda", "bias": True}, "bias"),
        ("fast", {}, "there are flex, blocked, sdpa, dense"),
    ],
)
def test_a_backend_that_cannot_is_refused_with_the_reason(forced, changes, why):
    with pytest.raises(ValueError, match=why):
        choose(CAUSAL, **(PLAIN | LONG | changes), forced=forced)


def test_dense_can_do_everything_and_may_be_asked_for():
    for device in ("cpu", "cuda", "meta"):
        case = PLAIN | LONG | {"softcap": True, "bias": True, "sinks": True, "dropout": 0.1, "device": device}
        assert choose(CAUSAL, **case, forced="dense").reason == "asked for"
    assert BACKENDS[-1].name == "dense"
