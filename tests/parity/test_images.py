"""Models that see, as the transformers library computes them, on the same weights: every tensor is used once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from tests.parity.test_encoders import randomised

LAYER: dict[str, Any] = {"type": "layer", "eps": 1e-3}
IMAGE: dict[str, Any] = {"image_size": 16, "patch_size": 4, "num_channels": 3}
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-3,
}


def block(activation: str) -> dict[str, Any]:
    attention = {"heads": 4, "bias": True, "position": "none"}
    return {"attention": attention, "feed_forward": {"type": "mlp", "d_ff": 48, "activation": activation, "bias": True}}


def vit(**patches: Any) -> dict[str, Any]:
    return {
        "type": "encoder",
        "d_model": 32,
        "layers": 2,
        "norm": LAYER,
        "embedding": {"type": "patches", "image_size": 16, "patch_size": 4, "positions": "learned", **patches},
        "block": block("gelu"),
        "head": {"type": "classification", "labels": 7},
    }


def clip(pool: Any, width: int = 20) -> dict[str, Any]:
    said = {"d_model": 32, "layers": 2, "norm": LAYER, "block": block("quick_gelu")}
    text = {"vocab_size": 101, "max_length": 40, "causal": True, "embedding": {"positions": "learned"}, "pool": pool}
    patches = {"image_size": 16, "patch_size": 4, "bias": False, "positions": "learned", "norm": LAYER}
    image = {**said, "embedding": patches, "final_norm": None, "pool": "first", "pool_norm": LAYER}
    return {"type": "dual_encoder", "text": {**said, **text}, "image": image, "contrast": {"width": width}}


def stack(ours: str, theirs: str, names: Mapping[str, str]) -> dict[str, str]:
    return {f"{ours}layers.{{i}}.{key}": f"{theirs}.{{i}}.{name}" for key, name in names.items()}


VIT = {
    "embedding.prefix.weight": "vit.embeddings.cls_token",
    "embedding.positions.weight": "vit.embeddings.position_embeddings",
    "embedding.patches": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "head.output": "classifier",
}
VIT_LAYERS = {
    "attention.q": "attention.q_proj",
    "attention.k": "attention.k_proj",
    "attention.v": "attention.v_proj",
    "attention.o": "attention.o_proj",
    "attention_norm": "layernorm_before",
    "feed_forward.up": "mlp.fc1",
    "feed_forward.down": "mlp.fc2",
    "feed_forward_norm": "layernorm_after",
}
CLIP_LAYERS = {
    **{f"attention.{ours}": f"self_attn.{ours}_proj" for ours in "qkv"},
    "attention.o": "self_attn.out_proj",
    "attention_norm": "layer_norm1",
    "feed_forward.up": "mlp.fc1",
    "feed_forward.down": "mlp.fc2",
    "feed_forward_norm": "layer_norm2",
}
CLIP = {
    "text.embedding.tokens": "text_model.embeddings.token_embedding",
    "text.embedding.positions": "text_model.embeddings.position_embedding",
    "text.norm": "text_model.final_layer_norm",
    "image.embedding.prefix.weight": "vision_model.embeddings.class_embedding",
    "image.embedding.patches": "vision_model.embeddings.patch_embedding",
    "image.embedding.positions": "vision_model.embeddings.position_embedding",
    "image.embedding.norm": "vision_model.pre_layrnorm",
    "image.pool_norm": "vision_model.post_layernorm",
    "contrast.text": "text_projection",
    "contrast.image": "visual_projection",
    "contrast.scale": "logit_scale",
    **stack("text.", "text_model.encoder.layers", CLIP_LAYERS),
    **stack("image.", "vision_model.encoder.layers", CLIP_LAYERS),
}


def paired(said: dict[str, Any], theirs: nn.Module, names: Mapping[str, str]) -> tuple[nn.Module, dict[str, str]]:
    """Our model with their weights, and which parameter of theirs each of ours is; all are used."""
    ours = bp.build(bp.load({"model": said})).eval()
    state, source = dict(theirs.named_parameters()), {}
    for name, _ in ours.named_parameters():
        layer = re.search(r"\d+", name)
        common = re.sub(r"\d+", "{i}", name)
        path, _, own = common.rpartition(".")
        said_name = names[common] if common in names else f"{names[path]}.{own}"
        source[name] = said_name.replace("{i}", layer[0] if layer else "")
    assert sorted(source.values()) == sorted(state)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(state[source[name]].view_as(parameter))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    return ours, source


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    error = ((found - expected).abs().max() / expected.std()).item()
    assert error <= 2e-5, f"{error:.2e} of the spread"


def same_gradients(ours: nn.Module, theirs: nn.Module, source: Mapping[str, str]) -> None:
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        theirs_grad = expected[source[name]]
        assert theirs_grad is not None
        torch.testing.assert_close(parameter.grad, theirs_grad.view_as(parameter), atol=2e-5, rtol=1e-3, msg=name)


def pixels(count: int, height: int = 16, width: int = 16) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [16, (12, 20), (18, 16)])
def test_vit(size: Any) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(**SIZES, **{**IMAGE, "image_size": size}, num_labels=7, attn_implementation="eager")
    theirs = randomised(ViTForImageClassification(config))
    names = {**VIT, **stack("", "vit.layers", VIT_LAYERS)}
    ours, source = paired(vit(image_size=size if isinstance(size, int) else list(size)), theirs, names)
    images = pixels(3, *((size, size) if isinstance(size, int) else size))
    found, expected = (model(pixel_values=images).logits for model in (ours, theirs))
    close(found, expected)
    labels = torch.tensor([1, 6, 3])
    for logits in (found, expected):
        nn.functional.cross_entropy(logits, labels).backward()
    same_gradients(ours, theirs, source)


@pytest.mark.parametrize(("eos", "pool"), [(2, "largest"), (97, {"type": "eos", "id": 97})])
def test_clip(eos: int, pool: Any) -> None:
    from transformers import CLIPConfig, CLIPModel

    from blueprint.component import Site
    from blueprint.kinds import Objective

    text = {**SIZES, "vocab_size": 101, "max_position_embeddings": 40, "eos_token_id": eos, "pad_token_id": 0}
    config = CLIPConfig(
        projection_dim=20,
        text_config={**text, "attn_implementation": "eager"},
        vision_config={**SIZES, **IMAGE},
        attn_implementation="eager",
    )
    theirs = randomised(CLIPModel(config))
    ours, source = paired(clip(pool), theirs, CLIP)
    ids = torch.randint(3, 97, (4, 12), generator=torch.Generator().manual_seed(1))
    # The end stands in different places, twice in one row, and in one not at all.
    for row, places in enumerate(([11], [5, 9], [7], [])):
        ids[row, places] = 97
    images, mask = pixels(3), torch.ones_like(ids)
    mask[2, 8:] = 0
    for keep in (mask, torch.ones_like(ids)):
        found = ours(ids, keep, pixel_values=images)
        expected = theirs(input_ids=ids, attention_mask=keep, pixel_values=images)
        close(found.logits, expected.logits_per_image)
        close(found.vectors["text"], expected.text_embeds)
        close(found.vectors["image"], expected.image_embeds)
    for logits in (found.logits, expected.logits_per_image):
        nn.functional.cross_entropy(logits, torch.tensor([2, 0, 1])).backward()
    same_gradients(ours, theirs, source)
    for model in (ours, theirs):
        model.zero_grad()
    batch = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels(4), "labels": ids}
    loss, _ = Objective.of("image_text").build(Site(d_model=8, width=8))(ours.train(), batch)
    theirs_out = theirs(input_ids=ids, attention_mask=mask, pixel_values=pixels(4), return_loss=True)
    torch.testing.assert_close(loss, theirs_out.loss, atol=1e-5, rtol=2e-5)
    loss.backward()
    theirs_out.loss.backward()
    same_gradients(ours, theirs, source)


@pytest.mark.parametrize("name", ["CLIP", "Siglip"])
def test_the_loss_of_images_with_texts(name: str) -> None:
    """Of their models' logits, as ours are the same."""
    import transformers

    from blueprint.component import Site
    from blueprint.kinds import Objective

    text = {**SIZES, "vocab_size": 101, "max_position_embeddings": 12, "eos_token_id": 97, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(
        text_config={**text, "projection_size": 32} if name == "Siglip" else text, vision_config={**SIZES, **IMAGE}
    )
    theirs = randomised(getattr(transformers, f"{name}Model")(config))
    ids = torch.randint(3, 97, (5, 12), generator=torch.Generator().manual_seed(1))
    out = theirs(input_ids=ids, pixel_values=pixels(5), return_loss=True)
    objective = Objective.of({"type": "image_text", "loss": "softmax" if name == "CLIP" else "sigmoid"})
    found = (
        objective.build(Site(d_model=8, width=8)).total(out.logits_per_image, out.logits_per_text, torch.arange(5)) / 5
    )
    torch.testing.assert_close(found, out.loss, atol=1e-6, rtol=1e-6)


def test_siglip_head_is_the_attention_pool() -> None:
    from transformers import SiglipVisionConfig
    from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

    from blueprint.component import Site
    from blueprint.kinds import Pool

    config = SiglipVisionConfig(**SIZES, hidden_act="gelu_pytorch_tanh", attn_implementation="eager")
    theirs = randomised(SiglipMultiheadAttentionPoolingHead(config))
    mlp = {"type": "mlp", "d_ff": 48, "activation": "gelu_tanh", "bias": True}
    at = Site(d_model=32, width=32, causal=False)
    ours = Pool.of({"type": "attention", "heads": 4, "feed_forward": mlp, "norm": LAYER}).filled(at).build(at).eval()
    state = dict(theirs.named_parameters())
    packed = {kind: state[f"attention.in_proj_{kind}"].chunk(3) for kind in ("weight", "bias")}
    names = {
        "o": "attention.out_proj",
        "norm": "layernorm",
        "feed_forward.up": "mlp.fc1",
        "feed_forward.down": "mlp.fc2",
    }
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            path, _, own = name.rpartition(".")
            value = state["probe"] if path == "query" else None
            value = packed[own]["qkv".index(path)] if path in ("q", "k", "v") else value
            parameter.copy_((state[f"{names[path]}.{own}"] if value is None else value).view_as(parameter))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x_BTD = torch.randn(3, 9, 32, generator=torch.Generator().manual_seed(2))
    close(ours(x_BTD), theirs(x_BTD))
