"""Drawing tokens, held against the formulas of the papers written out one row and one token at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from blueprint.inference.sampling import Sampling, draw, likely, nucleus, penalise

LOGITS = torch.randn(5, 40, generator=torch.Generator().manual_seed(1)) * 3


def softmax(row: list[float]) -> list[float]:
    top = max(row)
    weights = [math.exp(each - top) for each in row]
    return [each / sum(weights) for each in weights]


def distribution(sampling: Sampling, logits_BV: Tensor) -> Tensor:
    """The probabilities (B, V) that a token is drawn with."""
    logits_BK, id_BK = sampling.candidates(logits_BV)
    probability_BK = logits_BK.double().softmax(-1)
    if id_BK is None:
        return probability_BK
    return torch.zeros(logits_BV.shape, dtype=torch.float64).scatter(1, id_BK, probability_BK)


def expected(
    row: list[float], temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> list[float]:
    """The same for one row, token by token: each step over what the one before left, renormalised."""
    row = [each / temperature for each in row]
    kept = sorted(range(len(row)), key=lambda i: -row[i])
    if top_k is not None:
        kept = kept[:top_k]
    if top_p is not None:
        probability, nucleus, total = softmax([row[i] for i in kept]), [], 0.0
        for index, share in zip(kept, probability, strict=True):
            if total >= top_p:
                break
            nucleus.append(index)
            total += share
        kept = nucleus
    if min_p is not None:
        probability = softmax([row[i] for i in kept])
        kept = [i for i, share in zip(kept, probability, strict=True) if share >= min_p * max(probability)]
    probability = softmax([row[i] for i in kept])
    out = [0.0] * len(row)
    for index, share in zip(kept, probability, strict=True):
        out[index] = share
    return out


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"),
    [
        (None, None, None),
        (1, None, None),
        (7, None, None),
        (500, None, None),
        (None, 0.9, None),
        (None, 1e-9, None),
        (None, 1.0, None),
        (None, None, 0.1),
        (None, None, 1.0),
        (None, None, 0.0),
        (12, 0.8, None),
        (12, None, 0.2),
        (12, 0.8, 0.3),
        (None, 0.7, 0.05),
    ],
)
def test_the_distribution_is_the_formulas(
    temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    sampling = Sampling(temperature, top_k, top_p, min_p)
    wanted = torch.tensor(
        [expected(row, temperature, top_k, top_p, min_p) for row in LOGITS.tolist()], dtype=torch.float64
    )
    torch.testing.assert_close(distribution(sampling, LOGITS), wanted, atol=1e-6, rtol=0)


def test_a_penalty_lowers_what_was_seen_and_nothing_else() -> None:
    seen_BV = torch.rand(LOGITS.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    found = penalise(LOGITS, seen_BV, 1.7)
    for row, seen, out in zip(LOGITS.tolist(), seen_BV.tolist(), found.tolist(), strict=True):
        wanted = [(x / 1.7 if x > 0 else x * 1.7) if s else x for x, s in zip(row, seen, strict=True)]
        assert out == pytest.approx(wanted)
    assert bool((found[seen_BV] <= LOGITS[seen_BV]).all())


def test_a_penalty_falls_before_the_likeliest_token_is_taken() -> None:
    logits = torch.tensor([[2.0, 1.5, -1.0]])
    seen = torch.tensor([[True, False, False]])
    assert Sampling(0, repetition_penalty=2.0).pick(logits, None, seen).tolist() == [1]


def test_draws_follow_the_distribution() -> None:
    sampling = Sampling(1.3, top_k=9, top_p=0.9, seed=4)
    count = 20_000
    uniform = sampling.uniforms(1, count)[:, 0]
    drawn = sampling.pick(LOGITS[:1].expand(count, -1), uniform)
    shares = torch.bincount(drawn, minlength=40) / count
    torch.testing.assert_close(shares.double(), distribution(sampling, LOGITS[:1])[0], atol=0.02, rtol=0)


@pytest.mark.parametrize("edge", [2**-24, 0.5, 1.0])
def test_what_has_no_probability_is_never_drawn(edge: float) -> None:
    logits = torch.full((1, 50), -math.inf)
    logits[0, 20:23] = torch.tensor([0.0, -math.inf, 1.0])
    assert int(draw(logits, torch.tensor([edge]))) in (20, 22)


def test_the_likeliest_token_survives_every_filter() -> None:
    ordered = LOGITS.sort(-1, descending=True).values
    assert bool(nucleus(ordered, 1e-12)[:, 0].isfinite().all())
    assert bool(likely(ordered, 1.0)[:, 0].isfinite().all())


def test_equal_logits_still_give_exactly_k_candidates() -> None:
    logits, _ = Sampling(top_k=3).candidates(torch.zeros(2, 10))
    assert logits.shape == (2, 3)


def test_a_rows_stream_does_not_depend_on_the_batch_nor_on_how_much_is_drawn() -> None:
    sampling = Sampling(seed=3)
    assert torch.equal(sampling.uniforms(2, 50), sampling.uniforms(6, 80)[:50, :2])


def test_rows_and_seeds_have_streams_of_their_own() -> None:
    streams = [tuple(row) for seed in range(4) for row in Sampling(seed=seed).uniforms(4, 8).T.tolist()]
    assert len(set(streams)) == 16
    assert all(0 < each <= 1 for stream in streams for each in stream)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_k", 2.5),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", -0.1),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
        ("seed", -1),
        ("top_k", True),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be .*got"):
        Sampling(**{name: value})


def test_settings_that_do_nothing_at_temperature_0_are_named() -> None:
    assert Sampling(0, top_k=5, min_p=0.1, seed=3, repetition_penalty=1.2).idle() == ("top_k", "min_p", "seed")
    assert Sampling(0).idle() == () == Sampling(0.5, top_k=5, seed=3).idle()
