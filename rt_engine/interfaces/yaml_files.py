"""Files that people write: read safely, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

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
_MOST_NAMED = 8


def config_error(file: str, error: ValidationError) -> ConfigError:
    """First finding of a validation as one line: file, key, and what is allowed; of the others the keys."""
    first, *others = error.errors()
    keys = list(dict.fromkeys(_key_of(one) for one in others))
    named = ", ".join(keys[:_MOST_NAMED]) + (" …" if len(keys) > _MOST_NAMED else "")
    more = f" (and {len(others)} more: {named})" if others else ""
    return ConfigError(_what_of(first) + more, file=file, key=_key_of(first))


def _key_of(finding: ErrorDetails) -> str:
    loc = [str(part) for part in finding["loc"]]
    if finding["type"].startswith("union_tag"):
        loc.append(finding["ctx"]["discriminator"].strip("'"))
    elif loc and len(loc) > _TAGGED.get(loc[0], len(loc)):
        del loc[_TAGGED[loc[0]]]
    return ".".join(loc)


def _what_of(finding: ErrorDetails) -> str:
    context = finding.get("ctx", {})
    match finding["type"]:
        case "missing":
            return "is required and missing"
        case "extra_forbidden":
            return "is not a known key"
        case "value_error":  # our own words say what is wrong; a whole section would bury them
            value = finding["input"]
            return str(context["error"]) + ("" if isinstance(value, dict) else f", got {value!r}")
        case kind if kind.startswith("union_tag"):
            tags = context.get("expected_tags")
            known = "which tells what the rest means" if tags is None else f"one of {tags}"
            return f"is {context['tag']!r}, not {known}" if "tag" in context else f"is required and missing, {known}"
    return f"{finding['msg'][:1].lower()}{finding['msg'][1:]}, got {finding.get('input')!r}"
