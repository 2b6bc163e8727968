"""What tokenizers that learn from the training documents have in common.

Legend: V vocabulary.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from blueprint.component import Fault, Faults, FilePath, NotKnown, rule
from blueprint_registry.tokenizer._library import ROLES, Library, library

if TYPE_CHECKING:
    import numpy as np

    from blueprint_registry.tokenizer._content import Content

Normal = Literal["nfc", "nfd", "nfkc", "nfkd", "lowercase", "strip_accents"]

_STEPS: dict[str, str] = {
    "nfc": "NFC",
    "nfd": "NFD",
    "nfkc": "NFKC",
    "nfkd": "NFKD",
    "lowercase": "Lowercase",
    "strip_accents": "StripAccents",
}


#: The roles that every trained tokenizer has.
SAID = tuple(role for role in ROLES if role != "unk")


def marks(count: int) -> list[str]:
    """The sentinels, as T5 spells them."""
    return [f"<extra_id_{number}>" for number in range(count)]


class Untrained(NotKnown, ValueError):
    """Asked for what a tokenizer knows only once it has learned."""


class Trained(Library):
    """A tokenizer that the tokenizers library trains; subclasses say how words are cut and what is learned of them.

    Special tokens have the first ids, in the order `pad`, `unk`, `bos`, `cls`, `sep`, `mask`, `eos`, then the others,
    then the sentinels. Spelt out in a text they are themselves, so they should be such as no text has.
    """

    kept: ClassVar[tuple[str, ...]] = ("path",)
    learned: ClassVar[str | None] = "path"
    #: Whether its tokens bear a mark of where words begin.
    marks: ClassVar[bool] = True

    size: Annotated[int, Field(ge=2)] = Field(alias="vocab_size")
    """How many ids there are, special ones among them: the size of the model's table. A text may hold less to learn;
    the ids above that then stand for nothing."""

    normalization: list[Normal] = []
    """What is done to a text first, in this order: a Unicode normal form (UAX 15), lower case, accents removed (after
    `nfd` or `nfkd`, which tell them from their letters)."""

    template: str | None = None
    """What stands around every document, `$A` in the middle: `[CLS] $A [SEP]`; null for nothing. The token of `eos`
    ends a document anyway, once."""

    pad: str | None = "<pad>"
    """What fills up short samples; null for none."""

    bos: str | None = None
    """What begins a text, where the template or the objective puts it there; null for none."""

    cls: str | None = None
    """What a model reads a whole sentence at, where the template puts it; null for none."""

    sep: str | None = None
    """What ends such a sentence, where the template puts it; null for none."""

    mask: str | None = None
    """What stands for a token that is to be told, as the objective `masked` needs; null for none."""

    eos: str | None = "</s>"
    """What ends a text, put after every document; null for none."""

    extra: list[str] = []
    """Further tokens that stand for no text."""

    sentinels: NonNegativeInt = 0
    """How many such tokens follow that objectives mark places with: `<extra_id_0>`, `<extra_id_1>`, … (as T5's: Raffel
    et al., 2020, §3.1.4)."""

    path: FilePath | None = None
    """The `tokenizer.json` it was trained into, which a run keeps a copy of; null to train it on the training
    documents. What is said beside it is then what it was trained by."""

    @rule("normalization")
    def _accents_apart(steps: list[str]) -> Faults:
        for at, step in enumerate(steps):
            if step in steps[:at]:
                return Fault(f"`{step}` is said twice", "normalization")
            if step == "strip_accents" and not {"nfd", "nfkd"} & set(steps[:at]):
                fix = f"say `normalization: [{', '.join(['nfd', *steps])}]`"
                return Fault("`strip_accents` finds accents only after `nfd` or `nfkd`", "normalization", fix)
        return None

    @rule("template", *SAID, "extra")
    def _template_of_tokens(template: str | None, *said: Any) -> Iterator[Fault]:
        if template is None:
            return
        words = template.split()
        if words.count("$A") != 1 or len(words) == 1:
            yield Fault(
                "a template is special tokens around one `$A`, the text", "template", "say `[CLS] $A [SEP]` or so"
            )
        *roles, extra = said
        for word in words:
            if word != "$A" and word not in (*roles, *extra):
                yield Fault(f"the template's {word} is no special token", "template", f"say `extra: [{word}]`")

    @rule(*SAID, "extra", "sentinels")
    def _special_tokens(*said: Any) -> Iterator[Fault]:
        *roles, extra, sentinels = said
        for at, token in enumerate(extra):
            if token in (*roles, *extra[:at], *marks(sentinels)):
                yield Fault(f"{token} is a special token already", "extra", f"remove {token}")
        for name, token in (*zip(SAID, roles, strict=True), *(("extra", each) for each in extra)):
            if token is not None and (not token or "$A" in token or any(map(str.isspace, token))):
                yield Fault(f"a special token is a word without spaces, not {token!r}", name)

    @rule("path", "size")
    def _file_fits(path: str | None, size: int) -> Faults:
        from blueprint_registry.tokenizer._content import BadFile, content

        try:
            known = 0 if path is None else content(path).vocab_size
        except BadFile as error:
            return Fault(str(error), "path")
        if known > size:
            return Fault(f"{path} has {known} tokens, `vocab_size` says {size}", "vocab_size", f"say {known}")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """A small one."""
        return [{"vocab_size": 400}]

    @property
    def vocab_size(self) -> int:
        """As many as were said."""
        return self.size

    @property
    def counted(self) -> str:
        """The tokenizer's own field."""
        return "`tokenizer.vocab_size`"

    @property
    def known(self) -> int:
        """As many as the file has; before training, as many as were said."""
        return self.size if self.untrained else self.content.vocab_size

    @property
    def specials(self) -> list[str]:
        """The special tokens, by their ids before anything is learned."""
        roles = [getattr(self, role, None) for role in ROLES]
        return list(dict.fromkeys([*(each for each in roles if each is not None), *self.extra, *marks(self.sentinels)]))

    @property
    def content(self) -> "Content":
        """What the file says; raises `Untrained`, and ValueError where it is gone."""
        from blueprint_registry.tokenizer._content import content

        if self.path is None:
            raise Untrained(
                f"tokenizer `{self.spec_name}` is not trained yet: that is done when a run begins, "
                "and `path` then names what was learned"
            )
        return content(self.path)

    def special(self, role: str) -> int | None:
        """The id of the special token of a role (`pad`, `mask`, …), or None."""
        token: str | None = getattr(self, role, None)
        return None if token is None else self.id_of(token)

    def id_of(self, token: str) -> int | None:
        """The id of a token; before training, of a special one."""
        if self.untrained:
            return self.specials.index(token) if token in self.specials else None
        return self.content.ids.get(token)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids of the special tokens, and those for which there was nothing to learn."""
        found = {number for token in self.specials if (number := self.id_of(token)) is not None}
        return tuple(sorted(found | set(range(self.known, self.size))))

    def begins_word(self) -> "np.ndarray[Any, Any] | None":
        """(vocab_size,) whether a token begins a word; raises `Untrained` where that is yet to learn."""
        import numpy as np

        begins_V = self.content.begins_V if self.marks else None
        if begins_V is None:
            return None
        return np.concatenate([begins_V, np.ones(self.size - len(begins_V), dtype=np.bool_)])

    @property
    def fingerprint(self) -> str:
        """A hash of what was learned; before that, of all that decides what will be."""
        if not self.untrained:
            return super().fingerprint
        import hashlib

        said = json.dumps({**self.to_plain(), "path": None}, sort_keys=True)
        return f"{self.spec_name}-to-train-{hashlib.blake2b(said.encode(), digest_size=16).hexdigest()}"

    @property
    def framed(self) -> bool:
        """Whether there is a template."""
        return self.template is not None

    def document(self, text: str) -> "np.ndarray[Any, Any]":
        """The ids of a text within its template, (tokens,) int64, without the end that follows every document."""
        import numpy as np

        ids = np.array(self.runner().encode(text).ids, dtype=np.int64)
        return ids[:-1] if self._ended else ids

    def document_all(self, texts: Sequence[str]) -> "list[np.ndarray[Any, Any]]":
        """What `document` gives for each of many texts."""
        found = self.many(texts, framed=True)
        return [ids[:-1] for ids in found] if self._ended else found

    @property
    def _ended(self) -> bool:
        """Whether the template puts the end itself."""
        return self.template is not None and self.template.split()[-1] == self.eos

    def prompt(self, text: str) -> "np.ndarray[Any, Any]":
        """The ids of a text and of what the template puts before it, (tokens,) int64."""
        import numpy as np

        before = [] if self.template is None else self.template.partition("$A")[0].split()
        return np.concatenate([[self.content.ids[token] for token in before], self.encode(text)]).astype(np.int64)

    def normal(self, text: str) -> str:
        """A text as its words are written again."""
        return self.rejoined(self.normalized(text))

    def normalized(self, text: str) -> str:
        """A text after `normalization`."""
        steps = self.runner().normalizer
        return text if steps is None else str(steps.normalize_str(text))

    def rejoined(self, text: str) -> str:
        """A normalised text as its words are written again: all of it, unless a subclass cuts words elsewhere."""
        return text

    def begun(self, tokenizers: Any) -> tuple[Any, Any]:
        """The library's model, empty, and what trains it."""
        raise TypeError(f"tokenizer `{self.spec_name}` says nothing of this")

    def cut(self, tokenizers: Any) -> tuple[Any, Any]:
        """What cuts a text into words, and what puts tokens together again (None: spaces between)."""
        raise TypeError(f"tokenizer `{self.spec_name}` says nothing of this")

    def train(self, texts: Iterable[str]) -> str:
        """The text of the `tokenizer.json` that it learns; the same for the same texts.

        Raises ValueError where the texts need more ids than there are, or hold nothing to learn.
        """
        tokenizers = library(self.spec_name)
        model, trainer = self.begun(tokenizers)
        made = tokenizers.Tokenizer(model)
        steps = [getattr(tokenizers.normalizers, _STEPS[each])() for each in self.normalization]
        if steps:
            made.normalizer = tokenizers.normalizers.Sequence(steps)
        try:
            made.pre_tokenizer, decoder = self.cut(tokenizers)
        except ValueError:
            raise
        except Exception as error:  # the library raises nothing narrower for an expression it cannot read
            raise ValueError(
                f"`pattern` is no regular expression that the tokenizers library reads: {error}"
            ) from error
        if decoder is not None:
            made.decoder = decoder
        self.taught(made, trainer, texts)
        said = json.loads(made.to_str())
        self.settle(said)
        found = tokenizers.Tokenizer.from_str(json.dumps(said))
        if self.template is not None:
            ids = {word: self.specials.index(word) for word in self.template.split() if word != "$A"}
            frame = tokenizers.processors.TemplateProcessing(single=self.template, special_tokens=list(ids.items()))
            found.post_processor = frame
        known = found.get_vocab_size()
        if known > self.size:
            raise ValueError(
                f"the texts need {known} tokens (their characters and {len(self.specials)} special ones), "
                f"`vocab_size` says {self.size}: say {known} at least, or `normalization`, or tokenizer `byte_bpe`, "
                "whose characters are 256 bytes"
            )
        if known <= len(self.specials):
            raise ValueError("the texts hold nothing to learn tokens from")
        written: str = found.to_str(pretty=True)
        return written

    def taught(self, made: Any, trainer: Any, texts: Iterable[str]) -> None:
        """Train the library's tokenizer."""
        made.train_from_iterator(iter(texts), trainer)

    def settle(self, said: dict[str, Any]) -> None:
        """Mend in a `tokenizer.json` what may differ from one training to the next."""
