"""Prompts as versioned files: ``prompts/ROLE/vN.txt``, with a part for the system and one for each mode.

The prompts are this project's own words. Those of MMEVerse were not published; what is known of them (who the
model is told to be, and that the label is told) is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from emollama_ros.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
_PARTS = ("system", "guided", "free")
_SHA_CHARS = 12


@dataclass(frozen=True)
class Prompt:
    """One version of one role's prompt.

    Attributes:
        version: ``role/vN@`` and the beginning of the file's SHA-256: says which words were sent even if
            someone edits the file and forgets to give it a new name.
        system: Who the model is and what holds for every clip.
        guided: What is asked where the label is told.
        free: What is asked where it is not.
    """

    version: str
    system: str
    guided: str
    free: str

    def user(self, is_guided: bool, values: Mapping[str, str]) -> str:
        """What is asked about a clip. A ``$`` in a value stays one: values are never templates.

        Raises:
            ConfigError: The file names a value that there is not.
        """
        try:
            return Template(self.guided if is_guided else self.free).substitute(values)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"prompt {self.version}: {error}; known values: {', '.join(values)}") from None


def load_prompt(role: str, name: str = "v1", folder: Path = FOLDER) -> Prompt:
    """Read a prompt.

    Raises:
        ConfigError: There is no such file, or it lacks a part.
    """
    path = folder / role / f"{name}.txt"
    try:
        raw = path.read_bytes()
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
        raise ConfigError(f"{path}: no such prompt ({error.strerror}); versions of {role}: {known}") from None
    pieces = re.split(r"^\[(\w+)\]\n", raw.decode("utf-8"), flags=re.MULTILINE)
    parts = dict(zip(pieces[1::2], (text.strip() for text in pieces[2::2]), strict=True))
    if set(parts) != set(_PARTS):
        raise ConfigError(f"{path}: has the parts {sorted(parts)}; needed are {', '.join(_PARTS)}")
    sha = hashlib.sha256(raw).hexdigest()[:_SHA_CHARS]
    return Prompt(version=f"{role}/{name}@{sha}", **parts)


def as_data(value: Any) -> str:
    """A value as JSON that cannot end the block of data it stands in: no ``<`` is left in it."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
