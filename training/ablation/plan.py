"""What is compared: a plan (yaml) names fusions, views, curricula and seeds, and so the runs.

Two grids: ``head`` trains the perception head alone, without a language model, which takes seconds;
``answers`` trains the whole network through a curriculum, and asks it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emollama_ros.errors import ConfigError
from training.ablation.views import View
from training.mmeverse.instructions import chance
from training.mmeverse.schema import Record
from training.networks.fusion import FusionKind
from training.presets import Preset, StagePreset, parse_preset

Curriculum = Literal["joint", "perception", "perception_cognition"]
Count = Annotated[int, Field(gt=0)]
Weights = dict[str, Annotated[float, Field(gt=0)]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class HeldOut(_Part):
    """The people that are measured on: sources and splits of `prepare`."""

    sources: tuple[str, ...]
    splits: tuple[Literal["validation", "test"], ...] = ("test",)


class HeadGrid(_Part):
    """Fusions x views of the perception head alone; ``stage`` says for how long."""

    fusions: tuple[FusionKind, ...]
    views: tuple[View, ...] = ("all",)
    stage: StagePreset


class AnswerGrid(_Part):
    """Fusions x views x curricula of the whole network.

    Attributes:
        fusions: Compared.
        views: Compared.
        curricula: Compared, all of the steps of ``perception`` and ``cognition`` together: ``joint`` mixes
            their tasks, ``perception`` has none of the second's, both with the first's rate.
        perception: First stage.
        cognition: Second stage.
        sources: Weights instead of the plan's; the plan's if left out.
        blocks: Only the first blocks of the language model, to fit small machines; all if left out. With
            fewer it is no longer the language model that its name says.
        asked: Answers at most that are generated, and that the loss is taken of.
    """

    fusions: tuple[FusionKind, ...]
    views: tuple[View, ...] = ("all",)
    curricula: tuple[Curriculum, ...]
    perception: StagePreset
    cognition: StagePreset
    sources: Weights | None = None
    blocks: Count | None = None
    asked: Count = 128

    @model_validator(mode="after")
    def _stages_are_what_they_are_called(self) -> AnswerGrid:
        if (self.perception.stage, self.cognition.stage) != (1, 2):
            raise ValueError("perception needs stage 1, cognition stage 2")
        return self

    def stages(self, curriculum: Curriculum) -> tuple[StagePreset, ...]:
        """The stages of a curriculum, of equal steps together."""
        if curriculum == "perception_cognition":
            return (self.perception, self.cognition)
        steps = self.perception.steps + self.cognition.steps
        stage = "joint" if curriculum == "joint" else 1
        return (self.perception.model_copy(update={"steps": steps, "stage": stage}),)


class Plan(_Part):
    """What is compared.

    Attributes:
        name: Of the report.
        preset: The system that all runs have in common.
        seeds: Of the runs of every system; at least 3.
        sources: Weight of every source in training.
        held_out: Who is measured on.
        most: Clips at most of a source and split, by source; which ones depends on nothing else.
        reference: The fusion that the others are compared with.
        head: The grid without language model.
        answers: The grid with it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    preset: str
    seeds: Annotated[tuple[int, ...], Field(min_length=3)]
    sources: Annotated[Weights, Field(min_length=1)]
    held_out: HeldOut
    most: dict[str, Count] = {}
    reference: FusionKind = "conv_attention"
    head: HeadGrid | None = None
    answers: AnswerGrid | None = None

    @model_validator(mode="after")
    def _runs_something(self) -> Plan:
        if self.head is None and self.answers is None:
            raise ValueError("needs a grid: head, answers, or both")
        return self


@dataclass(frozen=True)
class System:
    """One cell of a grid; ``curriculum`` is empty where there is no language model."""

    grid: Literal["head", "answers"]
    fusion: FusionKind
    view: View
    curriculum: Curriculum | Literal[""] = ""

    @property
    def name(self) -> str:
        """For files and progress."""
        return "-".join(filter(None, (self.grid, self.fusion, self.view, self.curriculum)))


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: No such file, no yaml, or a wrong key or value; names the first.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Plan.model_validate_json(json.dumps(data, default=str))  # its lists are taken for tuples
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not yaml: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "plan"
        raise ConfigError(f"{path}: {field}: {first['msg'].removeprefix('Value error, ')}") from None


def systems_of(plan: Plan, grid: str | None = None) -> list[System]:
    """Every cell, in a fixed order; of one grid where it is named."""
    found: list[System] = []
    if plan.head and grid in (None, "head"):
        found += [System("head", fusion, view) for fusion in plan.head.fusions for view in plan.head.views]
    if plan.answers and grid in (None, "answers"):
        found += [
            System("answers", fusion, view, curriculum)
            for fusion in plan.answers.fusions
            for view in plan.answers.views
            for curriculum in plan.answers.curricula
        ]
    return found


def preset_of(plan: Plan, base: Preset, system: System, seed: int) -> Preset:
    """The preset of one run."""
    data = base.model_dump(mode="json")
    grid = plan.head if system.grid == "head" else plan.answers
    assert grid is not None
    stages = (grid.stage,) if isinstance(grid, HeadGrid) else grid.stages(system.curriculum or "joint")
    weights = (grid.sources if isinstance(grid, AnswerGrid) else None) or plan.sources
    data["seed"], data["fusion"]["kind"] = seed, system.fusion
    data["curriculum"] = [
        {**stage.model_dump(mode="json"), "weights": stage.weights or weights} for stage in stages
    ]
    return parse_preset(data, system.name)


def chosen_of(plan: Plan, records: Sequence[Record]) -> list[Record]:
    """The records of one split, as many of each source as the plan allows."""
    kept: list[Record] = []
    for source in sorted({record.source for record in records}):
        members = [record for record in records if record.source == source]
        members.sort(key=lambda record: chance.fraction(*record.key, "ablation"))
        kept += members[: plan.most.get(source, len(members))]
    return kept
