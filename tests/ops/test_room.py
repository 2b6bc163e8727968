"""Memory that is taken again.

N tokens, D width, E experts, K choices.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from blueprint.ops import Flow, Groups, Routing, dispatch, grouped, rows, run_stacked, stack
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


N, D, E, K = 700, 200, 4, 2
Found = list[Tensor]


def fresh(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory of its own, of which nothing may be read before it is written."""
    return like.new_full(tuple(shape), torch.nan)


def made() -> nn.Module:
    torch.manual_seed(0)
    experts = stack(nn.Sequential(nn.Linear(D, 2 * D), nn.ReLU(), nn.Linear(2 * D, D)), E)
    experts.forward = lambda x, _: (nn.Sequential.forward(experts, x), {})  # type: ignore[arg-type]
    for parameter in experts.parameters():
        nn.init.normal_(parameter, std=0.1)
    return experts


def served(experts: nn.Module, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """What experts make of tokens, the tokens, and their weights: all rows and gradients are past `SMALLEST`."""
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(N, D, generator=generator, requires_grad=True)
    weight_NK = torch.rand(N, K, generator=generator, requires_grad=True)
    # One of them has no token.
    routing = Routing(torch.rand(N, E - 1, generator=generator).topk(K).indices, weight_NK, E)

    def run(x_RD: Tensor, _: Tensor, groups: Groups) -> Tensor:
        return run_stacked(experts, x_RD, Flow.of(1, N), groups)[0]

    return dispatch(x_ND, routing, run), x_ND, weight_NK


def many_rounds() -> Found:
    """Forwards and backwards by turns, backward twice, and all that came of them still held."""
    experts, held = made(), []
    for seed in range(6):
        y_ND, *given = served(experts, seed)
        for _ in range(2):
            held += torch.autograd.grad(y_ND.square().sum(), [*given, *experts.parameters()], retain_graph=True)
        held.append(y_ND)
    return held


def second_derivatives() -> Found:
    experts, held = made(), []
    for seed in range(3):
        y_ND, x_ND, weight_NK = served(experts, seed)
        grads = torch.autograd.grad(y_ND.square().sum(), [x_ND, weight_NK], create_graph=True)
        loss = torch.stack([each.square().sum() for each in grads]).sum()
        held += [*grads, *torch.autograd.grad(loss, [x_ND, *experts.parameters()])]
    return held


def a_training() -> Found:
    """Steps of two batches each, gradients kept between and one backward refused; and copies of gradients."""
    experts, held = made(), []
    optimizer = torch.optim.AdamW(experts.parameters(), lr=1e-3)
    for step in range(4):
        for batch in range(2):
            served(experts, 2 * step + batch)[0].square().mean().backward()  # type: ignore[no-untyped-call]
        if step == 1:
            twice = served(experts, 99)[0].square().mean()
            twice.backward()  # type: ignore[no-untyped-call]
            with pytest.raises(RuntimeError, match="retain_graph"):
                twice.backward()  # type: ignore[no-untyped-call]
        grads = [parameter.grad for parameter in experts.parameters()]
        stored = io.BytesIO()
        torch.save(grads, stored)
        stored.seek(0)
        held += [*copy.deepcopy(grads), *torch.load(stored, weights_only=True)]
        optimizer.step()
        # Some are filled again in place, others let go.
        optimizer.zero_grad(set_to_none=step % 2 == 0)
    return [*held, *experts.parameters()]


def without_gradients() -> Found:
    experts = made()
    with torch.inference_mode():
        return [served(experts, seed)[0] for seed in range(6)]


@pytest.mark.parametrize("scene", [many_rounds, second_derivatives, a_training, without_gradients])
def test_what_is_held_is_bit_by_bit_what_fresh_memory_holds(
    scene: Callable[[], Found], monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = 0

    def counted(shape: Sequence[int], like: Tensor) -> Tensor:
        nonlocal lent
        lent += torch.Size(shape).numel() * like.element_size() >= SMALLEST
        return room(shape, like)

    for module in (grouped, rows):
        monkeypatch.setattr(module, "room", counted)
    kept = scene()
    assert lent > 5
    for module in (grouped, rows):
        monkeypatch.setattr(module, "room", fresh)
    for mine, other in zip(kept, scene(), strict=True):
        assert torch.equal(mine, other)


def test_threads_are_never_lent_the_same_memory() -> None:
    kept = Room()

    def work(number: int) -> bool:
        right = True
        for turn in range(200):
            held = [kept.take((50 + turn % 7, 10), LIKE).fill_(number) for _ in range(3)]
            right &= all(bool((each == number).all()) for each in held)
        return right

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(8)))


def test_shared_memory_leaves_the_block_behind() -> None:
    kept = Room()
    shared = kept.take((8, 32), LIKE).fill_(1).share_memory_()
    for _ in range(3):
        kept.take((8, 32), LIKE).fill_(2)
    assert (shared == 1).all()
