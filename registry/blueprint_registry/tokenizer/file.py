"""A tokenizer that was made elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import NonNegativeInt

from blueprint.component import Fault, FilePath, Site, register, rule
from blueprint.kinds import Tokenizer

if TYPE_CHECKING:
    import numpy as np

    from blueprint_registry.tokenizer._content import Content

ROLES = ("pad", "mask", "cls", "sep", "bos", "eos", "unk")


@register("file")
class File(Tokenizer):
    """A `tokenizer.json` as the tokenizers library writes it (https://huggingface.co/docs/tokenizers): WordPiece, byte
    pairs, unigrams or words, with its own splitting and spelling. Runs, builds and checkpoints keep a copy."""

    kept: ClassVar[tuple[str, ...]] = ("path",)
    reads: ClassVar[tuple[str, str] | None] = ("path", "tokenizer.json")

    path: FilePath
    """The file, relative to the spec that says it."""

    pad: str | NonNegativeInt | None = None
    """What fills up short samples: a token or its id; null for the one with a usual name (`[PAD]`, `<pad>`, …)."""

    mask: str | NonNegativeInt | None = None
    """What stands for a token that is to be told; null for the one with a usual name (`[MASK]`, `<mask>`)."""

    cls: str | NonNegativeInt | None = None
    """What begins a sentence that is to be read as a whole; null for the one with a usual name (`[CLS]`, `<s>`)."""

    sep: str | NonNegativeInt | None = None
    """What ends such a sentence; null for the one with a usual name (`[SEP]`, `</s>`)."""

    bos: str | NonNegativeInt | None = None
    """What begins a text; null for the one with a usual name (`<s>`, `<bos>`, …)."""

    eos: str | NonNegativeInt | None = None
    """What ends a text, put after every document; null for the one with a usual name (`</s>`, `<|endoftext|>`, …),
    and for none where there is none."""

    unk: str | NonNegativeInt | None = None
    """What stands for text without a token; null for the file's own."""

    @rule("path", *ROLES)
    def _whole(path: str, *said: str | int | None) -> Iterator[Fault]:
        from blueprint_registry.tokenizer._content import BadFile, content

        try:
            found = content(path)
        except BadFile as error:
            yield Fault(str(error), "path")
            return
        for role, token in zip(ROLES, said, strict=True):
            if isinstance(token, str) and token not in found.ids:
                yield Fault(f"{path} has no token {token!r}", role, "say a token of the file, or its id")
            elif isinstance(token, int) and token >= found.vocab_size:
                yield Fault(f"the ids of {path} end at {found.vocab_size - 1}", role)

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """The file beside this one: every byte a token, as byte pairs begin."""
        return [{"path": str(Path(__file__).with_name("byte_level.json"))}]

    @property
    def content(self) -> "Content":
        """What the file says; raises ValueError where it is gone."""
        from blueprint_registry.tokenizer._content import content

        return content(self.path)

    def special(self, role: str) -> int | None:
        """The id of a special token: as said, else as the file names it."""
        from blueprint_registry.tokenizer._content import BadFile

        said: str | int | None = getattr(self, role)
        if isinstance(said, str) and said not in self.content.ids:
            raise BadFile(f"{self.path} has no token {said!r}")
        return self.content.special(role) if said is None else self.content.ids[said] if isinstance(said, str) else said

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self.content.vocab_size

    @property
    def eos_id(self) -> int | None:
        """The id that ends a text."""
        return self.special("eos")

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a token to be told."""
        return self.special("mask")

    @property
    def pad_id(self) -> int | None:
        """The id that fills up short samples."""
        return self.special("pad")

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of all special tokens, of those that were said as well."""
        said = {found for role in ROLES if (found := self.special(role)) is not None}
        return tuple(sorted(self.content.special_ids | said))

    @property
    def sentinel_ids(self) -> tuple[int, ...]:
        """The ids of `<extra_id_0>`, `<extra_id_1>` and so on, as T5's files name them."""
        named = (f"<extra_id_{number}>" for number in range(self.content.vocab_size))
        return tuple(self.content.ids[name] for name in takewhile(self.content.ids.__contains__, named))

    def begins_word(self) -> "np.ndarray[Any, Any] | None":
        """(vocab_size,) whether a token begins a word; None where tokens bear no mark of it."""
        return self.content.begins_V

    @property
    def fingerprint(self) -> str:
        """A hash of the file's content, whatever its layout."""
        return self.content.fingerprint

    def build(self, at: Site) -> Self:
        """Itself: there is nothing to learn."""
        return self

    def encode(self, text: str) -> "np.ndarray[Any, Any]":
        """The ids of a text, (tokens,) int64, without the special tokens of a template. Special tokens spelt out in
        the text are themselves. Raises ValueError for lone surrogates."""
        import numpy as np

        return np.array(self._made.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens left out; U+FFFD where bytes are no character."""
        text: str = self._made.decode([int(each) for each in ids], skip_special_tokens=True)
        return text

    def sentences(self, texts: Sequence[str], length: int | None = None) -> "dict[str, np.ndarray[Any, Any]]":
        """Texts as a model reads them whole, with the special tokens of the file's template.

        Gives `input_ids`, `attention_mask` and `token_type_ids`, (texts, tokens) int64, padded at the right to the
        longest; `length` cuts longer ones, their special tokens kept.
        """
        import numpy as np

        made = _runner(self.content.text, length)
        found = made.encode_batch(list(texts))
        width, pad = max((len(each.ids) for each in found), default=0), self.pad_id or 0

        def padded(rows: Iterable[list[int]], fill: int) -> "np.ndarray[Any, Any]":
            return np.array([row + [fill] * (width - len(row)) for row in rows], dtype=np.int64)

        return {
            "input_ids": padded((each.ids for each in found), pad),
            "attention_mask": padded(([1] * len(each.ids) for each in found), 0),
            "token_type_ids": padded((each.type_ids for each in found), 0),
        }

    @property
    def _made(self) -> Any:
        return _runner(self.content.text, None)


@lru_cache(maxsize=8)
def _runner(text: str, length: int | None) -> Any:
    """The library's tokenizer of a file's text, which neither pads nor, but for `length`, cuts."""
    try:
        import tokenizers
    except ImportError as error:
        raise ValueError(
            "tokenizer `file` needs the tokenizers library: pip install 'blueprint-lightning[tokenizers]'"
        ) from error
    try:
        made = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"the tokenizers library does not read the file of tokenizer `file`: {error}") from error
    made.no_padding()
    made.no_truncation()
    if length is not None:
        made.enable_truncation(length)
    return made
