"""A tokenizer that was made elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import NonNegativeInt

from blueprint.component import Fault, FilePath, register, rule
from blueprint_registry.tokenizer._library import ROLES, Library

if TYPE_CHECKING:
    from blueprint_registry.tokenizer._content import Content


@register("file")
class File(Library):
    """A `tokenizer.json` as the tokenizers library writes it (https://huggingface.co/docs/tokenizers): WordPiece, byte
    pairs, unigrams or words, with its own splitting and spelling; or SentencePiece's `.model` (Kudo & Richardson,
    2018). Runs, builds and checkpoints keep a copy."""

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
    def counted(self) -> str:
        """The file."""
        return self.path

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self.content.vocab_size

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of all special tokens, of those that were said as well."""
        said = {found for role in ROLES if (found := self.special(role)) is not None}
        return tuple(sorted(self.content.special_ids | said))
