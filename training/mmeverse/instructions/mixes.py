"""Proportions of Emotion-LLaMAv2's two stages, as data: sources, replay, and forms of a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from emollama_ros.errors import ConfigError
from training.mmeverse.instructions.tags import Tag, label_tag, think_tag
from training.mmeverse.schema import Task

FILE = Path(__file__).with_name("mixes.yaml")
#: Perception and cognition.
STAGES = (1, 2)


@dataclass(frozen=True)
class Mix:
    """Proportions of one stage; all weights are relative.

    Attributes:
        stage: 1 (perception) or 2 (cognition).
        sources: Weight of each data set about people.
        replay: Weight of each general vision-language set.
        forms: By source (or ``default``) and task of a record: weight of each form it can take.
    """

    stage: int
    sources: Mapping[str, float]
    replay: Mapping[str, float]
    forms: Mapping[str, Mapping[Task, Mapping[str, float]]]

    def forms_of(self, source: str, task: Task) -> dict[Tag, float]:
        """Tags that a record of this source and task can be asked with, and their weights."""
        row = self.forms.get(source, {}).get(task) or self.forms["default"][task]
        return {_tag_of(form, task): weight for form, weight in row.items()}

    def task_weight(self, source: str, task: Task) -> float:
        """Weight of the records of a task among those of their source."""
        return sum(self.forms_of(source, task).values())

    @property
    def replay_share(self) -> float:
        """Share of replay where every source and set is there, 0 to 1."""
        people, replay = sum(self.sources.values()), sum(self.replay.values())
        return replay / (people + replay)


def _tag_of(form: str, task: Task) -> Tag:
    return {"label": label_tag(task), "think": think_tag(task)}.get(form) or Tag(form)


@cache
def mix_of(stage: int) -> Mix:
    """The proportions of a stage.

    Raises:
        ConfigError: There is no such stage.
    """
    if stage not in STAGES:
        raise ConfigError(f"stage {stage}: there are stage 1 (perception) and stage 2 (cognition)")
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))[stage]
    return Mix(stage, data["sources"], data["replay"], _forms(data["forms"]))


def _forms(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[Task, Mapping[str, float]]]:
    return {source: {Task(task): row for task, row in rows.items()} for source, rows in data.items()}
