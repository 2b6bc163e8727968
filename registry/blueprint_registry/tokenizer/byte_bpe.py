"""Byte-pair encoding over bytes."""

from typing import Any

from pydantic import PositiveInt

from blueprint.component import Fault, Faults, register, rule
from blueprint_registry.tokenizer._trained import SAID, Trained


@register("byte_bpe")
class ByteBpe(Trained):
    """Byte-pair encoding that begins from the 256 bytes of UTF-8, so that no text is unknown and each comes back as it
    was (Radford et al., 2019, §2.2)."""

    traits = frozenset({"every_text"})

    pad: str | None = None
    """What fills up short samples; null for none of its own."""

    eos: str | None = "<|endoftext|>"
    """What ends a text, put after every document; null for none."""

    pattern: str | None = None
    """A regular expression whose matches are words, as is what lies between them; null for GPT-2's, which keeps
    letters, digits and signs apart and a space with what follows."""

    min_frequency: PositiveInt = 2
    """How often a pair occurs at least to be joined."""

    @rule("size", *SAID, "extra", "sentinels")
    def _room_for_bytes(size: int, *said: Any) -> Faults:
        *roles, extra, sentinels = said
        needed = 256 + len({*roles, *extra} - {None}) + sentinels
        if size < needed:
            return Fault(f"256 bytes and the special tokens need {needed} ids", "vocab_size", f"say {needed} or more")
        return None

    def begun(self, tokenizers: Any) -> tuple[Any, Any]:
        """Byte pairs without any."""
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=self.size,
            min_frequency=self.min_frequency,
            special_tokens=self.specials,
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        return tokenizers.models.BPE(), trainer

    def cut(self, tokenizers: Any) -> tuple[Any, Any]:
        """Words as bytes."""
        before, decoder = tokenizers.pre_tokenizers, tokenizers.decoders.ByteLevel()
        if self.pattern is None:
            return before.ByteLevel(add_prefix_space=False), decoder
        words = before.Split(tokenizers.Regex(self.pattern), "isolated")
        return before.Sequence([words, before.ByteLevel(add_prefix_space=False, use_regex=False)]), decoder
