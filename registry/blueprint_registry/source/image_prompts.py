"""Images with texts that are made of their classes' names."""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field

from blueprint.component import Fault, Faults, register, rule
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

    names: list[str] | None = None
    """What the classes are called in texts, in the order of their folders' names, sorted; null calls them as these."""

    @rule("templates")
    def _say_the_name(templates: list[str]) -> Iterator[Fault]:
        for number, template in enumerate(templates):
            if "{}" not in template:
                yield Fault(f"{template!r} has no `{{}}` where the class's name goes", f"templates.{number}")
        if len(set(templates)) < len(templates):
            yield Fault("a template is listed twice", "templates")

    @rule("names")
    def _told_apart(names: list[str] | None) -> Faults:
        again = sorted({name for name in names or () if (names or []).count(name) > 1})
        return f"two classes are called {again[0]!r}: their texts cannot be told apart" if again else None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """CLIP's first template; two, with names."""
        said = {"path": "digits", "channels": 1, "templates": ["the digit {}", "{}, by hand"], "names": ["zero", "one"]}
        return [{"path": "flowers"}, said]

    def content(self, said: str) -> tuple[list[str], str]:
        """The class's texts, and the class."""
        return self._texts[said], said

    def prompts(self) -> list[list[str]] | None:
        """The texts of every class, in the order of their numbers; raises ValueError where there are not as many
        `names` as folders."""
        return list(self._texts.values())

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        classes = self.classes(read=True) or []
        names = classes if self.names is None else self.names
        if len(names) != len(classes):
            shown = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
            raise ValueError(f"`names` lists {len(names)} names, and {self.path} has {len(classes)} folders: {shown}")
        each = zip(classes, names, strict=True)
        return {label: [template.replace("{}", name) for template in self.templates] for label, name in each}
