"""Cached attention equals uncached, however the tokens arrive."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from blueprint.ops import Flow, Keys, KVState, attend
from blueprint.visible import Visible
from tests.ops.helpers import padding


def every_other(q, k):
    return (q - k) % 2 == 0


LENGTH = 40
VISIBLE = {
    "causal": Visible(ahead=0),
    "window of 7": Visible(back=6, ahead=0),
    "window of 1": Visible(back=0, ahead=0),
    "wide window": Visible(back=500, ahead=0),
    "dilated": Visible(back=9, ahead=0, tests=(every_other,)),
    "documents": Visible(ahead=0, same_segment=True),
}
CHUNKS = {
    "token by token": [1] * LENGTH,
    "prompt, then tokens": [13] + [1] * (LENGTH - 13),
    "short prompt": [3] + [1] * (LENGTH - 3),
    "chunked prefill": [17, 11, 12],
    "several at once": [5, 1, 1, 4, 9, 1, 2, 17],
    "one": [LENGTH],
}


def near(q_position: Tensor, k_position: Tensor) -> Tensor:
    slope = torch.tensor([0.5, 0.25, 0.1, 0.05], dtype=torch.float64)[:, None, None]
    return -slope * (q_position[:, None, :, None] - k_position[:, None, None, :])


class Rows:
    """Queries, keys and values of a batch, turned by their position so that positions matter."""

    def __init__(self, batch: int = 2, length: int = LENGTH) -> None:
        g = torch.Generator().manual_seed(3)
        self.q = torch.randn(batch, 4, length, 8, generator=g, dtype=torch.float64)
        self.k = torch.randn(batch, 2, length, 8, generator=g, dtype=torch.float64)
        self.v = torch.randn(batch, 2, length, 6, generator=g, dtype=torch.float64)
        self.batch, self.length = batch, length

    def whole(self, visible: Visible, bias=None, **given: Tensor | None) -> Tensor:
        flow = Flow.of(self.batch, self.length, "cpu", **given)
        return attend(self.q, Keys.of(self.k, self.v, flow), flow=flow, visible=visible, scale=0.4, bias=bias)

    def state(self, visible: Visible, slack: int = 0) -> KVState:
        return KVState(self.batch, 2, self.length, 8, 6, visible=visible, dtype=torch.float64, slack=slack)

    def feed(self, state: KVState, visible: Visible, start: int, stop: int, seen, bias=None, **given):
        """The outputs for tokens start … stop - 1 of every row, and what has been seen then."""
        given = {name: None if x is None else x[:, start:stop] for name, x in given.items()}
        flow = Flow.of(self.batch, stop - start, "cpu", seen=seen, **given)
        keys = state.append(self.k[:, :, start:stop], self.v[:, :, start:stop], flow)
        o = attend(self.q[:, :, start:stop], keys, flow=flow, visible=visible, scale=0.4, bias=bias)
        return o, flow.seen


def fed(rows: Rows, visible: Visible, chunks: list[int], bias=None, **given: Tensor | None) -> Tensor:
    state, outs, start, seen = rows.state(visible), [], 0, None
    for size in chunks:
        o, seen = rows.feed(state, visible, start, start + size, seen, bias, **given)
        outs.append(o)
        start += size
    return torch.cat(outs, 2)


@pytest.mark.parametrize("bias", [None, near], ids=["", "biased"])
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", VISIBLE)
def test_cached_equals_uncached(name, chunks, bias):
    rows, visible = Rows(), VISIBLE[name]
    given = {}
    if visible.same_segment:
        given = {"segment_ids": torch.arange(LENGTH).expand(2, LENGTH) // 15}
        given["position_ids"] = torch.arange(LENGTH).expand(2, LENGTH) % 15
    whole = rows.whole(visible, bias, **given)
    torch.testing.assert_close(fed(rows, visible, CHUNKS[chunks], bias, **given), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pads", ["right", "left", "holes", "empty"])
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", VISIBLE)
def test_cached_equals_uncached_with_padding_anywhere(name, chunks, pads):
    rows, visible = Rows(), VISIBLE[name]
    keep = padding(pads, 2, LENGTH)
    for bias in (None, near):
        given = {"attention_mask": keep}
        if visible.same_segment:
            given["segment_ids"] = torch.arange(LENGTH).expand(2, LENGTH) // 15
            given["position_ids"] = torch.arange(LENGTH).expand(2, LENGTH) % 15
        whole = rows.whole(visible, bias, **given)
        got = fed(rows, visible, CHUNKS[chunks], bias, **given)
        torch.testing.assert_close(got, whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pads", ["left", "right"])
@pytest.mark.parametrize("name", VISIBLE)
def test_a_padded_prompt_goes_on_as_it_would_alone(name, pads):
    """Prompts of 13 and 5 tokens, padded to 16, then 20 more tokens without padding: rows are as if alone."""
    visible, rows = VISIBLE[name], Rows()
    lengths, prompt, more = (13, 5), 16, 20
    index = torch.arange(prompt)
    counts = torch.tensor(lengths)[:, None]
    keep = index < counts if pads == "right" else index >= prompt - counts
    x = [torch.zeros(2, t.shape[1], prompt + more, t.shape[3], dtype=t.dtype) for t in (rows.q, rows.k, rows.v)]
    for new, old in zip(x, (rows.q, rows.k, rows.v), strict=True):
        for row, n in enumerate(lengths):
            new[row][:, :prompt][:, keep[row]] = old[row][:, :n]
            new[row][:, prompt:] = old[row][:, n : n + more]
    padded = Rows(length=prompt + more)
    padded.q, padded.k, padded.v = x
    state = padded.state(visible)
    o, seen = padded.feed(state, visible, 0, prompt, None, near, attention_mask=keep)
    outs = [o]
    for start in range(prompt, prompt + more):
        o, seen = padded.feed(state, visible, start, start + 1, seen, near)
        outs.append(o)
    got = torch.cat(outs, 2)
    for row, n in enumerate(lengths):
        alone = rows.whole(visible, near)[row][:, : n + more]
        kept = torch.cat((keep[row], torch.ones(more, dtype=torch.bool)))
        torch.testing.assert_close(got[row][:, kept], alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize("name", VISIBLE)
def test_rewinding_is_as_if_it_had_never_been(name, ragged):
    visible, rows = VISIBLE[name], Rows()
    keep = padding("left", 2, LENGTH) if ragged else None
    given = {"attention_mask": keep}
    if visible.same_segment:
        given["segment_ids"] = torch.arange(LENGTH).expand(2, LENGTH) // 15
        given["position_ids"] = torch.arange(LENGTH).expand(2, LENGTH) % 15
    whole = rows.whole(visible, near, **given)
    state = rows.state(visible, slack=6)
    _, seen = rows.feed(state, visible, 0, 23, None, near, **given)
    for _ in range(2):
        _, seen = rows.feed(state, visible, 23, 27, seen, near, **given)
        state.rewind(4)
        seen = state.seen
    outs = []
    for start, stop in ((23, 24), (24, 28), (28, 29), (29, LENGTH)):
        o, seen = rows.feed(state, visible, start, stop, seen, near, **given)
        outs.append(o)
    torch.testing.assert_close(torch.cat(outs, 2), whole[:, :, 23:], rtol=1e-10, atol=1e-10)


def test_rows_rewind_by_different_counts():
    visible, rows = Visible(back=8, ahead=0), Rows()
    state = rows.state(visible, slack=5)
    rows.feed(state, visible, 0, 20, None)
    state.rewind(torch.tensor([0, 3]))
    picked = torch.tensor([[20], [17]])
    q, k, v = (
        x.gather(2, picked[:, None, :, None].expand(-1, x.shape[1], 1, x.shape[3])) for x in (rows.q, rows.k, rows.v)
    )
    flow = Flow.of(2, 1, "cpu", seen=state.seen)
    o = attend(q, state.append(k, v, flow), flow=flow, visible=visible, scale=0.4)
    whole = rows.whole(visible)
    torch.testing.assert_close(o[:, :, 0], torch.stack((whole[0, :, 20], whole[1, :, 17])), rtol=1e-10, atol=1e-10)


def test_a_ring_that_lost_what_is_needed_says_so():
    visible, rows = Visible(back=6, ahead=0), Rows()
    state = rows.state(visible)
    assert state.capacity == 7
    _, _seen = rows.feed(state, visible, 0, 20, None)
    state.rewind(1)
    rows.feed(state, visible, 19, 20, state.seen)
    with pytest.raises(ValueError, match="ring of 7 overwrote"):
        state.rewind(2)
    with pytest.raises(ValueError, match="a row would hold -1"):
        state.rewind(21)


def test_a_full_state_says_so():
    rows = Rows()
    for visible in (Visible(ahead=0), Visible(back=60, ahead=0)):
        state = rows.state(visible)
        rows.feed(state, visible, 0, LENGTH, None)
        with pytest.raises(ValueError, match="room for 40 tokens: 40 held, 1 more"):
            rows.feed(state, visible, 0, 1, LENGTH)
        state.rewind(1)
        rows.feed(state, visible, LENGTH - 1, LENGTH, state.seen)


def test_room_is_counted_without_padding():
    rows, visible = Rows(length=24), Visible(ahead=0)
    state = KVState(2, 2, 24, 8, 6, visible=visible, dtype=torch.float64)
    keep = torch.arange(20)[None] >= torch.tensor([[8], [10]])
    _, seen = rows.feed(state, visible, 0, 20, None, attention_mask=keep)
    for _ in range(12):
        _, seen = rows.feed(state, visible, 20, 21, seen)
    with pytest.raises(ValueError, match="24 held, 1 more"):
        rows.feed(state, visible, 20, 21, seen)


def test_a_flow_that_disagrees_with_the_state_is_refused():
    rows, visible = Rows(), Visible(ahead=0)
    state = rows.state(visible)
    rows.feed(state, visible, 0, 5, None)
    with pytest.raises(ValueError, match="continues after 0 tokens, the state holds 5"):
        rows.feed(state, visible, 5, 6, None)


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize("index", [[1, 0], [1, 1], [0, 1, 1]])
def test_rows_are_reordered_repeated_and_go_on(index, ragged):
    visible, rows = Visible(back=6, ahead=0), Rows()
    keep = padding("left", 2, LENGTH) if ragged else None
    state = rows.state(visible)
    _, seen = rows.feed(state, visible, 0, 15, None, attention_mask=keep)
    state.reorder(torch.tensor(index))
    picked = Rows(len(index))
    picked.q, picked.k, picked.v = rows.q[index], rows.k[index], rows.v[index]
    seen = seen[index] if isinstance(seen, Tensor) else seen
    outs = []
    for start in range(15, LENGTH):
        o, seen = picked.feed(state, visible, start, start + 1, seen)
        outs.append(o)
    whole = rows.whole(visible, attention_mask=keep)
    torch.testing.assert_close(torch.cat(outs, 2), whole[index][:, :, 15:], rtol=1e-10, atol=1e-10)


def test_nothing_is_allocated_after_the_start_and_bytes_are_the_cache():
    visible = Visible(back=6, ahead=0)
    state = KVState(3, 2, 100, 8, visible=visible, dtype=torch.bfloat16, device="meta")
    assert state.nbytes == 3 * 2 * 7 * (8 + 8) * 2
    rows = Rows()
    live = rows.state(visible)
    address = live.k_BGCE.data_ptr()
    fed_to = 0
    for size in (5, 1, 9, 1):
        rows.feed(live, visible, fed_to, fed_to + size, live.seen)
        fed_to += size
    assert live.k_BGCE.data_ptr() == address
    assert live.position_BC is None


def test_steps_run_without_values():
    for visible in VISIBLE.values():
        for mask in (None, torch.ones(2, 10, dtype=torch.bool, device="meta")):
            state = KVState(2, 2, 30, 8, visible=visible, device="meta")
            seen = None
            for size in (10, 1, 4, 1):
                flow = Flow.of(2, size, "meta", mask if seen is None else None, seen=seen)
                q, k = torch.empty(2, 4, size, 8, device="meta"), torch.empty(2, 2, size, 8, device="meta")
                o = attend(q, state.append(k, k, flow), flow=flow, visible=visible, scale=1.0)
                assert o.shape == q.shape
                seen = flow.seen


def test_a_state_of_another_precision_serves_the_queries():
    rows, visible = Rows(), Visible(ahead=0)
    state = KVState(2, 2, LENGTH, 8, 6, dtype=torch.float32)
    _, seen = rows.feed(state, visible, 0, 10, None)
    o, seen = rows.feed(state, visible, 10, 11, seen)
    assert o.dtype == torch.float64
    torch.testing.assert_close(o, rows.whole(visible)[:, :, 10:11], rtol=1e-4, atol=1e-4)
