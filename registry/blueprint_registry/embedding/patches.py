"""Images cut into patches."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, PositiveInt

from blueprint.component import Component, Fault, Faults, Site, register, rule, slot
from blueprint.kinds import Embedding, Norm, Positions

if TYPE_CHECKING:
    from blueprint_registry.embedding.patches_nn import PatchesEmbedding

#: A height and a width, or one number for both.
Extent = PositiveInt | Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]


def both(extent: int | list[int]) -> tuple[int, int]:
    """Height and width."""
    return (extent, extent) if isinstance(extent, int) else (extent[0], extent[1])


@register("patches")
class Patches(Embedding):
    """An image cut into square patches, each projected to a token, after learned tokens of no patch (Dosovitskiy et
    al., 2021, §3.1, eq. 1)."""

    takes: ClassVar[str] = "pixel_values"
    beside: ClassVar[dict[str, Any]] = {
        "model.type": "encoder",
        "model.head": {"type": "classification", "labels": 3},
        "model.vocab_size": None,
        "model.max_length": None,
    }

    image_size: Extent
    """Height and width of an image in pixels, `[height, width]` where they differ."""

    patch_size: Extent
    """Height and width of a patch; what is left of an image at its lower and right edges is not seen."""

    channels: PositiveInt = 3
    """Numbers a pixel has."""

    bias: bool = True
    """Whether the projection has a bias."""

    prefix: Annotated[int, Field(ge=0)] = 1
    """Learned tokens before those of the patches, such as the one that classes are read from."""

    registers: Annotated[int, Field(ge=0)] = 0
    """Learned tokens between the prefix and the patches that are given no positions (Darcet et al., 2024, §2.2)."""

    positions: Positions | None = slot(None)
    """Absolute positions added to all tokens, the prefix's included, the registers' not; null adds none."""

    norm: Norm | None = slot(None)
    """A norm on the sum; null leaves it as it is."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the sum dropped in training."""

    @rule("patch_size", "image_size")
    def _patches_fit(patch_size: int | list[int], image_size: int | list[int]) -> Faults:
        if any(patch > size for patch, size in zip(both(patch_size), both(image_size), strict=True)):
            return Fault(f"not one patch of {patch_size} pixels fits into an image of {image_size}", "patch_size")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """ViT's, CLIP's, oblong images of one channel without a prefix, and registers."""
        clip = {"image_size": 8, "patch_size": 4, "bias": False, "norm": "layer", "dropout": 0.1}
        registers = {"image_size": 8, "patch_size": 4, "registers": 2}
        oblong = {"image_size": [6, 9], "patch_size": [2, 3], "channels": 1, "prefix": 0}
        return [{"image_size": 12, "patch_size": 4}, clip, oblong, registers]

    @property
    def grid(self) -> tuple[int, int]:
        """Patches from top to bottom and from left to right."""
        (height, width), (down, across) = both(self.image_size), both(self.patch_size)
        return height // down, width // across

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return (self.channels, *both(self.image_size))

    def tokens_of(self, at: Site) -> int:
        """The prefix, the registers and the patches."""
        return self.prefix + self.registers + self.grid[0] * self.grid[1]

    def table_width(self, at: Site) -> None:
        """There is no table of tokens."""
        return None

    def parts(self, at: Site) -> Iterator[tuple[str, Component, Site]]:
        """The parts inside; positions are as many as tokens that are no registers."""
        yield from super().parts(replace(at, max_length=self.tokens_of(at) - self.registers))

    def miniature(self, at: Site) -> Self:
        """Few and small patches."""
        patch = [min(size, 4) for size in both(self.patch_size)]
        image = [size * min(count, 3) for size, count in zip(patch, self.grid, strict=True)]
        small = self.model_copy(update={"image_size": image, "patch_size": patch})
        return super(Patches, small).miniature(at)

    def build(self, at: Site) -> "PatchesEmbedding":
        """The module."""
        from blueprint_registry.embedding.patches_nn import PatchesEmbedding

        return PatchesEmbedding(self, at)
