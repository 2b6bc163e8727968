"""An embedding, a stack of blocks, a final norm and a head: what models of layers have in common.

B batch, T tokens, N targets, D model width, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blueprint.model.inputs import only_taken
from blueprint.model.layers import built_layers, through
from blueprint.model.output import ModelState, Output, default_dtype
from blueprint.model.precision import keep_table_float32
from blueprint.ops import Embedding, Flow, cross_entropy, merge_terms, steady
from blueprint.ops.cross_entropy import counting
from blueprint.plan import Plan, PlanLayer


class Trunk(nn.Module):
    """An embedding, the layers of one stack and the norm after them: inputs to hidden states."""

    embedding: Any

    def assemble(self, parts: Mapping[str, Any], stack: Sequence[PlanLayer]) -> None:
        """Take the built `embedding` and `final_norm` (if any), and build the layers."""
        self.embedding = parts["embedding"]
        self.layers = built_layers(stack)
        self.norm = parts.get("final_norm")

    @property
    def steps(self) -> bool:
        """Whether every layer decodes step by step with a state."""
        return all(getattr(layer, "incremental", hasattr(layer, "new_state")) for layer in self.layers)

    def steady(self, length: int) -> int | None:
        """Up to how many tokens a state of `length` stays exact, None: for ever. Beyond, a part that follows the
        sequence's length would make anew what is kept, and so must the state be."""
        return steady(self.layers, length)

    def layer_states(
        self, batch: int, length: int, dtype: torch.dtype | None, device: torch.device | str | None
    ) -> list[Any]:
        """A state for each layer; raises TypeError where one has none."""
        if not self.steps:
            raise TypeError("a layer of this model has no state: decode without one")
        dtype = dtype or default_dtype(self)
        device = device or next(self.parameters()).device
        layers: list[Any] = list(self.layers)
        return [layer.new_state(batch, length, dtype, device) for layer in layers]

    def check_types(self, token_type_ids: Tensor | None) -> None:
        """Raise TypeError for types of tokens where the embedding tells none apart."""
        if token_type_ids is not None and getattr(self.embedding, "token_types", None) is None:
            raise TypeError(
                "this model has no token types: leave token_type_ids out, or say `token_types` in its embedding"
            )

    @property
    def table_VD(self) -> Tensor | None:
        """The token table that a tied head reads, if the embedding has one."""
        tokens = getattr(self.embedding, "tokens", None)
        return None if tokens is None else tokens.weight

    def trunk(self, inputs: Tensor, flow: Flow, state: ModelState | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Inputs to the hidden states (B, T, D) after the last norm, with the terms of all layers."""
        x_BTD = self.embedding(inputs, flow)
        x_BTD, terms = through(self.layers, x_BTD, flow, None if state is None else state.layers)
        return (x_BTD if self.norm is None else self.norm(x_BTD)), terms


class Headed(nn.Module):
    """What a model does with hidden states: logits, or their loss."""

    head: Any
    _head_float32: bool

    @property
    @abstractmethod
    def table_VD(self) -> Tensor | None:
        """The token table that a tied head reads, if there is one."""

    def take_head(self, head: nn.Module, plan: Plan) -> None:
        """Take the built head."""
        self.head = head
        self._head_float32 = "head" in (plan.site.float32 or ())
        said: Any = getattr(plan.model, "head", None)
        if self._head_float32 and getattr(said, "tie", False):
            # A tied head's weight is the table's.
            tables = (each for each in self.modules() if isinstance(each, Embedding))
            for table in (each for each in tables if each.weight is self.table_VD):
                keep_table_float32(table)

    def project(self, hidden_BTD: Tensor, flow: Flow | None = None) -> Tensor:
        """Hidden states to the head's output: logits (B, T, V), or (B, labels) of whole sequences, for which `flow`
        tells padding (None: there is none).
        """
        logits: Tensor = self.head(hidden_BTD, self.table_VD, flow)
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
        hidden_ND, target_N = counting(hidden_ND, target_N)
        weight_VD, bias_V = projection(self.table_VD)
        transform = getattr(self.head, "transform", None)
        more = {"bias_V": bias_V, "scale": self.head.scale, "softcap": self.head.softcap, **options}
        if not self._head_float32:
            return cross_entropy(hidden_ND if transform is None else transform(hidden_ND), weight_VD, target_N, **more)
        with torch.autocast(hidden_ND.device.type, enabled=False):
            more["bias_V"] = None if bias_V is None else bias_V.float()
            hidden_ND = hidden_ND.float() if transform is None else transform(hidden_ND.float())
            return cross_entropy(hidden_ND, weight_VD.float(), target_N, **more)


class StackModel(Trunk, Headed):
    """A model of one stack as its plan says (Vaswani et al., 2017, §3.1)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        parts = {name: part.build(at) for name, part, at in plan.model.parts(plan.site) if name != "init"}
        (stack,) = plan.stacks.values()
        self.assemble(parts, stack)
        self.take_head(parts["head"], plan)

    def run(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        segment_ids: Tensor | None,
        pixel_values: Tensor | None,
        state: ModelState | None,
        logits: bool,
        unused: Mapping[str, Tensor | None],
        prefix_length: Tensor | None = None,
    ) -> Output:
        """What `forward` of every model of one stack does; `unused` are the public face's inputs it does not take."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "segment_ids": segment_ids,
            "pixel_values": pixel_values,
            **unused,
        }
        taken = only_taken(self.plan.model, given)
        self.check_types(token_type_ids)
        count = self.plan.site.max_length if input_ids is None else input_ids.shape[1]
        assert count is not None, "an embedding says how many tokens it makes, or takes ids"
        flow = Flow.of(
            taken.shape[0],
            count,
            taken.device,
            attention_mask,
            position_ids,
            segment_ids,
            seen=None if state is None else state.seen,
            token_type_ids=token_type_ids,
            input_ids=input_ids,
            prefix_length=prefix_length,
        )
        if state is not None:
            state.check(flow)
        hidden_BTD, terms = self.trunk(taken, flow, state)
        if state is not None:
            state.advance(flow)
        out = self.project(hidden_BTD, flow) if logits else None
        merge_terms(terms, flow.terms)
        return Output(out, hidden_BTD, terms)

    @property
    def incremental(self) -> bool:
        """Whether the model decodes step by step with a state."""
        return False
