"""Writing a target text for a source text."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from blueprint.component import Fault, Faults, Site, register
from blueprint.kinds import Objective, Tokenizer

if TYPE_CHECKING:
    from blueprint_registry.objective.seq2seq_nn import Seq2SeqObjective

_SAID = {"bos": "the beginning of a text", "eos": "the end of a text", "pad": "padding"}


@register("seq2seq")
class Seq2seq(Objective):
    """Cross-entropy of every token of the target, its end included, given the source and the target's tokens before it
    (teacher forcing: Sutskever et al., 2014, §2; Vaswani et al., 2017, §3.1), a mean over tokens in nats.

    Held-out pairs are scored by the share of right tokens (`accuracy`) and of targets that are right throughout
    (`exact_match`: those that greedy decoding writes). Smoothing, z-loss and the losses of the model's parts act in
    training alone.
    """

    traits: ClassVar[frozenset[str]] = frozenset({"next_token"})
    models: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    samples: ClassVar[frozenset[str]] = frozenset({"pairs"})
    beside: ClassVar[dict[str, Any]] = {"model.type": "encoder_decoder"}

    start: Literal["bos", "eos", "pad"] = "eos"
    """Which of the tokenizer's ids the decoder reads before the first token: the one that begins a text, ends one
    (BART, fairseq), or pads (T5)."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability spread evenly over the vocabulary in the target (Szegedy et al., 2016, §7)."""

    z_loss: Annotated[float, Field(ge=0)] = 0.0
    """Weight of log²Z, Z the softmax's denominator, which keeps logits from drifting (PaLM, 2022, §5: 1e-4)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Plain, and with both additions."""
        return [{}, {"label_smoothing": 0.1, "z_loss": 1e-4}]

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

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Which id the decoder starts with."""
        return {"start_id": self.start_id(tokenizer)}

    def build(self, at: Site) -> "Seq2SeqObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.seq2seq_nn import Seq2SeqObjective

        return Seq2SeqObjective(self)
