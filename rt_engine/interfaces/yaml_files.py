"""Files that people write: read safely, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from rt_engine.interfaces.errors import ConfigError


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, safely loaded.

    Raises
    ------
    ConfigError
        The file is missing, is no YAML, or holds no mapping.
    """
    return parse_yaml(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Content of a file that a person named.

    Raises
    ------
    ConfigError
        It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error


def parse_yaml(text: bytes, file: str) -> dict[str, Any]:
    """A YAML mapping, safely loaded from UTF-8; `file` is named in errors.

    Raises
    ------
    ConfigError
        It is no YAML, or holds no mapping.
    """
    try:
        data = yaml.safe_load(text.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid YAML: {' '.join(str(error).split())}", file=file) from error
    if not isinstance(data, dict):
        raise ConfigError("must hold a mapping of keys to values", file=file)
    return data


_TAGGED = {"microscope": 1, "outputs": 2, "inputs": 2}
"""Where the path of a finding names the driver that a part of the rig was read as, which is no key of the file."""


def config_error(file: str, error: ValidationError) -> ConfigError:
    """First finding of a validation as one line: file, key, and what is allowed."""
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    what = {
        "missing": "is required and missing",
        "extra_forbidden": "is not a known key",
    }.get(first["type"], f"{first['msg'][:1].lower()}{first['msg'][1:]}, got {first.get('input')!r}")
    if first["type"] == "value_error":  # our own words say what is wrong; a whole section would bury them
        what = str(first["ctx"]["error"]) + ("" if isinstance(first["input"], dict) else f", got {first['input']!r}")
    context = first.get("ctx", {})
    if first["type"].startswith("union_tag"):
        loc.append(context["discriminator"].strip("'"))
        known = (
            f"one of {context['expected_tags']}" if "expected_tags" in context else "which tells what the rest means"
        )
        what = f"is {context['tag']!r}, not {known}" if "tag" in context else f"is required and missing, {known}"
    elif loc and len(loc) > _TAGGED.get(loc[0], len(loc)):
        del loc[_TAGGED[loc[0]]]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ConfigError(what + more, file=file, key=".".join(loc))
