"""Images with texts that somebody wrote about them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from blueprint.component import Fault, FilePath, register, rule
from blueprint_registry.source._files import fingerprint
from blueprint_registry.source._formats import Malformed, rows
from blueprint_registry.source._images import SUFFIXES, Found, Images, existing, is_image
from blueprint_registry.source._rows import Column


@register("image_captions")
class ImageCaptions(Images):
    """PNG and JPEG images of one size with a text or several each, from a table, or from text files beside them (the
    captions of COCO: Chen et al., 2015). Needs the extra `images`.

    Which of an image's texts is learned from is drawn anew every epoch.
    """

    gives: ClassVar[str] = "captioned"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    captions: FilePath | None = None
    """A file of rows, of any format that source `table` reads: an image's path below `path`, and a text of it; images
    may have several rows. Null: the lines of a file beside the image that is called as it, but ends in `.txt`."""

    image: Column = 0
    """The column of the image's path: its number from 0, or its name, where the first row names the columns."""

    text: Column = 1
    """The column of the text."""

    @rule("captions", "image", "text")
    def _columns_are_of_a_table(captions: str | None, image: Column, text: Column) -> Iterator[Fault]:
        for name, value, usual in (("image", image, 0), ("text", text, 1)):
            if captions is None and value != usual:
                what = f"`{name}` names a column, and without `captions` there is no table"
                yield Fault(what, name, "say `captions`")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Text files beside the images; a table."""
        return [{"path": "photos"}, {"path": "photos", "captions": "captions.csv", "image": "file", "text": "caption"}]

    def found(self) -> list[Found]:
        """Every image that has a text, sorted, with its texts, a line each; raises ValueError, naming the place, for a
        malformed row, a text without its image, and an image beside which there is no text."""
        root = existing(self.path)
        out = [Found(path.as_posix(), path, "\n".join(texts)) for path, texts in sorted(self._texts(root).items())]
        if not out:
            raise ValueError(f"{self.path} holds no {', '.join(SUFFIXES)} files with texts")
        return out

    def content(self, said: str) -> tuple[list[str], None]:
        """The image's texts, and no class."""
        return said.split("\n"), None

    def fingerprint(self) -> str:
        """The identity of the images, of how they are read and of their texts."""
        found = self.found()
        settings = json.dumps([self.to_plain(), [each.said for each in found]])
        return fingerprint(((each.name, each.path) for each in found), settings)

    def _texts(self, root: Path) -> dict[Path, list[str]]:
        if self.captions is None:
            images = (path for path in root.rglob("*") if is_image(path) and path.is_file())
            return {path: _beside(path) for path in images}
        found: dict[Path, list[str]] = {}
        table = Path(self.captions).expanduser()
        for line, row in rows(table, table.as_posix(), [self.image, self.text]):
            where = f"{table.as_posix()}:{line}"
            if isinstance(row, Malformed):
                raise ValueError(f"{where}: {row}")
            path, said = root / row[0], _one_line(row[1])
            if not said:
                raise ValueError(f"{where}: there is no text")
            if path not in found and not path.is_file():
                raise ValueError(f"{where}: there is no image {path}")
            found.setdefault(path, []).append(said)
        return found


def _beside(image: Path) -> list[str]:
    path = image.with_suffix(".txt")
    try:
        lines = [_one_line(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise ValueError(f"{image} has no {path.name} beside it that holds its texts") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a text: {error}") from error
    said = [line for line in lines if line]
    if not said:
        raise ValueError(f"{path} holds no text")
    return said


def _one_line(text: str) -> str:
    return " ".join(text.split())
