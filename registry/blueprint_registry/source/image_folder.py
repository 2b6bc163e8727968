"""Labelled images from folders."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from blueprint.component import Fault, FilePath, register, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint

_SUFFIXES = (".png", ".jpg", ".jpeg")
_MODES = {1: "L", 3: "RGB"}


@register("image_folder")
class ImageFolder(DataSource):
    """PNG and JPEG images of one size, in a folder for each class that is called as the class (the layout of ImageNet:
    Deng et al., 2009). Needs the extra `images`."""

    gives: ClassVar[str] = "images"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    path: FilePath
    """The folder of the classes' folders; relative to the file of the spec that says it, in an override to the working
    directory; `~` is the home folder."""

    channels: Literal[1, 3] = 3
    """1 reads images as shades of grey, 3 in colours."""

    mean: float | list[float] = 0.0
    """Subtracted from values between 0 and 1; a list says it for each channel."""

    std: float | list[float] = 1.0
    """What is left is divided by this; a list says it for each channel."""

    @rule("mean", "std", "channels")
    def _for_each_channel(mean: Any, std: Any, channels: int) -> Iterator[Fault]:
        for name, value in (("mean", mean), ("std", std)):
            if isinstance(value, list) and len(value) != channels:
                yield Fault(f"`{name}` lists {len(value)} values for {channels} channels", name)
        if min(std if isinstance(std, list) else [std], default=1) <= 0:
            yield Fault("`std` divides, and must be greater than 0", "std")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """In colours; grey, scaled to -1 to 1."""
        return [{"path": "flowers"}, {"path": "digits", "channels": 1, "mean": 0.5, "std": 0.5}]

    def documents(self) -> Iterator[tuple[str, tuple[bytes, str]]]:
        """Every image as (path, (its pixels, class)), sorted; raises ValueError, naming the file, for one that cannot
        be read or has another size than the first."""
        _, height, width = self.shape()
        for name, path, label in self._files():
            image = _opened(path)
            if image.size != (width, height):
                found = f"{image.size[0]} × {image.size[1]}"
                raise ValueError(f"{name} is {found} pixels, where the first image is {width} × {height}: resize it")
            bands = image.convert(_MODES[self.channels]).split()
            yield name, (b"".join(band.tobytes() for band in bands), label)

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The folders' names, sorted."""
        return sorted({label for _, _, label in self._files()}) if read else None

    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images, as the first one has them."""
        width, height = _opened(self._files()[0][1]).size
        return self.channels, height, width

    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of every channel."""
        each = [tuple(v) if isinstance(v, list) else (v,) * self.channels for v in (self.mean, self.std)]
        return each[0], each[1]

    def fingerprint(self) -> str:
        """The identity of the files and of how they are read; nothing is read."""
        return fingerprint(((name, path) for name, path, _ in self._files()), json.dumps(self.to_plain()))

    def _files(self) -> list[tuple[str, Path, str]]:
        """(name, path, class) of every image, sorted; raises ValueError where there is none."""
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise ValueError(f"{self.path} is no folder (looked from {Path.cwd()})")
        classes = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
        out = [
            (file.as_posix(), file, each.name)
            for each in classes
            for file in sorted(map(each.joinpath, os.listdir(each)))
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
        ]
        if not out:
            raise ValueError(f"{self.path} holds no folder with {', '.join(_SUFFIXES)} files in it, one for each class")
        return out


def _opened(path: Path) -> Any:
    """An image, its pixels read; raises ValueError, naming the file, where that cannot be."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ValueError("images are read by Pillow: pip install 'blueprint-lightning[images]'") from error
    try:
        image = Image.open(path)
        image.load()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"{path} has more than 8 bits a channel (Pillow's mode {image.mode}): convert it to 8")
    return image
