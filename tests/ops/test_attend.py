"""All backends compute one function."""

from __future__ import annotations

import pytest
import torch

from blueprint.choice import choose
from blueprint.ops import Flow, Keys, attend
from blueprint.ops.backends.flex import flex
from blueprint.ops.backends.sdpa import opened
from blueprint.ops.work import Side, Work
from blueprint.visible import Visible
from tests.ops.helpers import TOLERANCE, Sample, close, padding


def even_distance(q, k):
    return (q - k) % 2 == 0


def never(q, k):
    return (q - k) > 1_000_000


VISIBLE = {
    "full": Visible(),
    "causal": Visible(ahead=0),
    "sliding": Visible(back=10, ahead=0),
    "wide window": Visible(back=1000, ahead=0),
    "both ways": Visible(back=7, ahead=5),
    "only ahead": Visible(back=0, ahead=40),
    "documents": Visible(ahead=0, same_segment=True),
    "documents both ways": Visible(same_segment=True),
    "documents in a window": Visible(back=33, ahead=0, same_segment=True),
    "dilated": Visible(back=20, ahead=0, tests=(even_distance,)),
    "dilated without a band": Visible(ahead=0, tests=(even_distance,)),
    "nothing": Visible(ahead=0, tests=(never,)),
}
HEADS = {"multi-head": (4, 4), "grouped": (4, 2), "multi-query": (4, 1)}
BACKENDS = ("sdpa", "blocked", "dense")


def slopes(q_position, k_position):
    distance = (q_position[:, :, None] - k_position[:, None, :]).abs()
    return -torch.tensor([0.5, 0.25, 0.125, 0.06], dtype=torch.float64)[None, :, None, None] * distance[:, None]


def segments(batch: int, length: int) -> torch.Tensor:
    return (torch.arange(length)[None] + 11 * torch.arange(batch)[:, None]) // 27


def possible(backend: str, visible: Visible, sample: Sample, *, sinks=False, softcap=None, bias=None) -> bool:
    options = {"plain": True, "softcap": softcap is not None, "bias": bias is not None, "sinks": sinks, "dropout": 0.0}
    try:
        choose(visible, **options, device="cpu", q_len=sample.length, k_len=sample.length, forced=backend)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("pads", ["none", "right", "left", "empty", "holes"])
@pytest.mark.parametrize("name", VISIBLE)
def test_every_backend_agrees_with_the_definition(name, pads):
    visible = VISIBLE[name]
    tried = set()
    for heads in HEADS.values():
        for extra in (
            {},
            {"softcap": 2.0},
            {"bias": slopes},
            {"sinks": True},
            {"softcap": 2.0, "sinks": True, "bias": slopes},
        ):
            options = dict(extra)
            sinks = options.pop("sinks", False)
            sample = Sample(heads=heads[0], groups=heads[1], sinks=sinks)
            flow = sample.flow(
                padding(pads, sample.batch, sample.length),
                segments(sample.batch, sample.length) if visible.same_segment else None,
            )
            expected = sample.define(flow, visible, **options)
            close(sample.attend(flow, visible, **options), expected, 1e-9)
            for backend in BACKENDS:
                if possible(backend, visible, sample, sinks=sinks, **options):
                    tried.add(backend)
                    close(sample.attend(flow, visible, backend, **options), expected, 1e-9)
    assert {"sdpa", "dense"} <= tried
    assert ("blocked" in tried) == (visible.back is not None and visible.ahead is not None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["full", "causal", "sliding", "both ways", "documents"])
