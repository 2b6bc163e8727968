"""Places are counted over what is real."""

from __future__ import annotations

import pytest
import torch

from blueprint.ops import Flow

MASKS = [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]


def test_nothing_padded_is_plain_and_needs_no_mask():
    for mask in (None, torch.ones(3, 5, dtype=torch.long)):
        flow = Flow.of(3, 5, "cpu", mask)
        assert flow.plain
        assert flow.keep_BT is None
        assert flow.seen == 5
        assert flow.position_BT.tolist() == [[0, 1, 2, 3, 4]] * 3
        assert flow.position_BT is flow.order_BT


def test_positions_count_kept_tokens_wherever_padding_is():
    mask = torch.tensor(MASKS)
    flow = Flow.of(5, 5, "cpu", mask)
    assert not flow.plain
    for row, keep in enumerate(mask.bool()):
        assert flow.position_BT[row, keep].tolist() == list(range(int(keep.sum())))
    assert (flow.position_BT >= 0).all()
    assert flow.seen.tolist() == [3, 3, 3, 0, 5]


def test_packing_brings_what_is_kept_to_the_front_and_back():
    mask = torch.tensor(MASKS)
    flow = Flow.of(5, 5, "cpu", mask)
    x = torch.arange(25).view(5, 5)
    packed = x.gather(1, flow.pack_BT)
    for row, keep in enumerate(mask.bool()):
        assert packed[row, : int(keep.sum())].tolist() == x[row, keep].tolist()
    assert torch.equal(packed.gather(1, flow.unpack_BT), x)
    assert Flow.of(1, 5, "cpu", mask[:1]).pack_BT is None
    assert Flow.of(1, 5, "cpu", mask[:1]).right


def test_the_next_forward_goes_on_where_each_row_stopped():
    flow = Flow.of(5, 5, "cpu", torch.tensor(MASKS))
    after = Flow.of(5, 2, "cpu", seen=flow.seen)
    assert after.position_BT.tolist() == [[3, 4], [3, 4], [3, 4], [0, 1], [5, 6]]
    assert after.seen.tolist() == [5, 5, 5, 2, 7]
    even = Flow.of(2, 3, "cpu", seen=4)
    assert even.position_BT.tolist() == [[4, 5, 6]] * 2
    assert (even.past, even.seen, even.plain) == (4, 7, False)


def test_documents_restart_positions_but_not_places():
    segment = torch.tensor([[0, 0, 0, 1, 1, 2], [4, 4, 4, 4, 4, 4]])
    flow = Flow.of(2, 6, "cpu", segment_ids=segment)
    assert flow.position_BT.tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5]]
    assert flow.order_BT.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert flow.longest == 6
    assert Flow.of(1, 6, "cpu", segment_ids=segment[:1]).longest == 3
    assert Flow.of(1, 3, "cpu", segment_ids=torch.tensor([[1, 0, 1]])).longest is None


def test_said_positions_leave_places_alone():
    said = torch.tensor([[7, 3, 9]])
    flow = Flow.of(2, 3, "cpu", position_ids=said)
    assert flow.position_BT.tolist() == [[7, 3, 9]] * 2
    assert flow.order_BT.tolist() == [[0, 1, 2]] * 2


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"attention_mask has shape \(2, 4\), expected \(2, 5\)"):
        Flow.of(2, 5, "cpu", torch.ones(2, 4))
