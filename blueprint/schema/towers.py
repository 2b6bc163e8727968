"""The dual encoder: a tower that reads text, one that reads images, and what compares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from blueprint.component import Component, Fault, Faults, Section, Site, register, rule, slot
from blueprint.kinds import Contrast, Embedding, Init, Norm, Pool
from blueprint.schema.embedded import Embedded, Worded
from blueprint.schema.faults import part_faults
from blueprint.schema.layers import Depth
from blueprint.schema.model import BOUNDS, Model, outside_layers
from blueprint.unknown import UNKNOWN, NotKnown

SIDES = ("text", "image")


class Tower(Embedded):
    """A stack that makes one vector of its input."""

    outside: ClassVar[tuple[str, ...]] = ("embedding", "final_norm", "pool", "pool_norm")
    #: What its embedding has to take.
    takes: ClassVar[str]

    causal: bool = False
    """Whether a token sees only itself and earlier ones."""
    pool: Pool = slot("first")
    """What stands for the whole input."""
    pool_norm: Norm | None = slot(None)
    """A norm on the vector that stands for the whole; null for none."""

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts outside the layers, a norm on the vector at its width."""
        for name, part, site in super().parts(at):
            yield name, part, replace(site, width=self.pool.pooled_width(at)) if name == "pool_norm" else site

    @classmethod
    def taken_fault(cls, embedding: Embedding) -> Faults:
        """What is wrong with an embedding that takes something else."""
        if embedding.takes == cls.takes:
            return None
        said = f"the {cls.side} tower takes {cls.takes}; embedding `{embedding.spec_name}` takes {embedding.takes}"
        return Fault(said, "embedding")


class TextTower(Tower, Worded):
    """The tower that reads text."""

    side: ClassVar[str] = "text"
    takes: ClassVar[str] = "input_ids"

    @rule("embedding")
    def _takes_ids(embedding: Embedding) -> Faults:
        return TextTower.taken_fault(embedding)


class ImageTower(Tower):
    """The tower that reads images."""

    side: ClassVar[str] = "image"
    takes: ClassVar[str] = "pixel_values"

    embedding: Embedding = slot("patches")
    """Images to vectors."""

    @rule("embedding")
    def _takes_pixels(embedding: Embedding) -> Faults:
        return ImageTower.taken_fault(embedding)


@register("dual_encoder")
class DualEncoder(Model):
    """Two encoders, of text and of images, whose vectors are compared (Radford et al., 2021, §2.3 and figure 3)."""

    vocabulary_at: ClassVar[str] = "text.vocab_size"

    text: TextTower
    """The encoder of text."""
    image: ImageTower
    """The encoder of images."""
    contrast: Contrast = slot("cosine")
    """How the vectors of the two are compared."""
    init: Init = slot("normal")
    """Initial weights."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Two towers of one width."""
        return [{side: {"d_model": 4, "layers": 2} for side in SIDES}]

    @property
    def tells(self) -> str | None:
        """The logits tell of whole images and texts."""
        return "pooled"

    @property
    def vocab_size(self) -> int | None:
        """Ids that the text tower knows."""
        return self.text.vocab_size

    @property
    def max_length(self) -> int | None:
        """Tokens of the longest text."""
        return self.text.max_length

    @property
    def towers(self) -> dict[str, Tower]:
        """The towers by side."""
        return {"text": self.text, "image": self.image}

    def stacks(self) -> Mapping[str, Depth]:
        """The layers of either tower."""
        return self.towers

    def inputs(self) -> dict[str, tuple[int, ...] | None]:
        """What either embedding takes."""
        return {tower.embedding.takes: tower.embedding.input_shape for tower in self.towers.values()}

    def site(self) -> Site:
        """The site of the whole, with the numbers of the text tower."""
        return self.text.site()

    def sides(self, site: Site) -> dict[str, Site]:
        """The site of either tower; that of the whole says how large the vocabulary is."""
        found: dict[str, Site] = {}
        for side, tower in self.towers.items():
            vocabulary = site.vocab_size if tower.reads_ids else None
            kept = replace(tower.site(), path=side, float32=site.float32, built=site.built)
            found[side] = replace(kept, vocab_size=vocabulary)
        return found

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts outside the layers: those of the towers under the towers' names."""
        sites = self.sides(at)
        for side, tower in self.towers.items():
            for name, part, site in tower.parts(sites[side]):
                yield f"{side}.{name}", part, site
        widths = {side: tower.pool.pooled_width(sites[side]) for side, tower in self.towers.items()}
        yield "contrast", self.contrast, contrast_site(at, widths)
        yield "init", self.init, at.child("init")

    def with_parts(self, parts: Mapping[str, Component]) -> Self:
        """The model with other parts, those of the towers under the towers' names."""
        own: dict[str, Any] = {name: part for name, part in parts.items() if "." not in name}
        for side, tower in self.towers.items():
            inside = {name.partition(".")[2]: part for name, part in parts.items() if name.startswith(f"{side}.")}
            own[side] = tower.model_copy(update=inside)
        return self.model_copy(update=own)

    def with_numbers(self, change: Callable[[str, Any], Any]) -> Self:
        """The model with `change(key, value)` in place of either tower's bounds."""
        towers = {
            side: tower.model_copy(
                update={key: change(key, getattr(tower, key)) for key in BOUNDS if key in type(tower).model_fields}
            )
            for side, tower in self.towers.items()
        }
        return self.model_copy(update=towers)

    def with_vocabulary(self, size: int | None) -> Self:
        """The model with so many ids known to the text tower."""
        return self.model_copy(update={"text": self.text.model_copy(update={"vocab_size": size})})

    def with_layers(self, layers: Mapping[str, int]) -> Self:
        """The model with towers of other depths."""
        towers = self.towers
        return self.model_copy(
            update={side: towers[side].model_copy(update={"layers": n}) for side, n in layers.items()}
        )

    def to_outside(self, plain: dict[str, Any]) -> dict[str, Any]:
        """What tells of the model in its plain values, without that which its written-out layers tell."""
        return {key: outside_layers(value) if key in SIDES else value for key, value in plain.items()}

    @classmethod
    def site_faults(cls, values: dict[str, Any]) -> Iterator[Fault]:
        """What is wrong with the comparison of the towers, as far as they are known; for the reader."""
        if values.get("contrast") is not None:
            widths = {side: _pooled_width(values.get(side, UNKNOWN)) for side in SIDES}
            try:
                at = values.get("text", UNKNOWN).site()
            except NotKnown:
                at = Site(d_model=UNKNOWN, width=UNKNOWN, max_length=UNKNOWN, vocab_size=UNKNOWN, layers=UNKNOWN)
            yield from part_faults(values["contrast"], contrast_site(at, widths), "contrast")

    def build(self, at: Site) -> Any:
        """Modules are built from the plan, which has the layers written out."""
        from blueprint.model.dual_encoder import DualEncoderModel

        return DualEncoderModel


def contrast_site(at: Site, widths: Mapping[str, int]) -> Site:
    """The site of the comparison, which is told how wide either tower's vector is."""
    return at.child("contrast", extra={**at.extra, **widths})


def _pooled_width(tower: Section) -> int:
    """The width of a tower's vector; unknown where what it follows from is."""
    try:
        d_model = tower.d_model  # type: ignore[attr-defined]
        return tower.pool.pooled_width(Site(d_model=d_model, width=d_model))  # type: ignore[attr-defined, no-any-return]
    except NotKnown:
        return UNKNOWN  # type: ignore[no-any-return]
