"""A prefix is seen both ways, and nothing else changes: every backend against the definition, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from blueprint.ops import Flow
from blueprint.visible import Visible
from tests.ops.helpers import Sample, close, definition, padding
from tests.ops.test_attend import BACKENDS, HEADS, even_distance, possible, segments, slopes

PREFIX = torch.tensor([37, 1])
VISIBLE = {
    "causal": Visible(ahead=0),
    "sliding": Visible(back=10, ahead=0),
    "itself": Visible(back=0, ahead=0),
    "wide window": Visible(back=1000, ahead=0),
    "documents": Visible(ahead=0, same_segment=True),
    "documents in a window": Visible(back=33, ahead=0, same_segment=True),
    "dilated": Visible(back=20, ahead=0, tests=(even_distance,)),
    "dilated without a band": Visible(ahead=0, tests=(even_distance,)),
}


def defined(sample: Sample, flow: Flow, visible: Visible, bias=None, **options) -> list[torch.Tensor]:
    """The definition of each row, in which two tokens of the prefix see each other as far ahead as back."""
    outs = []
    for row, prefix in enumerate(PREFIX.tolist()):

        def known(q, k, prefix=prefix):
            return (k <= q) | ((q < prefix) & (k < prefix))

        here = slice(row, row + 1)
        bias_BHTS = None if bias is None else bias(flow.position_BT, flow.position_BT)[here]
        wide = replace(visible, ahead=visible.back, tests=(*visible.tests, known))
        about = [None if each is None else each[here] for each in (flow.order_BT, flow.keep_BT, flow.segment_BT)]
        given = (sample.q[here], sample.k[here], sample.v[here], wide, sample.scale)
        outs.append(definition(*given, *about, bias_BHTS=bias_BHTS, sink_H=sample.sink, **options))
    return sample.gradients(torch.cat(outs))


@pytest.mark.parametrize("pads", ["none", "right", "left", "empty", "holes"])
@pytest.mark.parametrize("name", VISIBLE)
def test_every_backend_agrees_with_the_definition(name, pads):
    visible, tried = VISIBLE[name], set()
    for heads in HEADS.values():
        for extra in ({}, {"softcap": 2.0}, {"bias": slopes}, {"sinks": True}):
            options = dict(extra)
            sinks = options.pop("sinks", False)
            sample = Sample(heads=heads[0], groups=heads[1], sinks=sinks)
            segment = segments(sample.batch, sample.length) if visible.same_segment else None
            keep = padding(pads, sample.batch, sample.length)
            flow = Flow.of(sample.batch, sample.length, "cpu", keep, segment_ids=segment, prefix_length=PREFIX)
            expected = defined(sample, flow, visible, **options)
            close(sample.attend(flow, visible, **options), expected, 1e-9)
            for backend in BACKENDS:
                if possible(backend, visible, sample, sinks=sinks, **options):
                    tried.add(backend)
                    close(sample.attend(flow, visible, backend, **options), expected, 1e-9)
    assert {"sdpa", "dense"} <= tried
    assert ("blocked" in tried) == (visible.back is not None)


def test_a_prefix_of_one_token_is_none_and_a_mask_that_looks_ahead_is_left_alone():
    sample = Sample()
    one = Flow.of(2, 80, prefix_length=torch.ones(2, dtype=torch.long))
    close(sample.attend(one, Visible(ahead=0)), sample.attend(sample.flow(), Visible(ahead=0)), 1e-9)
    both = Flow.of(2, 80, prefix_length=PREFIX)
    for visible in (Visible(), Visible(back=7, ahead=5)):
        close(sample.attend(both, visible), sample.attend(sample.flow(), visible), 1e-9)


def test_how_far_tokens_reach_is_counted_over_kept_ones():
    keep = torch.tensor([[0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]])
    flow = Flow.of(2, 6, attention_mask=keep, prefix_length=torch.tensor([3, 2]))
    assert flow.reach_BT is not None
    assert flow.reach_BT[keep.bool()].tolist() == [2, 2, 2, 3, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("seen", "fits"), [(None, True), (0, True), (2, False), (4, False), (5, True), (torch.tensor([0, 5]), True)]
)
def test_a_prefix_is_read_at_once_or_is_past(seen, fits):
    def flow() -> Flow:
        return Flow.of(2, 6, seen=seen, prefix_length=torch.tensor([5, 5]))

    if not fits:
        with pytest.raises(ValueError, match="a prefix is read at once"):
            flow()
        return
    found = flow().reach_BT
    assert (found is None) == (isinstance(seen, int) and seen == 5)
    with pytest.raises(ValueError, match="a prefix is read at once"):
        Flow.of(2, 4, seen=0, prefix_length=torch.tensor([5, 5]))
    with pytest.raises(ValueError, match="prefix_length has shape"):
        Flow.of(2, 6, seen=seen, prefix_length=torch.tensor([5]))
