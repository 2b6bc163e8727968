"""What objectives have in common that predict tokens, and those among them that write a target."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from blueprint.component import Fault, Faults, Site
from blueprint.kinds import Objective, Tokenizer

if TYPE_CHECKING:
    from blueprint_registry.objective._writing_nn import WritingObjective

_SAID = {"bos": "the beginning of a text", "eos": "the end of a text", "pad": "padding"}


class Predicting(Objective):
    """The mean cross-entropy of some tokens. Additions to it act in training alone, so that validation losses of
    different settings compare."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability spread evenly over the vocabulary in the target (Szegedy et al., 2016, §7)."""

    z_loss: Annotated[float, Field(ge=0)] = 0.0
    """Weight of log²Z, Z the softmax's denominator, which keeps logits from drifting (PaLM, 2022, §5: 1e-4)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and with both additions."""
        return [{}, {"label_smoothing": 0.1, "z_loss": 1e-4}]

    @property
    def additions(self) -> dict[str, float]:
        """What `cross_entropy` is told in training beyond the tokens."""
        return {"label_smoothing": self.label_smoothing, "z_loss": self.z_loss}


class Writing(Predicting):
    """Cross-entropy of a target's tokens, given a source and the target's tokens before each."""

    traits: ClassVar[frozenset[str]] = frozenset({"next_token", "running", "softmax"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    beside: ClassVar[dict[str, Any]] = {"model.type": "encoder_decoder"}

    start: Literal["bos", "eos", "pad"] = "eos"
    """Which of the tokenizer's ids the decoder reads before the first token: the one that begins a text, ends one
    (BART, fairseq), or pads (T5)."""

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """A tokenizer without an end of texts, or without the id to start with."""
        if getattr(tokenizer, "eos_id", None) is None:
            what = f"tokenizer `{tokenizer.spec_name}` has no id for the end of a text, by which targets end"
            return Fault(what, "tokenizer", "choose another")
        if getattr(tokenizer, f"{self.start}_id", None) is None:
            what = f"tokenizer `{tokenizer.spec_name}` has no id for {_SAID[self.start]}"
            return Fault(what, "objective.start", "say `start: eos`, the id that every text ends with")
        return None

    def start_id(self, tokenizer: Tokenizer) -> int | None:
        """The tokenizer's id for `start`."""
        found: int | None = getattr(tokenizer, f"{self.start}_id", None)
        return found

    def build(self, at: Site) -> "WritingObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective._writing_nn import WritingObjective

        return WritingObjective(self)
