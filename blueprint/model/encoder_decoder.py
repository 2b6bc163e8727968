"""The encoder-decoder: one stack reads a source, another writes a target and looks at what the first made of it.

B batch, S tokens of the source, T tokens of the target, D model width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blueprint.model.inputs import check_given
from blueprint.model.output import ModelState, Output
from blueprint.model.stack import Headed, Trunk
from blueprint.ops import Flow, Memory, merge_terms
from blueprint.plan import Plan


class EncoderDecoderModel(Headed):
    """An encoder-decoder as its plan says (Vaswani et al., 2017, §3.1)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        parts = {name: part.build(at) for name, part, at in plan.model.parts(plan.site) if name != "init"}
        self.encoder, self.decoder = Trunk(), Trunk()
        for side, trunk in (("encoder", self.encoder), ("decoder", self.decoder)):
            own = {name.removeprefix(f"{side}."): part for name, part in parts.items() if name.startswith(f"{side}.")}
            trunk.assemble(own, plan.stacks[side])
        if getattr(plan.model, "embeddings", "separate") == "shared":
            # One module under two names, so that it is one parameter, drawn and counted once.
            self.decoder.embedding.tokens = self.encoder.embedding.tokens
        self.take_head(parts["head"], plan)

    @property
    def table_VD(self) -> Tensor | None:
        """The token table that a tied head reads: the decoder's."""
        return self.decoder.table_VD

    @property
    def incremental(self) -> bool:
        """Whether the decoder goes step by step with a state."""
        return self.decoder.steps

    def steady(self, length: int) -> int | None:
        """Up to how many tokens of the target a state of `length` stays exact; None: for ever."""
        return self.decoder.steady(length)

    def new_state(
        self, batch: int, length: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ModelState:
        """A state for `batch` targets of up to `length` tokens; raises TypeError where a layer has none.

        At its first use it takes up every layer's keys and values of the memory, which `nbytes` counts from then on.
        """
        return ModelState(self.decoder.layer_states(batch, length, dtype, device), self.steady)

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> tuple[Memory, dict[str, Tensor]]:
        """A source's ids (B, S) to the memory that the decoder reads, and the terms of the encoder's layers.

        `attention_mask` (B, S) is 0 at padding, on whichever side. Raises TypeError for types of tokens where there
        are none.
        """
        self.encoder.check_types(token_type_ids)
        batch, length = input_ids.shape
        flow = Flow.of(batch, length, input_ids.device, attention_mask, position_ids, token_type_ids=token_type_ids)
        x_BSD, terms = self.encoder.trunk(input_ids, flow, None)
        return Memory(x_BSD, flow.keep_BT), terms

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
        memory: Memory | None = None,
        state: ModelState | None = None,
        logits: bool = True,
    ) -> Output:
        """Run a source (B, S) through the encoder and `decoder_input_ids` (B, T) through the decoder.

        The masks, (B, S) and (B, T), are 0 at padding, on whichever side; `token_type_ids` and `position_ids` are the
        source's. In place of `input_ids` may stand the `memory` that `encode` made of them, or, after the first step, a
        `state` that has seen it. `logits=False` stops at the hidden states (B, T, D). Raises TypeError for an input
        that is missing or that an encoder-decoder does not take.
        """
        source = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
        }
        target = {"decoder_input_ids": decoder_input_ids, "decoder_attention_mask": decoder_attention_mask}
        check_given(self.plan.model, {**source, **target, "segment_ids": segment_ids, "pixel_values": pixel_values})
        beside = [name for name, value in source.items() if value is not None]
        if input_ids is None and beside:
            raise TypeError(f"{', '.join(beside)} without input_ids")
        if decoder_input_ids is None:
            raise TypeError("decoder_input_ids are missing")
        seen = None if state is None else state.seen
        fresh = isinstance(seen, int) and seen == 0
        if (input_ids is None) == (memory is None) and (memory is not None or state is None or fresh):
            both = memory is not None
            what = (
                "input_ids and memory are both given: the memory is what was made of them"
                if both
                else ("input_ids are missing, or the memory that `encode` made of them")
            )
            raise TypeError(what)
        terms: dict[str, Tensor] = {}
        if input_ids is not None:
            memory, terms = self.encode(
                input_ids, attention_mask, token_type_ids=token_type_ids, position_ids=position_ids
            )
        batch, length = decoder_input_ids.shape
        flow = Flow.of(batch, length, decoder_input_ids.device, decoder_attention_mask, seen=seen, memory=memory)
        if state is not None:
            state.check(flow)
        hidden_BTD, found = self.decoder.trunk(decoder_input_ids, flow, state)
        merge_terms(terms, found)
        if state is not None:
            state.advance(flow)
        out = self.project(hidden_BTD, flow) if logits else None
        merge_terms(terms, flow.terms)
        return Output(out, hidden_BTD, terms)
