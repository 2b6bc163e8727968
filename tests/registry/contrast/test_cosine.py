"""The cosine of two vectors, scaled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site, as_faults
from blueprint.kinds import Contrast


def site(text: int, image: int) -> Site:
    return Site(d_model=8, width=8, extra={"text": text, "image": image})


def contrast(at: Site, **said: Any) -> Any:
    return Contrast.of({"type": "cosine", **said}).filled(at).build(at)


def test_every_image_meets_every_text() -> None:
    made = contrast(site(6, 8), width=4, projection_bias=True, scale=1.5, bias=-3.0)
    for layer in (made.text, made.image):
        torch.nn.init.normal_(layer.bias)
    image, text = torch.randn(5, 8), torch.randn(3, 6)
    logits, vectors = made(image, text)
    scale = torch.tensor(1.5).exp()
    expected = F.cosine_similarity(made.image(image)[:, None], made.text(text)[None], dim=-1) * scale - 3
    torch.testing.assert_close(logits, expected)
    assert {name: vector.norm(dim=-1).sub(1).abs().max() < 1e-5 for name, vector in vectors.items()} == {
        "text": True,
        "image": True,
    }


def test_one_side_alone_has_a_vector_and_no_logits() -> None:
    logits, vectors = contrast(site(8, 8), width=None)(None, torch.ones(2, 8))
    assert logits is None
    torch.testing.assert_close(vectors["text"], torch.full((2, 8), 8**-0.5))


def test_what_is_not_projected_is_of_one_width() -> None:
    (fault,) = as_faults(Contrast.of({"type": "cosine", "width": None}).check(site(6, 8)))
    assert "6 channels, the image's 8" in fault.message
    assert not list(as_faults(Contrast.of({"type": "cosine", "width": 3}).check(site(6, 8))))
    with pytest.raises(ValueError, match="no projection"):
        Contrast.of({"type": "cosine", "width": None, "projection_bias": True})


def test_one_side_may_be_projected_to_the_width_of_the_other() -> None:
    said = {"width": 8, "projected": "text"}
    made = contrast(site(6, 8), **said)
    assert made.image is None
    assert made.text.weight.shape == (8, 6)
    (fault,) = as_faults(Contrast.of({"type": "cosine", **said}).check(site(6, 4)))
    assert "the image's vector has 4 channels and is not projected to 8" in fault.message
    with pytest.raises(ValueError, match="there is no projection"):
        Contrast.of({"type": "cosine", "width": None, "projected": "text"})


@pytest.mark.parametrize("at_most", [100.0, 20.0, None])
def test_a_scale_that_grew_beyond_its_bound_is_held_there(at_most: float | None) -> None:
    made = contrast(site(8, 8), width=None, scale_at_most=at_most)
    assert made.settle(torch.clone)["logit_scale"].item() == pytest.approx(1 / 0.07, rel=1e-4)
    made.scale.data.fill_(6.0)
    told = made.settle(torch.clone)["logit_scale"].item()
    assert told == pytest.approx(at_most or torch.tensor(6.0).exp().item())
    assert made(torch.ones(1, 8), torch.ones(1, 8))[0].item() == pytest.approx(told)
    (made.scale * 2).backward()
    assert made.scale.grad == 2, "what is held may go down again"


def test_a_scale_does_not_begin_above_its_bound() -> None:
    with pytest.raises(ValueError, match=r"begins with exp\(5\) = 148.4 and is held at 100"):
        Contrast.of({"type": "cosine", "width": 4, "scale": 5.0})
