"""Images with texts that are made of their classes' names."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, register, rule
from blueprint_registry.source._images import ClassFolders


@register("image_prompts")
class ImagePrompts(ClassFolders):
    """PNG and JPEG images of one size, in a folder for each class, each with the texts that templates make of the
    class's name ("a photo of a dog": Radford et al., 2021, §3.1.4). Needs the extra `images`.

    Which of an image's texts is learned from is drawn anew every epoch. Held-out images are told apart by the texts of
    all classes, too.
    """

    gives: ClassVar[str] = "captioned"
    beside: ClassVar[dict[str, Any]] = {"objective": None}

    templates: Annotated[list[str], Field(min_length=1)] = ["a photo of a {}"]
    """Texts in which `{}` stands for the name of the class."""

    names: dict[str, str] = {}
    """What classes are called in texts, by the names of their folders; those that are not here are called as these."""

    @rule("templates")
    def _say_the_name(templates: list[str]) -> Iterator[Fault]:
        for number, template in enumerate(templates):
            if "{}" not in template:
                yield Fault(f"{template!r} has no `{{}}` where the class's name goes", f"templates.{number}")
        if len(set(templates)) < len(templates):
            yield Fault("a template is listed twice", "templates")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """CLIP's first template; two, with names."""
        names = {"0": "zero", "1": "one"}
        said = {"path": "digits", "channels": 1, "templates": ["the digit {}", "{}, by hand"], "names": names}
        return [{"path": "flowers"}, said]

    def content(self, said: str) -> tuple[list[str], str]:
        """The class's texts, and the class."""
        return self.texts_of(said), said

    def texts_of(self, label: str) -> list[str]:
        """The texts of a class, one a template."""
        return [template.replace("{}", self.names.get(label, label)) for template in self.templates]

    def prompts(self) -> list[list[str]] | None:
        """The texts of every class, in the order of their numbers; raises ValueError for a name that no folder has, and
        where two classes have the same texts."""
        classes = self.classes(read=True) or []
        strange = [name for name in self.names if name not in classes]
        if strange:
            raise ValueError(f"`names` says what {strange[0]!r} is called, and {self.path} has no folder of that name")
        found = [self.texts_of(label) for label in classes]
        if len(set(map(tuple, found))) < len(found):
            raise ValueError("two classes are called the same: their texts cannot be told apart")
        return found
