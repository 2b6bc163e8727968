"""Images in a folder for each class."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from blueprint_registry.source.image_folder import ImageFolder

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A red image of class b and a blue one of class a, 3 wide and 2 high."""
    for name, colour in (("b", (255, 0, 0)), ("a", (0, 0, 255))):
        (tmp_path / name).mkdir()
        Image.new("RGB", (3, 2), colour).save(tmp_path / name / "0.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    return tmp_path


def test_pixels_lie_by_channel_row_and_column_and_classes_are_the_folders(folder: Path) -> None:
    source = ImageFolder(path=str(folder))
    assert source.shape() == (3, 2, 3)
    assert source.classes(read=True) == ["a", "b"]
    blue, red = (content for _, content in source.documents())
    assert blue == (bytes([0] * 12 + [255] * 6), "a")
    assert red == (bytes([255] * 6 + [0] * 12), "b")


def test_grey_images_have_one_channel(folder: Path) -> None:
    source = ImageFolder(path=str(folder), channels=1)
    assert source.shape() == (1, 2, 3)
    assert [len(pixels) for _, (pixels, _) in source.documents()] == [6, 6]


def test_an_image_of_another_size_is_named_with_both_sizes(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "b" / "1.png")
    with pytest.raises(ValueError, match=r"b/1\.png is 4 × 4 pixels, where the first image is 3 × 2"):
        list(ImageFolder(path=str(folder)).documents())


def test_what_is_no_image_and_what_has_more_bits_is_named(folder: Path) -> None:
    (folder / "b" / "1.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b/1\.png cannot be read as an image"):
        list(ImageFolder(path=str(folder)).documents())
    Image.new("I;16", (3, 2)).save(folder / "b" / "1.png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        list(ImageFolder(path=str(folder)).documents())


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no folder with"):
        ImageFolder(path=str(tmp_path)).shape()
    with pytest.raises(ValueError, match="is no folder"):
        ImageFolder(path=str(tmp_path / "none")).shape()


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match=r"blueprint-lightning\[images\]"):
        ImageFolder(path=str(folder)).shape()


def test_scaling_is_said_for_all_channels_or_for_each() -> None:
    assert ImageFolder(path="x", mean=0.5, std=[1.0, 2.0, 3.0]).scale() == ((0.5, 0.5, 0.5), (1.0, 2.0, 3.0))
    with pytest.raises(ValidationError, match="lists 2 values for 3 channels"):
        ImageFolder(path="x", mean=[0.1, 0.2])
    with pytest.raises(ValidationError, match="greater than 0"):
        ImageFolder(path="x", std=0.0)
