"""What one run told of every clip, as a file: scores are made of these later, and may be made anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.ablation.plan import System
from training.mmeverse.schema import Record


@dataclass(frozen=True)
class Told:
    """What a network told of clips, in one order for all networks; "" where no label could be read."""

    clips: tuple[str, ...]
    persons: tuple[str, ...]
    truth: tuple[str, ...]
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class Costs:
    """Cross entropy of answers that are known, in one order for all networks.

    Attributes:
        clips: What is asked about; one may be asked several things.
        persons: They are of.
        tokens: Of each answer.
        own: Sum over these tokens, nats, given the clip's own soft tokens.
        foreign: The same, given those of another clip: what the words alone give away.
    """

    clips: tuple[str, ...]
    persons: tuple[str, ...]
    tokens: tuple[int, ...]
    own: tuple[float, ...]
    foreign: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        system: What was trained.
        seed: Of it.
        settings: Digest of all that the result depends on.
        seconds: It took.
        head: What the perception head told, by measure.
        answers: What was answered when asked for the label.
        costs: Of answers to the tasks of perception and of cognition.
        machine: It was computed on.
    """

    system: System
    seed: int
    settings: str
    seconds: float
    head: Mapping[str, Told]
    answers: Told | None = None
    costs: Mapping[str, Costs] = field(default_factory=dict)
    machine: str = ""

    @property
    def name(self) -> str:
        """System and seed."""
        return f"{self.system.name}-{self.seed}"


def told_of(records: Sequence[Record], truth: Iterable[str], chosen: Iterable[str]) -> Told:
    """What was told of records."""
    return Told(names_of(records), persons_of(records), tuple(truth), tuple(chosen))


def names_of(records: Sequence[Record]) -> tuple[str, ...]:
    """What clips are called in results."""
    return tuple("/".join(record.key) for record in records)


def persons_of(records: Sequence[Record]) -> tuple[str, ...]:
    """Who clips are of; a clip of nobody that is known is a person of its own."""
    return tuple(record.person or "/".join(record.key[:2]) for record in records)


def file_of(runs: Path, system: System, seed: int) -> Path:
    """Where the result of a run lies."""
    return runs / f"{system.name}-{seed}.json"


def write_result(result: Result, file: Path) -> None:
    """Write a result, complete or not at all."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(asdict(result)), encoding="utf-8")
    part.replace(file)


def read_result(file: Path) -> Result | None:
    """Read a result; None where there is none, or a damaged one."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        data["system"] = System(**data["system"])
        data["head"] = {name: Told(**_tuples(told)) for name, told in data["head"].items()}
        data["answers"] = data["answers"] and Told(**_tuples(data["answers"]))
        data["costs"] = {name: Costs(**_tuples(costs)) for name, costs in data["costs"].items()}
        return Result(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _tuples(data: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {name: tuple(values) for name, values in data.items()}
