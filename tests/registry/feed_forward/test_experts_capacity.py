"""Room at experts: who gets a place, against papers' algorithms as plain loops, and what it means in a model."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from blueprint.component import Site
from blueprint.ops import Flow, Routing
from blueprint_registry.feed_forward.experts import Experts
from blueprint_registry.feed_forward.experts_nn import ExpertsFeedForward
from blueprint_registry.router.top_k import TopK

WIDTH, EXPERTS, BATCH, LENGTH = 16, 6, 3, 20
SITE = Site(d_model=WIDTH, width=WIDTH)
GROUPS = {"count": 3, "keep": 2}
KEEPS = ("first", "first_choices", "best", "best_tokens")


def experts(
    capacity: dict[str, Any] | None, experts: int = EXPERTS, balance: Any = None, **router: Any
) -> ExpertsFeedForward:
    """Experts that draw lots unevenly, so that some are crowded."""
    said = {"experts": experts, "expert": {"type": "gated", "d_ff": 8}, "router": {"type": "top_k", **router}}
    part = Experts.of({"type": "experts", **said, "balance": balance, "capacity": capacity}).filled(SITE)
    assert not list(part.check(SITE))
    torch.manual_seed(0)
    made: ExpertsFeedForward = part.build(SITE)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


def tokens(seed: int = 1) -> Tensor:
    """Tokens that lean one way, so that some experts are liked better."""
    return torch.randn(BATCH, LENGTH, WIDTH, generator=torch.Generator().manual_seed(seed)) + 0.3


def routed(made: ExpertsFeedForward, x_BTD: Tensor, flow: Flow) -> tuple[Routing, Routing]:
    """What the router asks for, and what is served of it."""
    asked = made.router(x_BTD, flow).kept(flow.keep_BT)
    assert made.places is not None
    return asked, made.places(asked, flow, made.router.weigh)


def served(expert_NK: Tensor) -> list[list[int]]:
    found: list[list[int]] = expert_NK.tolist()
    return found


def waiting(asked: Routing, keep: str, rows: int, over: str) -> Iterator[list[tuple[int, int]]]:
    """The choices (token, which) of those that compete, in the order in which they get places."""
    count = len(asked.expert_NK) // rows
    weight = asked.weight_NK.detach()
    for row in range(rows if over == "sequence" else 1):
        names = range(row * count, (row + 1) * count) if over == "sequence" else range(rows * count)
        choices = list(itertools.product(names, range(asked.expert_NK.shape[1])))
        choices = [(n, k) for n, k in choices if asked.expert_NK[n, k] < asked.experts]
        by = {
            "first": lambda n, k: (),
            "first_choices": lambda n, k: (k,),
            "best": lambda n, k: (-weight[n, k].item(),),
            "best_tokens": lambda n, k: (k, -weight[n].max().item()),
        }[keep]
        yield sorted(choices, key=lambda each: by(*each))


def fill(asked: Routing, order: list[tuple[int, int]], room: int, size: int) -> set[tuple[int, int]]:
    """Those of the choices that find a place, one after the other, in groups of so many experts."""
    used: Counter[int] = Counter()
    placed = set()
    for n, k in order:
        group = int(asked.expert_NK[n, k]) // size
        if used[group] < room:
            used[group] += 1
            placed.add((n, k))
    return placed


MASKS = {
    "whole": None,
    "padded": [[1] * LENGTH, [0] * 7 + [1] * (LENGTH - 7), [1] * 11 + [0] * (LENGTH - 11)],
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("over", "per"), itertools.product(("sequence", "batch"), ("expert", "group")))
@pytest.mark.parametrize("keep", KEEPS)
def test_places_are_given_one_after_the_other(keep: str, over: str, per: str, mask: str) -> None:
    said = MASKS[mask]
    factor, choices = 0.7, 2
    made = experts({"factor": factor, "keep": keep, "over": over, "per": per}, k=choices, groups=GROUPS)
    flow = Flow.of(BATCH, LENGTH, attention_mask=None if said is None else torch.tensor(said))
    asked, got = routed(made, tokens(), flow)
    buckets = GROUPS["count"] if per == "group" else EXPERTS
    placed: set[tuple[int, int]] = set()
    for order in waiting(asked, keep, BATCH, over):
        room = math.ceil(Fraction(7, 10) * choices * len({n for n, _ in order}) / buckets)
        placed |= fill(asked, order, room, EXPERTS // buckets)
    expected = [
        [int(e) if (n, k) in placed else EXPERTS for k, e in enumerate(row)] for n, row in enumerate(asked.expert_NK)
    ]
    assert served(got.expert_NK) == expected
    assert 0 < len(placed) < int((asked.expert_NK < EXPERTS).sum())
    torch.testing.assert_close(got.weight_NK, torch.where(got.expert_NK < EXPERTS, asked.weight_NK, 0.0))


def test_switch_keeps_the_tokens_that_the_transformers_library_keeps() -> None:
    """So many tokens of each row, in evaluation too, and the same outputs."""
    from transformers.models.switch_transformers.modeling_switch_transformers import (
        SwitchTransformersConfig,
        SwitchTransformersSparseMLP,
    )

    config = SwitchTransformersConfig(d_model=WIDTH, d_ff=24, num_experts=EXPERTS, expert_capacity=4)
    theirs = SwitchTransformersSparseMLP(config).eval()
    said = {"expert": {"type": "mlp", "d_ff": 24, "activation": "relu"}, "router": {"type": "top_k", "k": 1}}
    capacity = {"tokens": 4, "at_inference": True}
    part = Experts.of({"type": "experts", "experts": EXPERTS, **said, "capacity": capacity}).filled(SITE)
    ours = part.build(SITE).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.4)
        ours.router.logits.weight.copy_(theirs.router.classifier.weight)
        each = [theirs.experts[f"expert_{i}"] for i in range(EXPERTS)]
        ours.experts.up.weight.copy_(torch.stack([one.wi.weight for one in each]))
        ours.experts.down.weight.copy_(torch.stack([one.wo.weight for one in each]))
    x_BTD, flow = tokens(), Flow.of(BATCH, LENGTH)
    chosen_BTE, _, _ = theirs.router(x_BTD)
    _, got = routed(ours, x_BTD, flow)
    kept_N = got.expert_NK[:, 0] < EXPERTS
    assert torch.equal(kept_N, chosen_BTE.sum(-1).flatten() > 0)
    assert torch.equal(got.expert_NK[kept_N, 0], chosen_BTE.flatten(0, 1).argmax(-1)[kept_N])
    assert 0 < kept_N.sum() < len(kept_N)
    torch.testing.assert_close(ours(x_BTD, flow)[0], theirs(x_BTD), rtol=1e-5, atol=1e-5)


def test_gshard_is_its_algorithm() -> None:
    """GShard's Algorithm 1 (Lepikhin et al., 2020) over each row, a second choice that is not made taking no place."""
    made = experts({"factor": 0.8, "keep": "first_choices"}, k=2, renormalise=True, sure_from=0.5).train()
    x_BTD, flow = tokens(), Flow.of(BATCH, LENGTH)
    torch.manual_seed(5)
    _, got = routed(made, x_BTD, flow)
    torch.manual_seed(5)
    lot_BT = torch.rand(BATCH * LENGTH, 2)[:, 1].unflatten(0, (BATCH, LENGTH))
    gates = torch.zeros(BATCH, LENGTH, EXPERTS)
    g_BTE = made.router.logits(x_BTD).softmax(-1).detach()
    room = math.ceil(0.8 * 2 * LENGTH / EXPERTS)
    for row in range(BATCH):
        used = [0] * EXPERTS
        best = [g_BTE[row, s].topk(2) for s in range(LENGTH)]
        for s in range(LENGTH):
            (g1, g2), (e1, _) = best[s].values.tolist(), best[s].indices.tolist()
            if used[e1] < room:
                gates[row, s, e1] = g1 / (g1 + g2)
                used[e1] += 1
        for s in range(LENGTH):
            (g1, g2), (_, e2) = best[s].values.tolist(), best[s].indices.tolist()
            g2 = g2 / (g1 + g2)
            if 2 * g2 > lot_BT[row, s] and used[e2] < room:
                gates[row, s, e2] = g2
                used[e2] += 1
    found = torch.zeros(BATCH * LENGTH, EXPERTS + 1).scatter_add_(1, got.expert_NK, got.weight_NK.detach())
    torch.testing.assert_close(found[:, :-1], gates.flatten(0, 1))
    made_all = experts({"factor": 0.8, "keep": "first_choices"}, k=2, renormalise=True).train()
    assert (got.expert_NK == EXPERTS).sum() > (routed(made_all, x_BTD, flow)[1].expert_NK == EXPERTS).sum() > 0