def test_backends_agree_in_every_precision(name, dtype):
    visible = VISIBLE[name]
    for pads in ("none", "left"):
        for options in ({}, {"bias": slopes}, {"softcap": 2.0}):
            sample = Sample(dtype=dtype)
            exact = Sample(dtype=torch.float64)
            exact.q, exact.k, exact.v = (x.detach().double().requires_grad_() for x in (sample.q, sample.k, sample.v))
            exact.up = sample.up.double()
            keep, segment = (
                padding(pads, 2, sample.length),
                segments(2, sample.length) if visible.same_segment else None,
            )
            flow = sample.flow(keep, segment)
            expected = [x.to(dtype) for x in exact.define(flow, visible, **options)]
            for backend in BACKENDS:
                if possible(backend, visible, sample, **options):
                    got = sample.attend(flow, visible, backend, **options)
                    assert got[0].dtype == dtype
                    close(got, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("value", [4, 8, 12])
def test_values_may_be_of_another_width(value):
    for visible in (Visible(ahead=0), Visible(back=9, ahead=0), Visible()):
        sample = Sample(value=value)
        flow = sample.flow(padding("left", 2, 80))
        expected = sample.define(flow, visible)
        for backend in BACKENDS:
            if possible(backend, visible, sample):
                close(sample.attend(flow, visible, backend), expected, 1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_sees_nothing_is_exactly_zero_and_so_is_its_gradient(backend):
    visible = Visible(back=5, ahead=0, tests=(never,))
    sample = Sample()
    for x in sample.attend(sample.flow(), visible, backend):
        assert (x == 0).all()
    sample = Sample()
    keep = padding("left", 2, sample.length)
    o, q, k, v = sample.attend(sample.flow(keep), Visible(back=5, ahead=0), backend)
    assert keep is not None
    assert (o.transpose(1, 2)[~keep] == 0).all()
    for x in (q, k, v):
        assert (x.transpose(1, 2)[~keep] == 0).all()
        assert x.isfinite().all()


def test_padding_changes_nothing_for_what_is_real():
    sample = Sample()
    for visible in VISIBLE.values():
        outs = []
        for pads in ("right", "left"):
            keep = padding(pads, 2, sample.length)
            flow = sample.flow(keep, torch.zeros(2, sample.length, dtype=torch.long))
            q, k, v = torch.zeros_like(sample.q), torch.zeros_like(sample.k), torch.zeros_like(sample.v)
            for row in range(2):
                n = int(keep[row].sum())
                for new, old in ((q, sample.q), (k, sample.k), (v, sample.v)):
                    new[row][:, keep[row]] = old[row][:, :n].detach()
            o = attend(q, Keys.of(k, v, flow), flow=flow, visible=visible, scale=0.3)
            outs.append([o[row][:, keep[row]] for row in range(2)])
        for right, left in zip(*outs, strict=True):
            torch.testing.assert_close(right, left, rtol=1e-10, atol=1e-10)


def test_a_document_packed_is_a_document_alone():
    sample = Sample(batch=1)
    segment = segments(1, 80)
    flow = sample.flow(segment=segment)
    packed, *_ = sample.attend(flow, Visible(ahead=0, same_segment=True), bias=slopes)
    for document in segment.unique():
        inside = (segment == document)[0]
        q, k, v = (x.detach()[:, :, inside] for x in (sample.q, sample.k, sample.v))
        alone = Flow.of(1, int(inside.sum()), "cpu")
        o = attend(q, Keys.of(k, v, alone), flow=alone, visible=Visible(ahead=0), scale=sample.scale, bias=slopes)
        torch.testing.assert_close(packed[:, :, inside], o, rtol=1e-10, atol=1e-10)
        assert torch.equal(flow.position_BT[:, inside], alone.position_BT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_is_seeded_and_keeps_the_mean(backend):
    sample = Sample(batch=1, length=64)
    flow, visible = sample.flow(), Visible(back=30, ahead=0)
    still = sample.attend(flow, visible, backend)[0]
    torch.manual_seed(0)
    first = sample.attend(flow, visible, backend, dropout=0.3)[0]
    torch.manual_seed(0)
    assert torch.equal(first, sample.attend(flow, visible, backend, dropout=0.3)[0])
    assert not torch.allclose(first, still)
    mean = torch.stack([sample.attend(flow, visible, backend, dropout=0.3)[0] for _ in range(600)]).mean(0)
    assert float((mean - still).abs().mean()) < 0.03


def test_a_learned_bias_gets_its_gradient_from_every_backend():
    table = torch.randn(4, 21, dtype=torch.float64, requires_grad=True)

    def learned(q_position, k_position):
        distance = (q_position[:, :, None] - k_position[:, None, :]).clamp(0, 20)
        return table[:, distance].transpose(0, 1)

    sample = Sample()
    grads = []
    for backend in BACKENDS:
        flow = sample.flow(padding("left", 2, sample.length))
        o = attend(
            sample.q,
            Keys.of(sample.k, sample.v, flow),
            flow=flow,
            visible=Visible(back=20, ahead=0),
            scale=0.3,
            bias=learned,
            backend=backend,
        )
        grads.append(torch.autograd.grad((o * sample.up).sum(), table)[0])
    for grad in grads[:2]:
        torch.testing.assert_close(grad, grads[2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["causal", "sliding", "both ways", "dilated", "documents"])
def test_flex_says_the_same(name):
    """Uncompiled, which is for values only; it trains on CUDA alone."""
    visible = VISIBLE[name]
    for softcap in (None, 2.0):
        sample = Sample(dtype=torch.float32, length=128, width=16, value=16)
        segment = segments(2, 128)
        flow = sample.flow(segment=segment)
        side = Side(flow.order_BT, flow.position_BT, segment)
        q, k, v = (x.detach() for x in (sample.q, sample.k, sample.v))
        work = Work(q, k, v, visible, True, True, lambda s=side: (s, s), sample.scale, softcap, None, None, 0.0, {})
        expected = sample.define(flow, visible, softcap=softcap)[0]
        torch.testing.assert_close(flex(work), expected, rtol=1e-4, atol=1e-4)


def test_flex_sees_a_prefix_both_ways():
    for visible in (Visible(ahead=0), Visible(back=10, ahead=0)):
        sample = Sample(dtype=torch.float32, length=128, width=16, value=16)
        flow = Flow.of(2, 128, prefix_length=torch.tensor([70, 1]))
        wide, reach = visible.prefixed(), flow.reach_BT
        sides = Side(flow.order_BT, flow.position_BT, reach=reach), Side(flow.order_BT, flow.position_BT)
        q, k, v = (x.detach() for x in (sample.q, sample.k, sample.v))
        work = Work(q, k, v, wide, True, True, lambda s=sides: s, sample.scale, None, None, None, 0.0, {})
        expected = sample.attend(flow, visible, "dense")[0]
        torch.testing.assert_close(flex(work), expected, rtol=1e-4, atol=1e-4)


def test_opened_masks_have_no_empty_row():
    mask = torch.tensor([[True, False], [False, False]])
    for given in (mask, torch.zeros(2, 2).masked_fill(~mask, -torch.inf)):
        full, empty = opened(given)
        assert empty.tolist() == [[False], [True]]
        assert torch.equal(full[0], given[0])
        assert (full[1] != 0).all() if given.dtype == torch.bool else full[1].isfinite().all()


@pytest.mark.parametrize("place", ["meta", "fake"])
def test_runs_without_values(place):
    from torch._subclasses.fake_tensor import FakeTensorMode

    def run(device: str) -> None:
        for visible in VISIBLE.values():
            for mask in (None, torch.ones(2, 96, dtype=torch.bool, device=device)):
                segment = torch.zeros(2, 96, dtype=torch.long, device=device)
                flow = Flow.of(2, 96, device, mask, segment_ids=segment)
                q = torch.randn(2, 4, 96, 8, device=device, requires_grad=True)
                k, v = torch.randn(2, 2, 96, 8, device=device), torch.randn(2, 2, 96, 6, device=device)
                o = attend(q, Keys.of(k, v, flow), flow=flow, visible=visible, scale=1.0)
                assert o.shape == (2, 4, 96, 6)
                o.sum().backward()
                assert q.grad is not None

    if place == "meta":
        run("meta")
    else:
        with FakeTensorMode():
            run("cpu")


def test_a_named_backend_that_cannot_is_refused():
    sample = Sample()
    with pytest.raises(ValueError, match="no softcap"):
        sample.attend(sample.flow(), Visible(ahead=0), "sdpa", softcap=1.0)
    with pytest.raises(ValueError, match="no finite window"):
        sample.attend(sample.flow(), Visible(ahead=0), "blocked")
    with pytest.raises(ValueError, match="CUDA"):
        sample.attend(sample.flow(), Visible(ahead=0), "flex")
    with pytest.raises(ValueError, match="there are flex, blocked"):
        sample.attend(sample.flow(), Visible(ahead=0), "quick")
