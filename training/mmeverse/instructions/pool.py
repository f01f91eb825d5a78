"""Pools of instructions: files of our own words in ``pools/``, one a tag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from emollama_ros.errors import ConfigError
from training.mmeverse.instructions.tags import Tag

FOLDER = Path(__file__).parent / "pools"
#: What an instruction may leave open: the label space, what is looked for, a question, a phrase.
PLACEHOLDERS = frozenset({"labels", "what", "question", "phrase"})


@dataclass(frozen=True)
class Pool:
    """The instructions of one tag.

    Attributes:
        tag: What they ask for.
        version: Raised with every change of the words; belongs into the record of a training run.
        needs: Placeholders that stand in every instruction, once each.
        instructions: In the order of the file.
    """

    tag: Tag
    version: int
    needs: frozenset[str]
    instructions: tuple[str, ...]


@cache
def pool_of(tag: Tag) -> Pool:
    """Read the pool of a tag."""
    return read_pool(FOLDER / f"{tag.value}.yaml")


def read_pool(path: Path) -> Pool:
    """Read a pool.

    Raises:
        ConfigError: The file is missing or not of the expected form, or an instruction is empty, is there
            twice, or has not exactly the placeholders that the file says it needs.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        pool = _pool(data)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: no pool of instructions ({error}); it needs tag, version, needs, instructions"
        ) from error
    for number, text in enumerate(pool.instructions, 1):
        if problem := _problem(text, pool):
            raise ConfigError(f"{path}: instruction {number}: {problem}: {text!r}")
    return pool


def _pool(data: Mapping[str, Any]) -> Pool:
    needs = frozenset(data["needs"])
    if unknown := needs - PLACEHOLDERS:
        raise ValueError(f"unknown placeholder {sorted(unknown)[0]!r}; known: {sorted(PLACEHOLDERS)}")
    return Pool(Tag(data["tag"]), int(data["version"]), needs, tuple(map(str, data["instructions"])))


def _problem(text: str, pool: Pool) -> str:
    try:
        fields = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        return str(error)
    if sorted(fields) != sorted(pool.needs):
        return f"has the placeholders {fields}, needs {sorted(pool.needs)}"
    if not text.strip() or text != " ".join(text.split()):
        return "is empty or has blanks too many"
    return "is there twice" if pool.instructions.count(text) > 1 else ""
