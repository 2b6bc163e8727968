"""Settings of experts that cannot be meant: each is refused where it stands, with what to say instead."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

import blueprint as bp

#: What a feed-forward says, «what is pointed at» in it, what is told and how it is mended.
CASES: dict[str, tuple[str, str, str]] = {
    "one expert": (
        "experts: «1»",
        "among one expert there is nothing for a router to choose",
        "say 2 or more, or let the `expert` be the feed-forward",
    ),
    "more choices than experts": (
        """
        experts: 4
        router: {type: top_k, k: «5»}""",
        "5 experts cannot be chosen of 4",
        "choose k from 1 to 4",
    ),
    "more choices than experts by default": (
        "experts: 1",
        "2 experts cannot be chosen of 1",
        "choose k from 1 to 1",
    ),
    "groups that do not divide": (
        """
        experts: 8
        router:
          groups: {count: «3», keep: 2}""",
        "8 experts do not divide into 3 groups",
        "choose from 2, 4, 8",
    ),
    "groups that leave none out": (
        """
        experts: 8
        router:
          groups: {count: 4, keep: «4»}""",
        "keeping 4 of 4 groups leaves none out",
        "keep fewer, or leave `groups` out",
    ),
    "too few groups for the choices": (
        """
        experts: 8
        router:
          k: 3
          groups: {count: 4, keep: «1»}""",
        "1 group of 2 experts cannot serve a token with 3",
        "keep 2 groups or more",
    ),
    "groups too small for the choices, however many are kept": (
        """
        experts: 6
        router:
          k: 5
          groups: {count: 3, keep: «2»}""",
        "2 groups of 2 experts cannot serve a token with 5",
        "choose a smaller k, or leave `groups` out",
    ),
    "groups that leave no choice out": (
        """
        experts: 12
        router:
          k: 2
          groups: {count: 4, keep: «3»}""",
        "a token's 2 best experts stand in its best groups: keeping 3 leaves none of them out, and nothing else here "
        "counts by groups",
        "leave `groups` out, or keep fewer than 2",
    ),
    "groups that leave a single choice in": (
        """
        experts: 8
        router:
          k: 1
          groups: {count: 4, keep: «1»}
        balance: expert""",
        "a token's best expert stands in its best group: keeping 1 leaves none of them out, and nothing else here "
        "counts by groups",
        "leave `groups` out",
    ),
    "groups without a best two": (
        """
        experts: 4
        router:
          groups: {count: 4, keep: 2, by: «top2_sum»}""",
        "4 groups of 4 experts have one each, and not a best two",
        "say `by: max`, or choose fewer groups",
    ),
    "a capacity of no size": (
        """
        experts: 4
        «capacity»: {}""",
        "the room of an expert is not said",
        "say `factor`, such as 1.25, or `tokens`",
    ),
    "a capacity of two sizes": (
        """
        experts: 4
        capacity: {factor: 1.25, tokens: «3»}""",
        "the room of an expert is said twice",
        "say `factor` or `tokens`",
    ),
    "a capacity below 1 that may drop nothing": (
        """
        experts: 4
        capacity:
          factor: «0.5»
          overflow: reroute""",
        "a capacity of 0.5 has no place for every choice, wherever it is sent",
        "say 1 or more, or `overflow: drop`",
    ),
    "a capacity that is never reached": (
        """
        experts: 4
        capacity:
          factor: «2»""",
        "a capacity of 2 leaves every expert room for all that can come: it does nothing",
        "say less than 2, or leave `capacity` out",
    ),
    "a capacity over all experts at once": (
        """
        experts: 4
        router: {k: 4}
        capacity: {factor: «1.0»}""",
        "a capacity of 1 leaves every expert room for all that can come: it does nothing",
        "say less than 1, or leave `capacity` out",
    ),
    "a capacity of groups that is never reached": (
        """
        experts: 8
        router: {k: 3, groups: {count: 4, keep: 2}}
        capacity: {factor: «3», per: group}""",
        "a capacity of 3 leaves every group room for all that can come: it does nothing",
        "say less than 2.66667, or leave `capacity` out",
    ),
    "room by groups that are not there": (
        """
        experts: 4
        capacity: {factor: 1, per: «group»}""",
        "router `top_k` has no groups here",
        "say `groups` of a `top_k` router, or `per: expert`",
    ),
    "first choices where there are no others": (
        """
        experts: 4
        router: {k: 1}
        capacity: {factor: 1, keep: «first_choices»}""",
        "with one choice a token `first_choices` is `first`",
        "say `keep: first`",
    ),
    "a second choice by chance where there is none": (
        """
        experts: 4
        router: {k: 1, sure_from: «0.5»}""",
        "with k: 1 there is no choice after the first",
        "leave it out, or say `k: 2`",
    ),
    "experts that choose under a causal decoder": (
        """
        experts: 4
        router: «expert_choice»""",
        "here tokens may not depend on later ones, but router `expert_choice` looks ahead: an expert takes the best of "
        "all tokens, so a later one can push an earlier one out",
        "say `router: top_k`, in which tokens choose; or use it in an encoder",
    ),
    "a capacity beside experts that choose": (
        """
        experts: 4
        router: expert_choice
        «capacity»: {factor: 1}""",
        "with router `expert_choice` experts choose as many tokens as they have room for",
        "leave `capacity` out, or choose another router",
    ),
    "sending on what is not weighed": (
        """
        experts: 4
        router: hash
        capacity: {factor: 1, overflow: «reroute»}""",
        "router `hash` does not weigh other experts than those it chose",
        "say `overflow: drop`, or a `top_k` router",
    ),
    "a balance of what is not chosen by probability": (
        """
        experts: 4
        router: hash
        balance: «expert»""",
        "balance `expert` needs probabilities that experts are chosen by, which router `hash` does not give here",
        "leave the balance out, or say `router: top_k`",
    ),
    "one of several balances, a map": (
        """
        experts: 4
        router: soft
        balance: [z, «{type: expert}»]""",
        "balance `expert` needs probabilities that experts are chosen by, which router `soft` does not give here",
        "leave the balance out, or say `router: top_k`",
    ),
    "one of several balances": (
        """
        experts: 4
        router: soft
        balance: [importance, «load»]""",
        "balance `load` needs the chance of each expert's being chosen under noise, which router `soft` does not give "
        "here",
        "say `router: noisy_top_k`, or choose another balance",
    ),
    "experts inside an expert": (
        """
        experts: 4
        «expert»:
          type: experts
          experts: 2""",
        "an expert cannot choose among experts of its own: it is given tokens of many texts, and no texts",
        "say more and smaller `experts`; `groups` of the router choose in two steps",
    ),
    "first choices alone where there are no others": (
        """
        experts: 4
        router: {k: 1}
        balance: {type: expert, choices: «first»}""",
        "with one choice a token the first is all there are",
        "leave `choices` out",
    ),
    "a gate on nothing": (
        """
        experts: 4
        shared_gate: «true»""",
        "there is nothing shared to gate",
        "say `shared`, or leave `shared_gate` out",
    ),
    "a list of no balances": (
        """
        experts: 4
        balance: «[]»""",
        "an empty list names no balance",
        "say `balance: null`, or leave it out",
    ),
}


def refused(said: str) -> tuple[str, bp.SpecError]:
    """The text of a spec with that feed-forward, and how it is refused."""
    block = textwrap.indent(textwrap.dedent(said).strip(), "      ")
    text = f"""
