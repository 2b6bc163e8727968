"""Descriptions of fields are read from the strings below them, wherever the class stands."""

from __future__ import annotations

from pydantic import BaseModel, Field

from blueprint.describe import descriptions
from blueprint.schema.data import Data
from blueprint.schema.spec import Spec


class Base(BaseModel):
    first: int = 1
    """The first,
    on two lines."""
    second: int = 2
    third: int = Field(3, description="Said in the field.")
    """Not this."""


class Derived(Base):
    second: int = 4
    """Told by the heir."""


def test_strings_below_fields_describe_them_and_bases_are_read_too() -> None:
    assert descriptions(Base) == {"first": "The first, on two lines.", "third": "Said in the field."}
    assert descriptions(Derived) == {**descriptions(Base), "second": "Told by the heir."}


def test_a_class_inside_a_function_is_found() -> None:
    class Derived(BaseModel):
        other: int = 0
        """Another class of the same name."""

    assert descriptions(Derived) == {"other": "Another class of the same name."}


def test_a_class_without_source_has_no_descriptions() -> None:
    made: dict[str, type[BaseModel]] = {}
    exec("from pydantic import BaseModel\nclass Made(BaseModel):\n    x: int = 1\n    'X.'\n", made)
    assert descriptions(made["Made"]) == {}


def test_every_field_of_a_spec_is_described() -> None:
    for cls in (Spec, Data):
        assert set(descriptions(cls)) == set(cls.model_fields)
