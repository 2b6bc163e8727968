"""The least that decoding takes without a compiler: the Llama shape as one loop of torch's own functions.

No modules, no checks, no choice of anything; queries, keys and values are one product, and so are gate and up. What is
left between this and the matrix products alone is attention, norms, rotation, and torch's way to each kernel.

B batch (1), T tokens, D model width, H heads, G heads of keys and values, E width of a head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from llama_shape import HEADS, KV_HEADS
from torch import Tensor, nn

BARE = "a bare loop"


def bare(model: nn.Module, ids_1T: Tensor, tokens: int) -> Callable[[], Tensor]:
    """Writes `tokens` ids after the prompt with our model's weights, the likeliest each time."""
    held = model.state_dict()
    table_VD, last_D, head_VD = (held[f"{name}.weight"] for name in ("embedding.tokens", "norm", "head"))
    layers = [_layer(held, f"layers.{index}.") for index in range(len(model.layers))]  # type: ignore[arg-type]
    width = table_VD.shape[1]
    each, length = width // HEADS, ids_1T.shape[1] + tokens
    by, floor = torch.tensor(width**-0.5), torch.tensor(model.norm.eps**0.5)  # type: ignore[operator, union-attr]
    angle_TF = torch.arange(length)[:, None] / 10000.0 ** (torch.arange(0, each, 2) / each)
    cos_TE, sin_TE = torch.cat([angle_TF.cos()] * 2, -1), torch.cat((-angle_TF.sin(), angle_TF.sin()), -1)

    def norm(x_1TD: Tensor, weight_D: Tensor) -> Tensor:
        return (x_1TD / torch.hypot(torch.linalg.vector_norm(x_1TD, dim=-1, keepdim=True) * by, floor)).mul_(weight_D)

    def read(ids_1T: Tensor, past: int, kept: list[Tensor]) -> Tensor:
        new = ids_1T.shape[1]
        now, x_1TD = past + new, F.embedding(ids_1T, table_VD)
        for (first_D, qkv_ED, o_DE, second_D, gate_up_FD, down_DF), (k_1GTE, v_1GTE) in zip(layers, kept, strict=True):
            all_1HTE = F.linear(norm(x_1TD, first_D), qkv_ED).view(1, new, -1, each).transpose(1, 2)
            turn_1HTE = all_1HTE[:, : HEADS + KV_HEADS]
            turned_1HTE = torch.addcmul(turn_1HTE * cos_TE[past:now], turn_1HTE.roll(each // 2, -1), sin_TE[past:now])
            k_1GTE.narrow(1, past, new).copy_(turned_1HTE[0, HEADS:])
            v_1GTE.narrow(1, past, new).copy_(all_1HTE[0, HEADS + KV_HEADS :])
            q_1HTE, k, v = turned_1HTE[:, :HEADS], k_1GTE[None, :, :now], v_1GTE[None, :, :now]
            if new == 1:  # the queries of a group are rows of one product
                q_1HTE = q_1HTE.reshape(1, KV_HEADS, -1, each)
            o_1HTE = F.scaled_dot_product_attention(q_1HTE, k, v, is_causal=new > 1, enable_gqa=new > 1)
            o_1TD = o_1HTE.reshape(1, 1, -1) if new == 1 else o_1HTE.transpose(1, 2).reshape(1, new, -1)
            x_1TD = x_1TD + F.linear(o_1TD, o_DE)
            gate_1TF, up_1TF = F.linear(norm(x_1TD, second_D), gate_up_FD).chunk(2, -1)
            x_1TD = x_1TD + F.linear(F.silu(gate_1TF).mul_(up_1TF), down_DF)
        return F.linear(norm(x_1TD[:, -1:], last_D), head_VD)[:, 0].argmax(-1, keepdim=True)

    @torch.inference_mode()
    def write() -> Tensor:
        kept = [table_VD.new_empty(2, KV_HEADS, length, each) for _ in layers]
        found, seen = [ids_1T], 0
        for _ in range(tokens):
            new_11 = read(found[-1], seen, kept)
            seen += found[-1].shape[1]
            found.append(new_11)
        return torch.cat(found, 1)

    return write


def _layer(held: dict[str, Tensor], path: str) -> tuple[Tensor, ...]:
    def weight(*names: str) -> Tensor:
        return torch.cat([held[f"{path}{name}.weight"] for name in names])

    attention = weight(*(f"attention.{name}" for name in "qkv")), weight("attention.o")
    feed_forward = weight("feed_forward.gate", "feed_forward.up"), weight("feed_forward.down")
    return weight("attention_norm"), *attention, weight("feed_forward_norm"), *feed_forward
