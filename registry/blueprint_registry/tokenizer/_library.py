"""What tokenizers that the tokenizers library runs have in common."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from blueprint.component import Site
from blueprint.kinds import Tokenizer

if TYPE_CHECKING:
    import numpy as np

    from blueprint_registry.tokenizer._content import Content

ROLES = ("pad", "unk", "bos", "cls", "sep", "mask", "eos")


class Library(Tokenizer):
    """A tokenizer whose `content` is a `tokenizer.json` (https://huggingface.co/docs/tokenizers)."""

    @property
    def content(self) -> "Content":
        """What the file says; raises ValueError where there is none."""
        raise TypeError(f"tokenizer `{self.spec_name}` names no file")

    def special(self, role: str) -> int | None:
        """The id of the special token of a role (`pad`, `mask`, …), or None."""
        raise TypeError(f"tokenizer `{self.spec_name}` tells no roles")

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text."""
        return self.special("eos")

    @property
    def bos_id(self) -> int | None:
        """The id that begins a text."""
        return self.special("bos")

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a token to be told."""
        return self.special("mask")

    @property
    def pad_id(self) -> int | None:
        """The id that fills up short samples."""
        return self.special("pad")

    def id_of(self, token: str) -> int | None:
        """The id of a token that is spelt so in the file."""
        return self.content.ids.get(token)

    def begins_word(self) -> "np.ndarray[Any, Any] | None":
        """(vocab_size,) whether a token begins a word; None where tokens bear no mark of it."""
        return self.content.begins_V

    @property
    def fingerprint(self) -> str:
        """A hash of the file's content, whatever its layout."""
        return f"{self.spec_name}-{self.content.fingerprint}"

    def build(self, at: Site) -> Self:
        """Itself: there is nothing to learn."""
        return self

    def encode(self, text: str) -> "np.ndarray[Any, Any]":
        """The ids of a text, (tokens,) int64, without the special tokens of a template. Special tokens spelt out in
        the text are themselves. Raises ValueError for lone surrogates."""
        import numpy as np

        return np.array(self.runner().encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def encode_all(self, texts: Sequence[str]) -> "list[np.ndarray[Any, Any]]":
        """What `encode` gives for each of many texts."""
        return self.many(texts, framed=False)

    def document_all(self, texts: Sequence[str]) -> "list[np.ndarray[Any, Any]]":
        """What `document` gives for each of many texts."""
        return self.many(texts, framed=False)

    def many(self, texts: Sequence[str], *, framed: bool) -> "list[np.ndarray[Any, Any]]":
        """The ids of many texts, (tokens,) int64 each, in the file's template or without."""
        import numpy as np

        found = self.runner().encode_batch_fast(list(texts), add_special_tokens=framed)
        return [np.array(each.ids, dtype=np.int64) for each in found]

    def words(self, words: Sequence[str]) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """The ids of the words as one text, as a whole document has them, and the number of the word in which each
        begins; a token of several words is the first's."""
        import numpy as np

        text, ids = " ".join(words), self.document(" ".join(words))
        starts = np.cumsum([0] + [len(word) + 1 for word in words])
        found = self.runner().encode(text, add_special_tokens=self.framed)
        numbers = np.full(len(found.ids), -1, dtype=np.int64)
        for at, ((begin, end), special) in enumerate(zip(found.offsets, found.special_tokens_mask, strict=True)):
            # A token may begin with the space before its word.
            begin += text[begin:end][:1] == " "
            if begin < end and not special:
                numbers[at] = np.searchsorted(starts, begin, side="right") - 1
        return ids, numbers[: len(ids)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out; U+FFFD where bytes are no character."""
        text: str = self.runner().decode([int(each) for each in ids], skip_special_tokens=True)
        return text

    def sentences(self, texts: Sequence[str], length: int | None = None) -> "dict[str, np.ndarray[Any, Any]]":
        """Texts as a model reads them whole, with the special tokens of the file's template.

        Gives `input_ids`, `attention_mask` and `token_type_ids`, (texts, tokens) int64, padded at the right to the
        longest; `length` cuts longer ones, their special tokens kept.
        """
        import numpy as np

        found = self.runner(length).encode_batch(list(texts))
        width, pad = max((len(each.ids) for each in found), default=0), self.pad_id or 0

        def padded(rows: Iterable[list[int]], fill: int) -> "np.ndarray[Any, Any]":
            return np.array([row + [fill] * (width - len(row)) for row in rows], dtype=np.int64)

        return {
            "input_ids": padded((each.ids for each in found), pad),
            "attention_mask": padded(([1] * len(each.ids) for each in found), 0),
            "token_type_ids": padded((each.type_ids for each in found), 0),
        }

    def exported(self) -> dict[str, str]:
        """`tokenizer.json`, and the `tokenizer_config.json` that says which of its tokens play which role."""
        import json

        names = {number: token for token, number in self.content.ids.items()}
        roles = {
            f"{role}_token": names.get(self.special(role) or 0) for role in ROLES if self.special(role) is not None
        }
        said = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **roles}
        return {
            "tokenizer.json": self.content.text,
            "tokenizer_config.json": json.dumps(said, indent=2, ensure_ascii=False) + "\n",
        }

    def runner(self, length: int | None = None) -> Any:
        """The library's tokenizer, which neither pads nor, but for `length`, cuts. Raises ValueError without it."""
        return _runner(self.spec_name, self.content.text, length)


def library(name: str) -> Any:
    """The tokenizers library; raises ValueError where it is not installed, naming the tokenizer that asks for it."""
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            f"tokenizer `{name}` needs the tokenizers library: pip install 'blueprint-lightning[tokenizers]'"
        ) from error
    return tokenizers


@lru_cache(maxsize=8)
def _runner(name: str, text: str, length: int | None) -> Any:
    tokenizers = library(name)
    try:
        made = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"the tokenizers library does not read the file of tokenizer `{name}`: {error}") from error
    made.no_padding()
    made.no_truncation()
    if length is not None:
        made.enable_truncation(length)
    return made
