"""The fused loss is the plain loss, to float precision, without the plain loss's memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from blueprint.ops import cross_entropy
from blueprint.ops.cross_entropy import counting

OPTIONS = [
    {},
    {"bias": True},
    {"scale": 0.3},
    {"softcap": 4.0},
    {"label_smoothing": 0.1},
    {"z_loss": 1e-2},
    {"bias": True, "scale": 1.7, "softcap": 3.0, "label_smoothing": 0.2, "z_loss": 1e-2},
]


def sample(dtype=torch.float64, count=37, vocab=23):
    g = torch.Generator().manual_seed(1)
    hidden, weight, bias = (
        torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in ((count, 16), (vocab, 16), (vocab,))
    )
    target = torch.randint(0, vocab, (count,), generator=g)
    target[[2, 9, 30]] = -100
    return hidden, weight, bias, target


def plain(
    hidden, weight, target, bias_V=None, scale=1.0, softcap=None, label_smoothing=0.0, z_loss=0.0, reduction="mean"
):
    logits = scale * (hidden @ weight.t())
    logits = logits if bias_V is None else logits + bias_V
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    loss = F.cross_entropy(logits, target, label_smoothing=label_smoothing, reduction=reduction)
    z = z_loss * logits.logsumexp(-1)[target != -100] ** 2
    return loss + (z.mean() if reduction == "mean" else z.sum())


@pytest.mark.parametrize("chunk", [1, 5, 37, None])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_loss_and_gradients_equal_the_plain_form(options, reduction, chunk):
    hidden, weight, bias, target = sample()
    options = dict(options)
    bias_V = bias if options.pop("bias", False) else None
    leaves = [hidden, weight] + ([] if bias_V is None else [bias_V])
    expected = plain(hidden, weight, target, bias_V, reduction=reduction, **options)
    got = cross_entropy(hidden, weight, target, bias_V=bias_V, reduction=reduction, chunk=chunk, **options)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    for a, b in zip(torch.autograd.grad(3 * got, leaves), torch.autograd.grad(3 * expected, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    with torch.no_grad():
        quiet = cross_entropy(hidden, weight, target, bias_V=bias_V, reduction=reduction, chunk=chunk, **options)
    torch.testing.assert_close(quiet, got)


def test_in_single_precision_too():
    hidden, weight, _, target = sample(torch.float32)
    got, expected = cross_entropy(hidden, weight, target, chunk=7), plain(hidden, weight, target)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    for a, b in zip(*(torch.autograd.grad(x, [hidden, weight]) for x in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_give_a_float32_loss_and_their_own_gradients(dtype):
    hidden, weight, _, target = sample(dtype)
    got = cross_entropy(hidden, weight, target, chunk=7)
    expected = plain(hidden.detach().double(), weight.detach().double(), target)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=1e-2, atol=1e-2)
    got.backward()
    assert hidden.grad.dtype == weight.grad.dtype == dtype


def test_autocast_multiplies_in_sixteen_bits():
    hidden, weight, _, target = sample(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got = cross_entropy(hidden, weight, target)
        logits = F.linear(hidden, weight)
    expected = F.cross_entropy(logits.float(), target)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    got.backward()
    assert weight.grad.dtype == torch.float32


def test_nothing_to_predict_costs_nothing():
    hidden, weight, _, target = sample()
    loss = cross_entropy(hidden, weight, torch.full_like(target, -100), z_loss=0.1, label_smoothing=0.1)
    assert loss == 0
    loss.backward()
    assert (hidden.grad == 0).all()


def test_only_what_wants_a_gradient_gets_one():
    hidden, weight, _, target = sample()
    cross_entropy(hidden, weight.detach(), target).backward()
    assert hidden.grad is not None
    cross_entropy(hidden.detach(), weight, target).backward()
    assert weight.grad is not None


def test_a_second_backward_is_refused():
    hidden, weight, _, target = sample()
    loss = cross_entropy(hidden, weight, target)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="already taken back"):
        loss.backward()


def test_the_logits_never_exist_at_once():
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                self.numbers = max(self.numbers, out.numel())
            return out

    hidden, weight, _, target = sample(count=512, vocab=301)
    with Largest() as largest:
        cross_entropy(hidden, weight, target, chunk=16).backward()
    assert largest.numbers < 512 * 301 / 8


def test_shapes_that_do_not_fit_are_refused():
    hidden, weight, _, target = sample()
    with pytest.raises(ValueError, match="do not fit"):
        cross_entropy(hidden, weight, target[:-1])


def test_it_runs_without_values():
    hidden, weight = torch.empty(8, 4, device="meta", requires_grad=True), torch.empty(9, 4, device="meta")
    cross_entropy(hidden, weight, torch.empty(8, dtype=torch.long, device="meta")).backward()
    assert hidden.grad.shape == (8, 4)


def test_rows_that_do_not_count_can_be_left_out_beforehand():
    hidden, weight, bias, target = sample()
    few, wanted = counting(hidden, target)
    assert len(few) == len(wanted) == 37 - 3
    got, expected = cross_entropy(few, weight, wanted, bias_V=bias), cross_entropy(hidden, weight, target, bias_V=bias)
    torch.testing.assert_close(got, expected)
    leaves = [hidden, weight, bias]
    for a, b in zip(*(torch.autograd.grad(x, leaves) for x in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_without_values_all_rows_stay():
    hidden, target = torch.empty(8, 4, device="meta"), torch.empty(8, dtype=torch.long, device="meta")
    assert counting(hidden, target)[0] is hidden
    with FakeTensorMode():
        assert counting(torch.empty(8, 4), torch.zeros(8, dtype=torch.long))[0].shape == (8, 4)