def test_a_choice_after_the_first_is_made_as_often_as_it_weighs() -> None:
    torch.manual_seed(0)
    router = TopK(k=3, sure_from=0.4).build(SITE.child("router", extra={"experts": EXPERTS})).train()
    x_BTD = torch.randn(1, 1, WIDTH).expand(1, 20_000, WIDTH)
    routing = router(x_BTD, Flow.of(1, 20_000))
    made_K = (routing.expert_NK < EXPERTS).float().mean(0)
    weight_K = router.eval()(x_BTD[:, :1], Flow.of(1, 1)).weight_NK[0]
    assert weight_K[1] < 0.4
    expected = torch.cat([torch.ones(1), weight_K[1:] / 0.4])
    torch.testing.assert_close(made_K, expected, rtol=0, atol=0.02)
    assert router(x_BTD, Flow.of(1, 20_000)).whole


def test_a_lost_choice_leaves_what_the_others_weigh() -> None:
    made = experts({"factor": 0.5}, k=2, renormalise=True).train()
    _, got = routed(made, tokens(), Flow.of(BATCH, LENGTH))
    sums = got.weight_NK.sum(1)
    assert ((sums > 0.01) & (sums < 0.99)).any()


ROUTERS: list[dict[str, Any]] = [{"k": 1}, {"k": 3, "renormalise": True}, {"k": 2, "over": "chosen", "bias": True}]


