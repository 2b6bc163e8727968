"""Memory that is taken again."""

from __future__ import annotations

import torch

from blueprint.ops.room import PATIENCE, SMALLEST, Room, room

LIKE = torch.empty(0)


def test_what_somebody_holds_is_nobody_elses() -> None:
    kept = Room()
    first = kept.take((8, 32), LIKE).fill_(1)
    part = first[2:4].view(-1)
    del first
    second = kept.take((8, 32), LIKE).fill_(2)
    assert (part == 1).all()
    assert (second == 2).all()


def test_what_nobody_holds_is_taken_again() -> None:
    kept = Room()
    address = kept.take((8, 32), LIKE).data_ptr()
    assert kept.take((4, 60), LIKE).data_ptr() == address
    held = kept.nbytes()
    for _ in range(5):
        kept.take((8, 32), LIKE)
    assert kept.nbytes() == held


def test_what_is_much_smaller_takes_no_large_block() -> None:
    kept = Room()
    address = kept.take((100, 32), LIKE).data_ptr()
    assert kept.take((10, 32), LIKE).data_ptr() != address


def test_what_is_long_unused_goes_back() -> None:
    kept = Room()
    kept.take((1000, 1000), LIKE)
    for _ in range(PATIENCE + 1):
        kept.take((4, 4), LIKE)
    kept.take((400, 4), LIKE)
    assert kept.nbytes() < 100_000


def test_its_tensors_are_as_any_others() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        made = Room().take((3, 5), torch.empty(0, dtype=dtype))
        assert (made.shape, made.dtype, made.is_contiguous(), made._base) == ((3, 5), dtype, True, None)
        assert made.data_ptr() % 64 == 0
        assert (made.zero_() == 0).all()


def test_small_and_far_results_get_memory_of_their_own() -> None:
    assert room((2, 3), LIKE).shape == (2, 3)
    assert room((SMALLEST, 2), torch.empty(0, device="meta")).device.type == "meta"
    assert room((SMALLEST // 4, 1), LIKE).shape == (SMALLEST // 4, 1)


def test_a_gradient_outlives_the_step_that_made_it() -> None:
    weight = torch.nn.Parameter(torch.zeros(SMALLEST // 4))
    weight.grad = room(weight.shape, LIKE).fill_(3)
    address = weight.grad.data_ptr()
    for _ in range(3):
        room(weight.shape, LIKE).fill_(4)
    assert (weight.grad == 3).all()
    weight.grad = None
    assert address in {each.data_ptr() for each in [room(weight.shape, LIKE) for _ in range(3)]}
