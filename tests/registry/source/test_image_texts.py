"""Images with texts: made of their classes' names, or written about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from blueprint_registry.source.image_captions import ImageCaptions
from blueprint_registry.source.image_prompts import ImagePrompts

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2), 255 * int(name)).save(tmp_path / name / "a.png")
    return tmp_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name, shade in (("a", 0), ("deep/b", 255)):
        Image.new("L", (2, 2), shade).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"a text of  {name}\n\nand another\n")
    return tmp_path


def test_templates_say_what_classes_are_called(classes: Path) -> None:
    said: dict[str, Any] = {"path": str(classes), "channels": 1, "templates": ["the {}", "{} is {}"]}
    source = ImagePrompts(**said, names=["0", "one"])
    contents = [content for _, content in source.documents()]
    assert contents == [(bytes(4), (["the 0", "0 is 0"], "0")), (bytes([255] * 4), (["the one", "one is one"], "1"))]
    assert source.prompts() == [["the 0", "0 is 0"], ["the one", "one is one"]]
    assert source.classes(read=True) == ["0", "1"]
    with pytest.raises(ValueError, match=r"`names` lists 1 names, and .* has 2 folders: 0, 1"):
        ImagePrompts(**said, names=["zero"]).prompts()
    with pytest.raises(ValidationError, match="two classes are called 'one'"):
        ImagePrompts(**said, names=["one", "one"])


@pytest.mark.parametrize("templates", [["a digit"], [], ["{}", "{}"]])
def test_templates_that_tell_nothing_are_refused(templates: list[str]) -> None:
    with pytest.raises(ValidationError, match="templates"):
        ImagePrompts(path="there", templates=templates)


def test_texts_lie_beside_their_images(photos: Path) -> None:
    source = ImageCaptions(path=str(photos), channels=1)
    names, contents = zip(*source.documents(), strict=True)
    assert [Path(name).name for name in names] == ["a.png", "b.png"]
    assert contents == (
        (bytes(4), (["a text of a", "and another"], None)),
        (bytes([255] * 4), (["a text of deep/b", "and another"], None)),
    )
    assert source.prompts() is source.classes(read=True) is None
    before = source.fingerprint()
    (photos / "a.txt").write_text("else")
    assert source.fingerprint() != before
    (photos / "a.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"a\.txt holds no text"):
        list(source.documents())
    (photos / "a.txt").unlink()
    with pytest.raises(ValueError, match=r"a\.png has no a\.txt beside it"):
        list(source.documents())


def test_texts_stand_in_a_table(photos: Path, tmp_path: Path) -> None:
    table = photos / "texts.csv"
    table.write_text("text,file\n'one',deep/b.png\ntwo,deep/b.png\nthree,a.png\n")
    source = ImageCaptions(path=str(photos), captions=str(table), image="file", text="text", channels=1)
    assert [texts for _, (_, (texts, _)) in source.documents()] == [["three"], ["'one'", "two"]]
    for row, message in (("four,c.png", r"texts\.csv:5: there is no image .*c\.png"), ("alone", r"texts\.csv:5: ")):
        table.write_text(f"text,file\n'one',deep/b.png\ntwo,deep/b.png\nthree,a.png\n{row}\n")
        with pytest.raises(ValueError, match=message):
            list(source.documents())


def test_columns_without_a_table_and_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="without `captions` there is no table"):
        ImageCaptions(path="there", text="caption")
    with pytest.raises(ValueError, match="with texts"):
        ImageCaptions(path=str(tmp_path)).found()
    with pytest.raises(ValueError, match="is no folder"):
        ImageCaptions(path=str(tmp_path / "nowhere")).found()
