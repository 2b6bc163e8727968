"""The encoder: a stack that reads a whole sequence at once."""

from __future__ import annotations

from torch import Tensor

from blueprint.model.output import Output
from blueprint.model.stack import StackModel


class EncoderModel(StackModel):
    """An encoder as its plan says (Devlin et al., 2019, §3; Vaswani et al., 2017, §3.1)."""

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
        logits: bool = True,
    ) -> Output:
        """Run ids (B, T) through the model, or `pixel_values` (B, C, H, W), whichever its embedding takes.

        `attention_mask` (B, T) is 0 at padding, on whichever side; `token_type_ids` (B, T) are 0 where not said;
        `segment_ids` (B, T) number the documents of a packed sample. `logits=False` stops at the hidden states. Raises
        TypeError for an input that an encoder does not take.
        """
        unused = {
            "decoder_input_ids": decoder_input_ids,
            "decoder_attention_mask": decoder_attention_mask,
        }
        said = (attention_mask, token_type_ids, position_ids, segment_ids, pixel_values)
        return self.run(input_ids, *said, None, logits, unused)
