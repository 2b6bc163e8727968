"""Labelled images from folders."""

from typing import Any, ClassVar

from blueprint.component import register
from blueprint_registry.source._images import ClassFolders


@register("image_folder")
class ImageFolder(ClassFolders):
    """PNG and JPEG images of one size, in a folder for each class that is called as the class (the layout of ImageNet:
    Deng et al., 2009). Needs the extra `images`."""

    gives: ClassVar[str] = "images"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """In colours; grey, scaled to -1 to 1."""
        return [{"path": "flowers"}, {"path": "digits", "channels": 1, "mean": 0.5, "std": 0.5}]
