"""What sources of images share: how images are opened, and what their values become."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from blueprint.component import Fault, FilePath, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._files import fingerprint

SUFFIXES = (".png", ".jpg", ".jpeg")
_MODES = {1: "L", 3: "RGB"}


class Found(NamedTuple):
    """An image's name, where it lies, and what is said of it."""

    name: str
    path: Path
    said: str


class Images(DataSource):
    """PNG and JPEG images of one size."""

    path: FilePath
    """The folder of the images; relative to the file of the spec that says it, in an override to the working directory;
    `~` is the home folder."""

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

    def found(self) -> list[Found]:
        """Every image, in the order of the documents; raises ValueError where there is none."""
        raise TypeError(f"source `{self.spec_name}` finds no images")

    def content(self, said: str) -> Any:
        """What is told beside the pixels of an image of which that is said."""
        return said

    def documents(self) -> Iterator[tuple[str, tuple[bytes, Any]]]:
        """Every image as (path, (its pixels, what is told beside them)); raises ValueError, naming the file, for one
        that cannot be read or has another size than the first."""
        _, height, width = self.shape()
        for name, path, said in self.found():
            image = _opened(path)
            if image.size != (width, height):
                found = f"{image.size[0]} × {image.size[1]}"
                raise ValueError(f"{name} is {found} pixels, where the first image is {width} × {height}: resize it")
            bands = image.convert(_MODES[self.channels]).split()
            yield name, (b"".join(band.tobytes() for band in bands), self.content(said))

    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images, as the first one has them."""
        width, height = _opened(self.found()[0].path).size
        return self.channels, height, width

    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of every channel."""
        each = [tuple(v) if isinstance(v, list) else (v,) * self.channels for v in (self.mean, self.std)]
        return each[0], each[1]

    def fingerprint(self) -> str:
        """The identity of the files and of how they are read; nothing is read."""
        return fingerprint(((each.name, each.path) for each in self.found()), json.dumps(self.to_plain()))


class ClassFolders(Images):
    """Images in a folder for each class, which is called as the class."""

    path: FilePath
    """The folder of the classes' folders; relative to the file of the spec that says it, in an override to the working
    directory; `~` is the home folder."""

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The folders' names, sorted."""
        return sorted({each.said for each in self.found()}) if read else None

    def found(self) -> list[Found]:
        """Every image with its class, sorted."""
        root = existing(self.path)
        classes = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
        out = [
            Found(file.as_posix(), file, each.name)
            for each in classes
            for file in sorted(map(each.joinpath, os.listdir(each)))
            if is_image(file)
        ]
        if not out:
            raise ValueError(f"{self.path} holds no folder with {', '.join(SUFFIXES)} files in it, one for each class")
        return out


def existing(path: str) -> Path:
    """A folder; raises ValueError where it is none."""
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(f"{path} is no folder (looked from {Path.cwd()})")
    return root


def is_image(file: Path) -> bool:
    """Whether a file is called as an image is, and not hidden."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


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
