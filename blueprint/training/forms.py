"""The kinds of samples: how what a source gives becomes ids, and ids the batches that an objective reads.

A new kind is one class here, by the name that sources and objectives call it. No Lightning here.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from blueprint.kinds import Document
from blueprint.schema.data import Data
from blueprint.schema.spec import Spec
from blueprint.training.data.encoder import Classes, Content, Encoder, Labelled, Pairs, Scored, Whole, joined
from blueprint.training.data.images import Captions, Pixels
from blueprint.training.data.labels import (
    MultiLabelled,
    MultiLabelledRows,
    Tagged,
    TaggedRows,
    with_labels,
    words_and_labels,
)
from blueprint.training.data.packing import PACKINGS, Arrays, Packing
from blueprint.training.data.rows import CaptionRows, ImageRows, LabelledRows, PairRows, ScoredRows
from blueprint.training.error import TrainError
from blueprint.training.form import Beside, Classified, Form


class TextForm(Form):
    """Running text, cut as `data.packing` says."""

    running: ClassVar[bool] = True

    def content(self, said: Any) -> Content:
        """The text."""
        text: str = said
        return text

    def encoder(self) -> Encoder:
        """All of it tokens."""
        return Whole(self.tokenizer)

    def packing(self) -> Packing:
        """Windows, or a document each."""
        options: dict[str, Any] = {"positions": "restart"} if self.data.positions == "restart" else {}
        if self.data.packing == "single":
            options["pad_id"] = self.pad_id
        return PACKINGS[self.data.packing](self.length, **options)


class PairForm(Form):
    """Pairs of a source and a target."""

    def encoder(self) -> Encoder:
        """Both in one document."""
        return Pairs(self.tokenizer)

    def packing(self) -> Packing:
        """A pair each."""
        cut = {} if self.spec.objective is None else self.spec.objective.cut(self.tokenizer)
        return PairRows(self.length, self.data.target_length or self.length, pad_id=self.pad_id, **cut)


class LabelledForm(Classified, Beside):
    """Texts with a label each."""

    def encoder(self) -> Encoder:
        """The label before the text."""
        return Labelled(self.tokenizer, self.classes)

    def packing(self) -> Packing:
        """A text each."""
        return LabelledRows(self.length, self.pad_id)


class MultiLabelledForm(Classified):
    """Texts with any number of labels each."""

    def content(self, said: Any) -> Content:
        """The text, and a list of labels."""
        return with_labels(*said)

    def document(self, name: str, said: Any) -> Document:
        """The labels, as a list, are beside the text."""
        return Document(name, (said[0],), json.dumps(said[1]))

    def said(self, document: Document) -> Any:
        """The text and its labels."""
        return document.texts[0], tuple(json.loads(document.label or "[]"))

    def encoder(self) -> Encoder:
        """The labels before the text."""
        return MultiLabelled(self.tokenizer, self.classes)

    def packing(self) -> Packing:
        """A text each, with an answer for each output of the head."""
        outputs = self.outputs
        return MultiLabelledRows(self.length, len(self.classes.names) if outputs is None else outputs, self.pad_id)


class TaggedForm(Classified):
    """Words with a label each."""

    unit: ClassVar[str] = "word"

    def content(self, said: Any) -> Content:
        """Lists of words and of labels."""
        return words_and_labels(*said)

    def document(self, name: str, said: Any) -> Document:
        """The labels, as a list, are beside the words, of which each is a text."""
        return Document(name, tuple(said[0]), json.dumps(said[1]))

    def said(self, document: Document) -> Any:
        """The words and their labels."""
        return document.texts, tuple(json.loads(document.label or "[]"))

    def encoder(self) -> Encoder:
        """A token and its label in turn."""
        return Tagged(self.tokenizer, self.classes)

    def packing(self) -> Packing:
        """A sentence each."""
        cut = {} if self.spec.objective is None else self.spec.objective.cut(self.tokenizer)
        return TaggedRows(self.length, pad_id=self.pad_id, **cut)


class ScoredForm(Beside):
    """Texts with a number each."""

    unit: ClassVar[str] = "sample"

    def encoder(self) -> Encoder:
        """The number before the text."""
        return Scored(self.tokenizer)

    def packing(self) -> Packing:
        """A text each."""
        return ScoredRows(self.length, self.pad_id)


class ImageForm(Classified):
    """Images with a label each."""

    tokenized: ClassVar[bool] = False

    def encoder(self) -> Encoder:
        """The label before the pixels; raises `TrainError` for images that the model does not take."""
        return Pixels(shape_of(self), self.classes)

    def packing(self) -> Packing:
        """An image each."""
        return images_of(self)


class CaptionForm(Form):
    """Images with texts."""

    unit: ClassVar[str] = "pair"

    def content(self, said: Any) -> Content:
        """The pixels, then the texts and the label as JSON."""
        pixels, beside = said
        return joined((pixels, json.dumps(beside)))

    def encoder(self) -> Captions:
        """The label, the pixels and the texts; raises `TrainError` for images that the model does not take."""
        return Captions(shape_of(self), self.tokenizer, None if self._names is None else Classes(self._names))

    def packing(self) -> CaptionRows:
        """An image with its texts each."""
        pad, end = self.pad_id, self.tokenizer.eos_id
        return CaptionRows(images_of(self), self.length, end, pad if pad is not None else end or 0)

    def references(self) -> Arrays:
        """`input_ids` and `attention_mask` (C, K, T) of the texts of each class, where the source has any."""
        prompts, encoder, rows = self.data.source.prompts(), self.encoder(), self.packing()
        each = [rows.padded([encoder.text(text) for text in texts]) for texts in prompts or ()]
        return {name: np.stack([one[name] for one in each]) for name in each[0]} if each else {}

    @cached_property
    def _names(self) -> list[str] | None:
        return self.data.source.classes(read=True)


def shape_of(form: Form) -> tuple[int, int, int]:
    """Channels, height and width of a form's images; raises `TrainError` where the model takes others."""
    source: Any = form.data.source
    shape: tuple[int, int, int] = source.shape()
    taken = form.spec.model.inputs().get("pixel_values") or shape
    if tuple(taken) != shape:
        found, wanted = ("{} × {} × {}".format(*each) for each in (shape, taken))
        raise TrainError(
            f"the images are {found} (channels, height, width), but the model takes {wanted}\n"
            "  = fix: say `image_size` and `channels` in its embedding, or `channels` in the source"
        )
    return shape


def images_of(form: Form) -> ImageRows:
    """How a form's images become what a model reads."""
    source: Any = form.data.source
    return ImageRows(source.shape(), *source.scale())


FORMS: dict[str, type[Form]] = {
    "text": TextForm,
    "pairs": PairForm,
    "labelled": LabelledForm,
    "multi_labelled": MultiLabelledForm,
    "tagged": TaggedForm,
    "scored": ScoredForm,
    "images": ImageForm,
    "captioned": CaptionForm,
}


def form_of(spec: Spec, data: Data, labels: tuple[str, ...] | None = None) -> Form:
    """The form of a spec's samples, `labels` as other data numbers them; raises `TrainError` for a source that gives
    what nothing is known of."""
    gives = data.source.gives
    if gives not in FORMS:
        raise TrainError(f"source `{data.source.spec_name}` gives {gives!r}, which is none of {', '.join(FORMS)}")
    return FORMS[gives](spec, data, labels)
