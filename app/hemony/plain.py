"""Dataclasses as JSON values, and back: configs and views, as bundles and run folders keep them."""

import dataclasses
from enum import Enum, EnumType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def plain(instance: Any) -> dict[str, Any]:
    """A dataclass as nested dicts of JSON values, enums by name. `compose.typed` reads whole configs back, `restored` flat ones."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: convert(entry) for key, entry in value.items()}
        return value.name if isinstance(value, Enum) else value

    converted: dict[str, Any] = convert(dataclasses.asdict(instance))
    return converted


def restored(kind: type[T], values: dict[str, Any]) -> T:
    """A dataclass without nested ones from what `plain` gave of it, by way of JSON. Raises KeyError and TypeError for what does not fit."""
    types = {entry.name: entry.type for entry in dataclasses.fields(kind)}

    def convert(name: str, value: Any) -> Any:
        choices = types.get(name)
        if isinstance(choices, EnumType):
            return choices[value]
        return tuple(value) if isinstance(value, list) else value  # JSON knows no tuples

    return kind(**{name: convert(name, value) for name, value in values.items()})
