"""What ablations say, and what they do not: a report of all runs of a plan, as data, page and figure.

The rule by which a difference is told from noise: `training.ablation.differences`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.ablation.comparisons import comparisons_of
from training.ablation.differences import (
    ANSWERS,
    DRAWS,
    LOSS,
    Cell,
    Difference,
    compare,
    deviation_of,
    metric_of,
    score_of,
    value_of,
)
from training.ablation.figure import plot
from training.ablation.material import Material
from training.ablation.page import to_markdown
from training.ablation.plan import Plan, System, systems_of
from training.ablation.results import Costs, Result, Told
from training.ablation.runs import fresh_result
from training.mmeverse.schema import Record


def report_of(plan: Plan, runs: Path, material: Material, draws: int = DRAWS) -> dict[str, Any]:
    """Score and compare every run of a plan that has a result, and name those that have none.

    Args:
        plan: What is compared.
        runs: Folder of the results.
        material: Clips and models of the runs.
        draws: Of the bootstrap.
    """
    results = {
        f"{system.name}-{seed}": fresh_result(plan, material, runs, system, seed)
        for system in systems_of(plan)
        for seed in plan.seeds
    }
    done = [result for result in results.values() if result is not None]
    table = Table(done)
    return {
        "plan": plan.model_dump(mode="json"),
        "machines": sorted({result.machine for result in done}),
        "clips": {
            "train": _counts(material.train.records),
            "held_out": _counts(material.held_out.records),
        },
        "not_run": [name for name, result in results.items() if result is None],
        "seconds": {result.name: result.seconds for result in done},
        "scores": [asdict(score_of(*cell, told)) for cell, told in table.told.items()],
        "differences": [asdict(difference) for difference in differences_of(plan, table, draws)],
        "answer_loss": [_loss(*cell, costs) for cell, costs in table.costs.items()],
    }


class Table:
    """All results of a plan, by system and measure, then by seed, in the order of the runs.

    Attributes:
        told: Labels that the head and the answers told.
        costs: Of known answers.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        """Sort results in."""
        self.told: dict[tuple[System, str], dict[int, Told]] = {}
        self.costs: dict[tuple[System, str], dict[int, Costs]] = {}
        for result in results:
            answers = {ANSWERS: result.answers} if result.answers else {}
            for measure, told in {**result.head, **answers}.items():
                self.told.setdefault((result.system, measure), {})[result.seed] = told
            for task, costs in result.costs.items():
                self.costs.setdefault((result.system, f"{task}{LOSS}"), {})[result.seed] = costs

    def cell(self, system: System, measure: str) -> Cell:
        """A cell, of no seed where nothing was run."""
        found = self.costs if measure.endswith(LOSS) else self.told
        return system, measure, found.get((system, measure), {})


def differences_of(plan: Plan, table: Table, draws: int = DRAWS) -> list[Difference]:
    """Every comparison of which both sides were run with two seeds or more."""
    pairs = [
        (question, table.cell(*one), table.cell(*other)) for question, one, other in comparisons_of(plan)
    ]
    ready = [pair for pair in pairs if len(pair[1][2].keys() & pair[2][2].keys()) > 1]
    return [compare(*pair, len(ready), draws) for pair in ready]


def _counts(records: Sequence[Record]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for source in sorted({record.source for record in records}):
        mine = [record for record in records if record.source == source]
        reasons = sum(bool(record.reasoning) for record in mine)
        persons = len({record.person for record in mine})
        counts[source] = {"clips": len(mine), "persons": persons, "with_reasons": reasons}
    return counts


def _loss(system: System, measure: str, costs: Mapping[int, Costs]) -> dict[str, Any]:
    """Cross entropy of known answers, nats a token: given the own clip, given another one, and the gain."""
    own = [value_of(one, metric_of(measure)) for one in costs.values()]
    foreign = [sum(one.foreign) / sum(one.tokens) for one in costs.values()]
    gains = [other - mine for other, mine in zip(foreign, own, strict=True)]
    first = next(iter(costs.values()))
    return {
        "system": asdict(system),
        "task": measure.removesuffix(LOSS),
        "answers": len(first.clips),
        "persons": len(set(first.persons)),
        **{
            name: {"mean": float(np.mean(values)), "deviation": deviation_of(values), "by_seed": values}
            for name, values in (("own", own), ("foreign", foreign), ("gain", gains))
        },
    }


def write_report(report: Mapping[str, Any], out: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``ablation.svg``."""
    out.mkdir(parents=True, exist_ok=True)
    rounded = {**_rounded(report), "plan": report["plan"]}  # learning rates are small
    (out / "report.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(to_markdown(report), encoding="utf-8")
    plot(report, out / "ablation.svg")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