@pytest.mark.parametrize("per", ["expert", "group"])
@pytest.mark.parametrize(
    ("router", "keep"),
    [(router, keep) for router in ROUTERS for keep in (KEEPS if router["k"] > 1 else ("first", "best"))],
)
def test_what_finds_no_place_goes_to_the_next_best_in_rounds(router: dict[str, Any], keep: str, per: str) -> None:
    """As the loop does: every choice left names the best expert with room that its token has not got, two of a token
    two; then they take places in order."""
    groups = GROUPS if per == "group" else None
    made = experts({"factor": 1.0, "overflow": "reroute", "keep": keep, "per": per}, groups=groups, **router).train()
    asked, got = routed(made, tokens(), Flow.of(BATCH, LENGTH))
    assert asked.score_NE is not None
    buckets = GROUPS["count"] if per == "group" else EXPERTS
    size, room = EXPERTS // buckets, math.ceil(router["k"] * LENGTH / buckets)
    expert = asked.expert_NK.clone()
    lost = []
    for order in waiting(asked, keep, BATCH, "sequence"):
        placed = fill(asked, order, room, size)
        while True:
            used = Counter(int(expert[n, k]) // size for n, k in placed)
            wishes = []
            for n in dict.fromkeys(n for n, _ in order):
                has = {int(expert[n, k]) for k in range(router["k"]) if (n, k) in placed}
                free = [
                    e for e in range(EXPERTS) if e not in has and used[e // size] < room and asked.score_NE[n, e] > -1e9
                ]
                free.sort(key=lambda e: -asked.score_NE[n, e].item())
                left = [k for k in range(router["k"]) if (n, k) not in placed]
                wishes += [((n, k), e) for k, e in zip(left, free, strict=False)]
            if not wishes:
                break
            wish = dict(wishes)
            for n, k in order:
                if (n, k) in wish and used[wish[n, k] // size] < room:
                    used[wish[n, k] // size] += 1
                    expert[n, k] = wish[n, k]
                    placed.add((n, k))
        lost += [each for each in order if each not in placed]
    weight = made.router.weigh(asked, expert)
    for n, k in lost:
        expert[n, k], weight[n, k] = EXPERTS, 0.0
    assert served(got.expert_NK) == served(expert)
    torch.testing.assert_close(got.weight_NK, weight)
    moved = (expert != asked.expert_NK) & (expert < EXPERTS)
    assert moved.any()
    if router["k"] == 1 and groups is None:
        assert not lost, "with one choice and enough room in all nothing is left over"
    for row in expert.tolist():
        real = [e for e in row if e < EXPERTS]
        assert len(real) == len(set(real))


@pytest.mark.parametrize("score", ["softmax", "sigmoid"])
def test_who_is_sent_on_weighs_what_the_router_says(score: str) -> None:
    made = experts({"factor": 1.0, "overflow": "reroute"}, k=1, score=score, scale=1.5).train()
    x_BTD, flow = tokens(), Flow.of(BATCH, LENGTH)
    asked, got = routed(made, x_BTD, flow)
    logits = made.router.logits(x_BTD).flatten(0, 1)
    score_NE = logits.sigmoid() if score == "sigmoid" else logits.softmax(-1)
    torch.testing.assert_close(got.weight_NK, 1.5 * score_NE.gather(1, got.expert_NK))
    assert (got.expert_NK != asked.expert_NK).any()


def test_what_is_lost_by_chance_is_not_sent_on() -> None:
    said = {"factor": 1.0, "overflow": "reroute"}
    made = experts(said, k=2, renormalise=True, sure_from=0.9).train()
    flow = Flow.of(BATCH, LENGTH, attention_mask=torch.tensor(MASKS["padded"]))
    asked, got = routed(made, tokens(), flow)
    assert flow.keep_BT is not None
    by_chance = (asked.expert_NK == EXPERTS) & flow.keep_BT.flatten()[:, None]
    assert by_chance.any()
    assert (got.expert_NK[asked.expert_NK == EXPERTS] == EXPERTS).all()
    made(tokens(), flow)[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("overflow", ["drop", "reroute"])
def test_padding_takes_no_place_and_makes_no_room(keep: str, overflow: str) -> None:
    made = experts({"factor": 1.0, "keep": keep, "overflow": overflow}, k=2).train()
    x_BTD = tokens()
    alone, _ = made(x_BTD, Flow.of(BATCH, LENGTH))
    filler = torch.ones(BATCH, 9, WIDTH)
    ones, zeros = torch.ones(BATCH, LENGTH), torch.zeros(BATCH, 9)
    left = Flow.of(BATCH, LENGTH + 9, attention_mask=torch.cat([zeros, ones], 1))
    right = Flow.of(BATCH, LENGTH + 9, attention_mask=torch.cat([ones, zeros], 1))
    torch.testing.assert_close(made(torch.cat([filler, x_BTD], 1), left)[0][:, 9:], alone)
    torch.testing.assert_close(made(torch.cat([x_BTD, filler], 1), right)[0][:, :LENGTH], alone)


def changes(said: dict[str, Any], *, rows: bool) -> bool:
    """Whether a token's result while a model learns may change with later tokens, or with other rows."""
    made, flow = experts(said, k=2).train(), Flow.of(BATCH, LENGTH)
    seen = (slice(1), slice(None)) if rows else (slice(None), slice(3 * LENGTH // 4))
    for seed in range(10):
        x_BTD, other_BTD = tokens(seed), tokens(seed + 10)
        other_BTD[seen] = x_BTD[seen]
        if not torch.allclose(made(x_BTD, flow)[0][seen], made(other_BTD, flow)[0][seen]):
            return True
    return False


@pytest.mark.parametrize("overflow", ["drop", "reroute"])
@pytest.mark.parametrize("keep", KEEPS)
def test_later_tokens_crowd_none_out_where_the_first_are_kept(keep: str, overflow: str) -> None:
    said = {"factor": 1.0, "keep": keep, "overflow": overflow}
    assert changes(said, rows=False) == ((keep, overflow) != ("first", "drop"))


@pytest.mark.parametrize("keep", KEEPS)
def test_rows_crowd_each_other_only_over_the_batch(keep: str) -> None:
    assert not changes({"factor": 0.8, "keep": keep}, rows=True)
    # The first row is ahead of all others, unless the best are kept.
    assert changes({"factor": 0.8, "keep": keep, "over": "batch"}, rows=True) == (keep != "first")


def test_room_that_is_just_enough_is_enough() -> None:
    """1.1 · 10 / 11 is 1, though not in floating point: it is not 2."""
    made = experts({"factor": 1.1}, experts=11, k=1).train()
    flow = Flow.of(1, 10)
    _, got = routed(made, torch.ones(1, 10, WIDTH), flow)
    assert (got.expert_NK < 11).sum() == 1
    padded = Flow.of(1, 14, attention_mask=torch.tensor([[1] * 10 + [0] * 4]))
    assert (routed(made, torch.ones(1, 14, WIDTH), padded)[1].expert_NK < 11).sum() == 1


@pytest.mark.parametrize("over", ["sequence", "batch"])
def test_spared_sequences_lose_nothing_in_any_layer(over: str) -> None:
    made = experts({"factor": 0.5, "over": over, "spared": 0.5}, k=2).train()
    batch, x_BTD = 64, torch.randn(64, LENGTH, WIDTH) + 0.3
    flow = Flow.of(batch, LENGTH)
    asked, got = routed(made, x_BTD, flow)
    whole_B = (asked.expert_NK == got.expert_NK).unflatten(0, (batch, LENGTH)).all(2).all(1)
    assert 16 < whole_B.sum() < 48
    again = experts({"factor": 0.4, "over": over, "spared": 0.5}, k=1).train()
    asked, got = routed(again, x_BTD, flow)
    assert torch.equal((asked.expert_NK == got.expert_NK).unflatten(0, (batch, LENGTH)).all(2).all(1), whole_B)
    if over == "batch":  # Half of the choices have taken all room there is.
        room, half = math.ceil(0.4 * batch * LENGTH / EXPERTS), whole_B.repeat_interleave(LENGTH)
        for expert in range(EXPERTS):
            spared = int((asked.expert_NK[half] == expert).sum())
            assert int((got.expert_NK == expert).sum()) <= max(room, spared)
    made.eval()
    asked, got = routed(made, x_BTD, flow)
    assert got is asked


def test_outside_training_there_is_room_for_all_unless_said() -> None:
    x_BTD, flow = tokens(), Flow.of(BATCH, LENGTH)
    free = experts(None, k=2).eval()
    expected, _ = free(x_BTD, flow)
    narrow = experts({"factor": 0.5}, k=2)
    torch.testing.assert_close(narrow.eval()(x_BTD, flow)[0], expected)
    assert not torch.allclose(narrow.train()(x_BTD, flow)[0], expected)
    always = experts({"factor": 0.5, "at_inference": True}, k=2)
    torch.testing.assert_close(always.eval()(x_BTD, flow)[0], narrow(x_BTD, flow)[0])


def test_a_step_that_counts_itself_alone_always_finds_room() -> None:
    """What `at_inference` says of decoding: a whole text crowds, its tokens one by one do not."""
    x_BTD = tokens()
    always = experts({"factor": 0.5, "at_inference": True}, k=2).eval()
    steps = torch.cat([always(x_BTD[:, t : t + 1], Flow.of(BATCH, 1))[0] for t in range(LENGTH)], 1)
    torch.testing.assert_close(steps, experts(None, k=2).eval()(x_BTD, Flow.of(BATCH, LENGTH))[0])
    assert not torch.allclose(steps, always(x_BTD, Flow.of(BATCH, LENGTH))[0])


@pytest.mark.parametrize("said", [{"factor": 0.5}, {"factor": 1.0, "overflow": "reroute"}, {"tokens": 3}])
def test_the_drop_rate_is_the_share_of_choices_without_a_place(said: dict[str, Any]) -> None:
    made = experts(said, k=2).train()
    flow = Flow.of(BATCH, LENGTH, attention_mask=torch.tensor(MASKS["padded"]))
    asked, got = routed(made, tokens(), flow)
    real, there = int((asked.expert_NK < EXPERTS).sum()), int((got.expert_NK < EXPERTS).sum())
    made(tokens(), flow)
    found = made.settle(torch.clone)
    assert found["drop_rate"].item() == pytest.approx(1 - there / real, abs=1e-6)
    assert there < real or "overflow" in said
    torch.testing.assert_close(found["load"].sum(), torch.tensor(float(EXPERTS)))


@pytest.mark.parametrize("overflow", ["drop", "reroute"])
def test_the_load_is_that_asked_for_and_a_bias_follows_it(overflow: str) -> None:
    """Room that is full hides how uneven a router is: what is measured, and acted on, is what it asks for."""
    balance = {"type": "bias", "rate": 0.25}
    made = experts({"factor": 1.0, "overflow": overflow}, balance=balance, k=2, correction="logit").train()
    flow = Flow.of(BATCH, LENGTH, attention_mask=torch.tensor(MASKS["padded"]))
    asked, got = routed(made, tokens(), flow)
    made(tokens(), flow)
    correction = made.router.correction.clone()
    found = made.settle(torch.clone)
    load_E = torch.tensor([float((asked.expert_NK == expert).sum()) for expert in range(EXPERTS)])
    torch.testing.assert_close(found["load"], load_E / load_E.mean())
    torch.testing.assert_close(found["max_violation"], load_E.max() / load_E.mean() - 1)
    # What was served is even in other ways.
    assert not torch.equal((got.load() - got.load().mean()).sign(), (load_E - load_E.mean()).sign())
    wanted_E = correction + 0.25 * (load_E.mean() - load_E).sign()
    torch.testing.assert_close(made.router.correction, wanted_E)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("overflow", ["drop", "reroute"])
def test_no_value_is_read_where_there_is_none(keep: str, overflow: str) -> None:
    said = {"factor": 1.0, "keep": keep, "overflow": overflow, "over": "batch", "spared": 0.2}
    made = experts(said, k=2).train()
    mask = torch.ones(BATCH, LENGTH)
    mask[0, 0] = 0
    meta = made.to("meta")
    x_BTD = torch.empty(BATCH, LENGTH, WIDTH, device="meta")
    y_BTD, _ = meta(x_BTD, Flow.of(BATCH, LENGTH, "meta", attention_mask=mask.to("meta")))
    assert y_BTD.shape == x_BTD.shape
    with FakeTensorMode(allow_non_fake_inputs=True):
        part = Experts.of({"type": "experts", "experts": EXPERTS, "capacity": said}).filled(SITE)
        fake = part.build(SITE).train()
        y_BTD, _ = fake(torch.empty(BATCH, LENGTH, WIDTH), Flow.of(BATCH, LENGTH))
        assert y_BTD.shape == (BATCH, LENGTH, WIDTH)


@pytest.mark.parametrize("shape", [(0, 5), (2, 0)])
@pytest.mark.parametrize(
    "said", [{"factor": 1.0}, {"factor": 1.0, "overflow": "reroute"}, {"tokens": 1, "over": "batch"}]
)
def test_no_tokens_find_room(shape: tuple[int, int], said: dict[str, Any]) -> None:
    made = experts(said, k=2).train()
    y_BTD, _ = made(torch.zeros(*shape, WIDTH, requires_grad=True), Flow.of(*shape))
    y_BTD.sum().backward()
    assert y_BTD.shape == (*shape, WIDTH)
