"""What all kinds of samples have in common: how what a source gives becomes ids, and ids batches. No Lightning here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from blueprint.kinds import Document
from blueprint.schema.data import Data
from blueprint.schema.spec import Spec
from blueprint.training.data.encoder import Classes, Content, Encoder, joined
from blueprint.training.data.packing import Arrays, Packing
from blueprint.training.error import TrainError


@dataclass(frozen=True)
class Form:
    """One kind of samples of a spec; subclasses say how its documents are kept, encoded and cut."""

    spec: Spec
    data: Data
    #: The names of the labels in the order of their numbers, where other data has said them; None asks the source.
    labels: tuple[str, ...] | None = None

    #: Whether samples are of text, so that a tokenizer is needed.
    tokenized: ClassVar[bool] = True
    #: Whether they are cut from running text.
    running: ClassVar[bool] = False
    #: What a loss is a mean over.
    unit: ClassVar[str] = "token"

    @property
    def tokenizer(self) -> Any:
        """The spec's tokenizer."""
        return self.spec.tokenizer

    @property
    def length(self) -> int:
        """Tokens in a sample."""
        found: int = self.data.length or self.spec.model.longest  # type: ignore[assignment]
        return found

    @property
    def pad_id(self) -> int | None:
        """The tokenizer's id for padding, if it has one."""
        found: int | None = self.tokenizer.pad_id
        return found

    def content(self, said: Any) -> Content:
        """What a document's content is kept as."""
        return joined(said)

    def document(self, name: str, said: Any) -> Document:
        """What a source gives as stages take it."""
        return Document(name, (said,) if isinstance(said, str) else tuple(said))

    def said(self, document: Document) -> Any:
        """A document of stages as a source would give it."""
        return document.texts if len(document.texts) > 1 else document.texts[0]

    def encoder(self) -> Encoder:
        """How that becomes ids. Raises `TrainError` where the model cannot answer as the data asks."""
        raise TypeError(f"{type(self).__name__} says nothing of this")

    def packing(self) -> Packing:
        """How ids become samples."""
        raise TypeError(f"{type(self).__name__} says nothing of this")

    def references(self) -> Arrays:
        """What the data says of its labels at large, arrays by name; nothing, unless the form says otherwise."""
        return {}


class Classified(Form):
    """Samples with a label each."""

    unit: ClassVar[str] = "sample"

    @property
    def outputs(self) -> int | None:
        """How many classes the model's head tells apart, where it does."""
        found: int | None = self.spec.model.site().extra.get("classes")
        return found

    @cached_property
    def classes(self) -> Classes:
        """The labels; raises `TrainError` where their number does not fit the head and the objective."""
        names = list(self.labels or self.data.source.classes(read=True) or [])
        most = self.outputs
        objective = self.spec.objective
        fault = None if objective is None or most is None else objective.fits_labels(len(names), most)
        if fault is not None:
            shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise TrainError(f"{fault.message}; they are {shown}" + (f"\n  = fix: {fault.fix}" if fault.fix else ""))
        return Classes(names)


class Beside(Form):
    """Texts that have something beside them which stages leave alone."""

    def document(self, name: str, said: Any) -> Document:
        """A label or a number is beside the text."""
        return Document(name, (said[0],), said[1])

    def said(self, document: Document) -> Any:
        """The text and what is beside it."""
        return document.texts[0], document.label
