"""Telling which text goes with which image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from blueprint.component import Site, register
from blueprint.kinds import Objective, Tokenizer

if TYPE_CHECKING:
    from blueprint_registry.objective.image_text_nn import ImageTextObjective


@register("image_text")
class ImageText(Objective):
    """How well a dual encoder tells which texts of a batch go with which of its images, a mean over pairs in nats
    (CLIP: Radford et al., 2021, §2.3 and figure 3).

    Held-out pairs are scored by the share of images whose text is found among those of the batch (`image_to_text`; one
    that reads the same counts as well), and of texts whose image is (`text_to_image`); where the data has texts of its
    classes, also by the share of images told apart by these alone, the vectors of a class's texts averaged
    (`zero_shot`; §3.1.4). Other texts and images are those of the whole batch, however many processes share
    it. Losses of the model's parts act in training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"pooled", "compares"})
    models: ClassVar[frozenset[str]] = frozenset({"dual_encoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"captioned"})
    beside: ClassVar[dict[str, Any]] = {"model.type": "dual_encoder"}
    unit: ClassVar[str | None] = "pair"

    loss: Literal["softmax", "sigmoid"] = "softmax"
    """`softmax` is CLIP's: the cross-entropy of the right text among all for each image, and of the right image among
    all for each text, half of either. `sigmoid` is SigLIP's: whether a text goes with an image is asked of every two by
    itself (Zhai et al., 2023, §3.2); a `bias` in the model's `contrast` then lets it begin with no."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """CLIP's and SigLIP's."""
        return [{}, {"loss": "sigmoid"}]

    def change(self, tokenizer: Tokenizer) -> "Drawn":
        """One of an image's texts, drawn anew every epoch."""
        return Drawn()

    def build(self, at: Site) -> "ImageTextObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.image_text_nn import ImageTextObjective

        return ImageTextObjective(self)


@dataclass(frozen=True)
class Drawn:
    """Draws one of a sample's texts by lot: `(arrays, word) -> arrays`, the same for the same word."""

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """input_ids and attention_mask (T,) of those of K texts (K, T)."""
        from blueprint_registry.objective._lots import lots, uniform

        texts = ("input_ids", "attention_mask")
        one = int(uniform(lots(f"text {word}", 1))[0] * len(arrays["input_ids"]))
        return arrays | {name: arrays[name][one] for name in texts}