model:
  type: decoder
  d_model: 32
  layers: 2
  max_length: 32
  vocab_size: 61
  block:
    attention: {{heads: 4}}
    feed_forward:
      type: experts
{block}
"""
    with pytest.raises(bp.SpecError) as caught:
        bp.loads(text.replace("«", "").replace("»", ""))
    return text, caught.value


@pytest.mark.parametrize("words", CASES)
def test_a_bad_setting_is_refused_where_it_stands(words: str) -> None:
    said, message, fix = CASES[words]
    text, error = refused(said)
    found = {problem.message: problem for problem in error.problems}
    assert message in found, str(error)
    problem = found[message]
    assert problem.fix == fix
    assert problem.span is not None
    if "«" in text:
        before, _, after = text.partition("«")
        assert problem.span.line == before.count("\n") + 1
        assert problem.span.column == len(before) - before.rfind("\n")
        assert problem.span.length == len(after.partition("»")[0])
        # What is wrong by itself may be wrong beside something else too.
        assert len(error.problems) == 1 or words in ("one expert", "a capacity beside experts that choose"), str(error)


def test_all_experts_for_every_token_are_allowed() -> None:
    """k of k is a mixture of all, though not of a kind that saves work."""
    said = {"experts": 3, "router": {"type": "top_k", "k": 3, "renormalise": True}}
    block = {"attention": {"heads": 4}, "feed_forward": {"type": "experts", **said}}
    model = {"type": "decoder", "d_model": 32, "layers": 1, "max_length": 32, "vocab_size": 61, "block": block}
    assert bp.load({"model": model})


@pytest.mark.parametrize(
    "reads",
    [
        {"balance": "device"},
        {"balance": ["expert", "communication"]},
        {"capacity": {"factor": 0.5, "per": "group"}},
        {"router": {"k": 2, "groups": {"count": 4, "keep": 2, "by": "top2_sum"}}},
    ],
)
def test_groups_that_something_reads_may_leave_no_choice_out(reads: dict[str, Any]) -> None:
    said = {"type": "experts", "experts": 8, "router": {"k": 2, "groups": {"count": 4, "keep": 2}}, **reads}
    block = {"attention": {"heads": 4}, "feed_forward": said}
    model = {"type": "decoder", "d_model": 32, "layers": 1, "max_length": 32, "vocab_size": 61, "block": block}
    assert bp.load({"model": model})


def test_what_is_shared_may_be_experts() -> None:
    shared = {"type": "experts", "experts": 2, "router": "soft"}
    block = {"attention": {"heads": 4}, "feed_forward": {"type": "experts", "experts": 4, "shared": shared}}
    model = {"type": "decoder", "d_model": 32, "layers": 1, "max_length": 32, "vocab_size": 61, "block": block}
    assert bp.load({"model": model})
