"""What positions add to scores and values, by every backend, and counted."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from blueprint.choice import choose
from blueprint.ops import Flow, Keys, Meter, attend
from blueprint.ops.relative import against, gathered, pairs
from blueprint.visible import Visible
from tests.ops.helpers import Sample, close, padding

REACH = 6
MASKS = {"causal": Visible(ahead=0), "both ways": Visible(back=9, ahead=5), "window": Visible(back=12, ahead=0)}


def index(q_position, k_position):
    return (q_position[:, :, None] - k_position[:, None, :]).clamp(-REACH, REACH) + REACH


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


ROWS = drawn(4, 2 * REACH + 1, 8)


def content(q, k, q_position, k_position):
    """Queries and keys (keys shared by heads) against vectors of distances."""
    at = index(q_position, k_position)
    asked = pairs(against(k, ROWS), at.transpose(-1, -2)).transpose(-1, -2)
    return pairs(against(q, ROWS[:2]), at) + asked


def values(p, q_position, k_position):
    return gathered(p, index(q_position, k_position), 2 * REACH + 1) @ ROWS


@pytest.mark.parametrize("pads", ["none", "right", "left", "holes"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("extra", [{"content": content}, {"content": content, "values": values}], ids=["keys", "both"])
def test_backends_agree(extra, mask, pads):
    visible, sample = MASKS[mask], Sample()
    flow = sample.flow(padding(pads, sample.batch, sample.length))
    expected = sample.attend(flow, visible, "dense", **extra)
    close(sample.attend(flow, visible, **extra), expected, 1e-10)
    for backend in ("sdpa", "blocked"):
        asked = {"plain": True, "softcap": False, "bias": True, "values": "values" in extra, "sinks": False}
        try:
            choose(visible, **asked, dropout=0.0, device="cpu", q_len=80, k_len=80, forced=backend)
        except ValueError:
            continue
        close(sample.attend(flow, visible, backend, **extra), expected, 1e-10)


def test_content_is_scaled_as_scores_are_and_values_are_weighted_as_values_are():
    sample = Sample(heads=2, groups=2, length=5)
    flow, visible = sample.flow(), Visible(ahead=0)
    (twice, *_) = sample.attend(flow, visible, content=lambda q, k, *_: q @ k.transpose(-1, -2))
    sample.scale *= 2
    (doubled, *_) = sample.attend(flow, visible)
    torch.testing.assert_close(twice, doubled)
    (more, *_) = sample.attend(flow, visible, values=lambda p, *_: p @ sample.v)
    torch.testing.assert_close(more, 2 * doubled)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (2, 4), (1, 4), (4, 1)])
def test_heads_of_either_are_shared_by_those_of_the_other(heads, groups):
    x, r = drawn(2, heads, 5, 8), drawn(groups, 7, 8)
    most = max(heads, groups)
    expected = x.repeat_interleave(most // heads, 1) @ r.repeat_interleave(most // groups, 0).transpose(-1, -2)
    torch.testing.assert_close(against(x, r), expected)


def test_their_products_are_counted():
    flow = Flow.of(2, 16, "meta")
    q, k = (torch.empty(2, 4, 16, 8, device="meta", requires_grad=True) for _ in "qk")
    rows = torch.empty(4, 2 * REACH + 1, 8, device="meta", requires_grad=True)

    def asked(q, k, q_position, k_position):
        return pairs(against(q, rows), index(q_position, k_position))

    def gave(p, q_position, k_position):
        return gathered(p, index(q_position, k_position), 2 * REACH + 1) @ rows

    with Meter() as meter, FlopCounterMode(display=False) as counter:
        o = attend(q, Keys.of(k, k, flow), flow=flow, visible=Visible(ahead=0), scale=1.0, content=asked, values=gave)
        products = 2 * 2 * 4 * 16 * (2 * REACH + 1) * 8
        assert counter.get_total_flops() == 2 * products
        o.sum().backward()
        # The weights themselves have no gradient here: of the values' product only that of the vectors is seen.
        assert counter.get_total_flops() == 2 * products + 3 * products
    assert meter.flops == 2 * (16 * 17 // 2) * 4 * 2 * 16
    assert rows.grad is not None
