"""The decoder: an embedding, a stack of blocks, a final norm and a head.

B batch, T tokens, N targets, D model width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.model.output import ModelState, Output, default_dtype
from blueprint.ops import Flow, cross_entropy, merge_terms
from blueprint.plan import Plan


class DecoderModel(nn.Module):
    """A decoder as its plan says (Radford et al., 2018; Vaswani et al., 2017, §3.1)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        parts = {name: part.build(at) for name, part, at in plan.model.parts(plan.site) if name != "init"}
        self.embedding = parts["embedding"]
        (stack,) = plan.stacks.values()
        made: dict[int, nn.Module] = {}
        for layer in stack:
            # Layers that share weights are one module; each still decodes with a state of its own.
            if layer.weights_of == layer.site.layer:
                made[layer.site.layer] = layer.block.build(layer.site)
        self.layers = nn.ModuleList(made[layer.weights_of] for layer in stack)
        self.norm = parts.get("final_norm")
        self.head = parts["head"]
        self._head_float32 = "head" in (plan.site.float32 or ())

    @property
    def table_VD(self) -> Tensor | None:
        """The token table that a tied head reads, if the embedding has one."""
        tokens = getattr(self.embedding, "tokens", None)
        return None if tokens is None else tokens.weight

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        state: ModelState | None = None,
        logits: bool = True,
    ) -> Output:
        """Run ids (B, T) through the model.

        `attention_mask` (B, T) is 0 at padding, on whichever side; `segment_ids` (B, T) number the documents of a
        packed sample; `state` holds what earlier calls have seen. `logits=False` stops at the hidden states. Raises
        TypeError for an input that a decoder does not take.
        """
        unused = (token_type_ids, pixel_values, decoder_input_ids, decoder_attention_mask)
        if input_ids is None or any(each is not None for each in unused):
            raise TypeError("a decoder takes input_ids, attention_mask, position_ids and segment_ids")
        batch, length = input_ids.shape
        flow = Flow.of(
            batch,
            length,
            input_ids.device,
            attention_mask,
            position_ids,
            segment_ids,
            seen=None if state is None else state.seen,
        )
        hidden_BTD, terms = self.trunk(input_ids, flow, state)
        if state is not None:
            state.advance(flow)
        return Output(self.project(hidden_BTD) if logits else None, hidden_BTD, terms)

    def trunk(self, ids_BT: Tensor, flow: Flow, state: ModelState | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Ids to the hidden states (B, T, D) that the head reads, with the terms of all layers."""
        x_BTD = self.embedding(ids_BT, flow)
        terms: dict[str, Tensor] = {}
        for index, layer in enumerate(self.layers):
            x_BTD, found = layer(x_BTD, flow, None if state is None else state.layers[index])
            if found:
                merge_terms(terms, found)
        return (x_BTD if self.norm is None else self.norm(x_BTD)), terms

    def project(self, hidden_BTD: Tensor) -> Tensor:
        """Hidden states to logits (B, T, V)."""
        logits: Tensor = self.head(hidden_BTD, self.table_VD)
        return logits

    def cross_entropy(self, hidden_BTD: Tensor, target_BT: Tensor, **options: Any) -> Tensor:
        """Mean cross-entropy in nats of the targets (-100: ignored), without the whole logits at once where the head
        allows it; `options` are those of `blueprint.ops.cross_entropy`.
        """
        hidden_ND, target_N = hidden_BTD.flatten(0, 1), target_BT.flatten()
        projection = getattr(self.head, "projection", None)
        if not callable(projection):
            smoothing = options.get("label_smoothing", 0.0)
            logits = self.project(hidden_BTD).flatten(0, 1).float()
            loss = F.cross_entropy(logits, target_N, label_smoothing=smoothing)
            z_loss = options.get("z_loss", 0.0)
            if z_loss:
                keep = target_N != -100
                loss = loss + z_loss * logits.logsumexp(-1)[keep].square().mean()
            return loss
        weight_VD, bias_V = projection(self.table_VD)
        more = {"bias_V": bias_V, "scale": self.head.scale, "softcap": self.head.softcap, **options}
        if not self._head_float32:
            return cross_entropy(hidden_ND, weight_VD, target_N, **more)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            more["bias_V"] = None if bias_V is None else bias_V.float()
            return cross_entropy(hidden_ND.float(), weight_VD.float(), target_N, **more)

    @property
    def incremental(self) -> bool:
        """Whether the model decodes step by step with a state."""
        return all(getattr(layer, "incremental", hasattr(layer, "new_state")) for layer in self.layers)

    def new_state(
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ModelState:
        """A state for `batch` sequences of up to `length` tokens; raises TypeError where a layer has none."""
        if not self.incremental:
            raise TypeError("a layer of this model has no state: decode without one")
        dtype = dtype or default_dtype(self)
        device = device or next(self.parameters()).device
        layers: list[Any] = list(self.layers)
        return ModelState([layer.new_state(batch, length, dtype, device) for layer in layers])
