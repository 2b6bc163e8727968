"""The dual encoder: one tower reads text, the other images, and their vectors are compared.

J texts, I images, B either, T tokens, C channels, H height, W width, D width of a tower, P width of its vector.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from blueprint.component import Site
from blueprint.model.inputs import check_given
from blueprint.model.output import Output
from blueprint.model.stack import Trunk
from blueprint.ops import Flow, merge_terms
from blueprint.plan import Plan, PlanLayer
from blueprint.schema.towers import DualEncoder, Tower


class TowerModel(Trunk):
    """A stack that makes one vector of its input."""

    def __init__(self, said: Tower, layers: tuple[PlanLayer, ...], at: Site) -> None:
        super().__init__()
        parts = {name: part.build(site) for name, part, site in said.parts(at)}
        self.assemble(parts, layers)
        self.pool = parts["pool"]
        self.pool_norm = parts.get("pool_norm")

    def forward(self, inputs: Tensor, flow: Flow) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Inputs to the vector (B, P), the hidden states (B, T, D), and the terms of all layers."""
        x_BTD, terms = self.trunk(inputs, flow, None)
        x_BP = self.pool(x_BTD, flow)
        merge_terms(terms, flow.terms)
        return (x_BP if self.pool_norm is None else self.pool_norm(x_BP)), x_BTD, terms


class DualEncoderModel(nn.Module):
    """A dual encoder as its plan says (Radford et al., 2021, §2.3 and figure 3)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        said = cast(DualEncoder, plan.model)
        sites = said.sides(plan.site)
        self.text = TowerModel(said.text, plan.stacks["text"], sites["text"])
        self.image = TowerModel(said.image, plan.stacks["image"], sites["image"])
        self._patches = sites["image"].max_length
        self.contrast: Any = next(part.build(at) for name, part, at in said.parts(plan.site) if name == "contrast")

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
        """Run texts `input_ids` (J, T) and images `pixel_values` (I, C, H, W), or either, through their towers.

        Gives logits (I, J) of every image with every text, where there are both and `logits` asks for them; `vectors`
        of length 1 by side, `text` and `image`; `hidden` of the text tower, or of the image tower where there is no
        text. What stands beside ids is as an encoder takes it. Raises TypeError for an input that a dual encoder does
        not take, or none.
        """
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "segment_ids": segment_ids,
            "pixel_values": pixel_values,
            "decoder_input_ids": decoder_input_ids,
            "decoder_attention_mask": decoder_attention_mask,
        }
        found = check_given(self.plan.model, given)
        if input_ids is None and (pixel_values is None or len(found) > 1):
            beside = [name for name in found if name != "pixel_values"]
            raise TypeError(f"{', '.join(beside)} without input_ids" if beside else "no input_ids and no pixel_values")
        self.text.check_types(token_type_ids)
        text_JP = image_IP = text_JTD = image_ITD = None
        terms: dict[str, Tensor] = {}
        if input_ids is not None:
            flow = Flow.of(
                input_ids.shape[0],
                input_ids.shape[1],
                input_ids.device,
                attention_mask,
                position_ids,
                segment_ids,
                token_type_ids=token_type_ids,
                input_ids=input_ids,
            )
            text_JP, text_JTD, more = self.text(input_ids, flow)
            merge_terms(terms, more)
        if pixel_values is not None:
            assert self._patches is not None
            flow = Flow.of(pixel_values.shape[0], self._patches, pixel_values.device)
            image_IP, image_ITD, more = self.image(pixel_values, flow)
            merge_terms(terms, more)
        logits_IJ, vectors = self.contrast(image_IP, text_JP)
        hidden_BTD = image_ITD if text_JTD is None else text_JTD
        assert hidden_BTD is not None
        return Output(logits_IJ if logits else None, hidden_BTD, terms, vectors)

    @property
    def incremental(self) -> bool:
        """Nothing is decoded step by step."""
        return False
