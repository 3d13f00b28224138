"""Settings given in Python, as the paths and texts that --set takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union

# A YAML file, or settings nested as in config/runtime.yaml or with "a.b" as keys.
Config = Union[str, "os.PathLike[str]", Mapping[str, Any], None]


def _text(path: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, str)):
        return str(value)
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, Sequence):
        return f"[{', '.join(_text(path, item) for item in value)}]"
    raise TypeError(f"{path}: a setting cannot be a {type(value).__name__}")


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """("engine.threads", "2") for {"engine": {"threads": 2}}."""
    for name, value in values.items():
        path = prefix + name
        if isinstance(value, Mapping):
            yield from flatten(value, path + ".")
        else:
            yield path, _text(path, value)


def split(config: Config) -> tuple[str, list[tuple[str, str, str]]]:
    """The file, "" for none, and the values with where they were given."""
    if config is None:
        return "", []
    if isinstance(config, Mapping):
        return "", [(path, text, "config") for path, text in flatten(config)]
    return os.fspath(config), []
