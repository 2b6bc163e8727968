"""A rotation keeps lengths, and scores depend on distances alone."""

from __future__ import annotations

import pytest
import torch

from blueprint.ops import Flow, angles, rotate


def frequencies(width: int) -> torch.Tensor:
    return 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("width", [4, 8, 16])
def test_it_multiplies_complex_numbers(interleaved, width):
    x = torch.randn(2, 3, 7, 16, dtype=torch.float64)
    position = torch.randint(0, 1000, (2, 7))
    freq = frequencies(width)
    y = rotate(x, *angles(position, freq, interleaved=interleaved, dtype=torch.float64), interleaved=interleaved)
    pairs = x[..., :width].unflatten(-1, (-1, 2) if interleaved else (2, -1))
    pairs = pairs if interleaved else pairs.transpose(-1, -2)
    z = torch.view_as_complex(pairs.contiguous()) * torch.polar(
        torch.ones_like(freq), position[:, None, :, None] * freq
    )
    turned = torch.view_as_real(z)
    expected = turned.flatten(-2) if interleaved else turned.transpose(-1, -2).flatten(-2)
    torch.testing.assert_close(y[..., :width], expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(y[..., width:], x[..., width:])


@pytest.mark.parametrize("interleaved", [False, True])
def test_scores_depend_on_the_distance_alone(interleaved):
    q, k = torch.randn(1, 1, 1, 8, dtype=torch.float64), torch.randn(1, 1, 1, 8, dtype=torch.float64)

    def score(m: int, n: int) -> torch.Tensor:
        turn = [
            angles(torch.tensor([[p]]), frequencies(8), interleaved=interleaved, dtype=torch.float64) for p in (m, n)
        ]
        a, b = (rotate(x, *t, interleaved=interleaved) for x, t in zip((q, k), turn, strict=True))
        return (a * b).sum()

    torch.testing.assert_close(score(5, 2), score(105, 102), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(score(5, 2), score(5, 3))


def test_the_scale_multiplies_cosine_and_sine():
    position = torch.arange(5)[None]
    x = torch.randn(1, 2, 5, 8)
    freq = frequencies(8).float()
    torch.testing.assert_close(rotate(x, *angles(position, freq, scale=1.5)), 1.5 * rotate(x, *angles(position, freq)))


def test_angles_are_float32_inside_even_for_half_precision():
    position = torch.tensor([[30_001]])
    freq = frequencies(8)
    cos, _ = angles(position, freq.float(), dtype=torch.bfloat16)
    exact = (30_001 * freq.float()).cos().to(torch.bfloat16)
    assert torch.equal(cos[0, 0, 0, :4], exact)


def test_a_key_reuses_them_for_the_same_positions_only():
    freq = frequencies(8).float()
    flow, other = Flow.of(2, 5, "cpu"), Flow.of(2, 5, "cpu", seen=3)
    first = angles(flow.position_BT, freq, key="a")
    assert angles(flow.position_BT, freq, key="a")[0] is first[0]
    assert angles(flow.position_BT, freq, key="b")[0] is not first[0]
    assert angles(flow.position_BT, freq, key="a", scale=2.0)[0] is not first[0]
    moved = angles(other.position_BT, freq, key="a")
    torch.testing.assert_close(moved[0], angles(other.position_BT, freq)[0])
    assert not torch.equal(moved[0], first[0])


def test_nothing_is_kept_once_the_positions_are_gone():
    from blueprint.ops import rotary

    position = torch.arange(4)[None]
    angles(position, frequencies(8), key="gone")
    assert any(key[0] == "gone" for key in rotary._last)
    del position
    assert not any(key[0] == "gone" for key in rotary._last)


def test_angles_are_not_reused_across_inference_mode_or_a_change_in_place() -> None:
    position_BT = torch.arange(4)[None]
    inv_freq_F = torch.tensor([1.0, 0.1])
    with torch.inference_mode():
        angles(position_BT, inv_freq_F, key="same")
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    rotate(x, *angles(position_BT, inv_freq_F, key="same")).sum().backward()
    before, _ = angles(position_BT, inv_freq_F, key="same")
    position_BT += 1
    after, _ = angles(position_BT, inv_freq_F, key="same")
    assert not torch.equal(before, after)
