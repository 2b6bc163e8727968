"""The decoder: a stack that continues a sequence token by token."""

from __future__ import annotations

import torch
from torch import Tensor

from blueprint.model.output import ModelState, Output
from blueprint.model.stack import StackModel


class DecoderModel(StackModel):
    """A decoder as its plan says (Radford et al., 2018; Vaswani et al., 2017, §3.1)."""

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
        prefix_length: Tensor | None = None,
        state: ModelState | None = None,
        logits: bool = True,
    ) -> Output:
        """Run ids (B, T) through the model.

        `attention_mask` (B, T) is 0 at padding, on whichever side; `token_type_ids` (B, T) are 0 where not said;
        `segment_ids` (B, T) number the documents of a packed sample; the first `prefix_length` (B,) real tokens of each
        row see each other both ways; `state` holds what earlier calls have seen. `logits=False` stops at the hidden
        states. Raises TypeError for an input that a decoder does not take, ValueError for a prefix that is not read at
        once, or where every token sees all anyway.
        """
        unused = {
            "decoder_input_ids": decoder_input_ids,
            "decoder_attention_mask": decoder_attention_mask,
        }
        if prefix_length is not None and not self.plan.site.causal:
            raise ValueError("with `causal: false` every token sees all: leave prefix_length out")
        said = (attention_mask, token_type_ids, position_ids, segment_ids, pixel_values)
        return self.run(input_ids, *said, state, logits, unused, prefix_length)

    @property
    def incremental(self) -> bool:
        """Whether the model decodes step by step with a state."""
        return self.steps

    def new_state(
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ModelState:
        """A state for `batch` sequences of up to `length` tokens; raises TypeError where a layer has none."""
        return ModelState(self.layer_states(batch, length, dtype, device), self.steady)
