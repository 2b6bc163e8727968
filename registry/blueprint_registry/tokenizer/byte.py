"""UTF-8 bytes as tokens."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import NonNegativeInt

from blueprint.component import Site, register
from blueprint.kinds import Tokenizer

if TYPE_CHECKING:
    import numpy as np


@register("byte")
class Byte(Tokenizer):
    """The 256 bytes of UTF-8 as ids 0 to 255, and 256 for the end of a text (as ByT5: Xue et al., 2022, §3.1)."""

    mask: bool = False
    """Whether there is an id, 257, that stands for a token to be told, as the objective `masked` needs."""

    sentinels: NonNegativeInt = 0
    """How many ids follow that stand for no text, as objectives need to mark places (`span_corruption`,
    `fill_in_the_middle`)."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Without and with a mask and sentinels."""
        return [{}, {"mask": True}, {"mask": True, "sentinels": 3}]

    @property
    def vocab_size(self) -> int:
        """256 bytes, the end of a text, the mask where there is one, and the sentinels."""
        return 257 + self.mask + self.sentinels

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a token to be told."""
        return 257 if self.mask else None

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The end of a text, the mask and the sentinels."""
        return tuple(range(256, self.vocab_size))

    @property
    def sentinel_ids(self) -> tuple[int, ...]:
        """The last ids of all."""
        return tuple(range(257 + self.mask, self.vocab_size))

    @property
    def eos_id(self) -> int:
        """The id that ends a text."""
        return 256

    @property
    def fingerprint(self) -> str:
        """What makes the ids what they are: two tokenizers of one fingerprint give the same ids."""
        return f"byte-{self.vocab_size}"

    def build(self, at: Site) -> Self:
        """Itself: there is nothing to learn."""
        return self

    def encode(self, text: str) -> "np.ndarray[Any, Any]":
        """The UTF-8 bytes of `text`, (bytes,) uint8, without an end. Never fails: lone surrogates have bytes too."""
        import numpy as np

        return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)

    def words(self, words: Sequence[str]) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """The bytes of words and of the spaces between, which are of none."""
        import numpy as np

        ids, numbers = super().words(words)
        numbers[1:] = np.where(np.diff(numbers) > 0, -1, numbers[1:])
        return ids, numbers

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`, for streaming, where a character may come in parts; ids that are no byte are left out."""
        import numpy as np

        array = np.asarray(ids if hasattr(ids, "__len__") else list(ids), dtype=np.int64)
        return array[(array >= 0) & (array < 256)].astype(np.uint8).tobytes()

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, with U+FFFD where their bytes are not UTF-8."""
        return self.decode_bytes(ids).decode("utf-8", "replace")
