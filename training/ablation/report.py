"""What ablations say, and what they do not: scores with their spread, paired differences, and a rule.

The rule. Two systems are compared on the same clips, seed by seed. A difference of their scores exceeds the
noise when (1) its interval excludes 0: percentile bootstrap that draws people, within each source, and seeds
with replacement, the same for both systems, at 95 % over all comparisons of the report together (Bonferroni);
and (2) its mean over the seeds is more than twice its standard error over the seeds; and (3) there are at
least `LEAST_PEOPLE` people: fewer say nothing about others, whatever the interval.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ablation.runs import MEASURED, Material, Plan, Result, System, Told, fresh_result, systems_of
from training.evaluation.metrics import confusion_parts, confusion_scores

Floats = NDArray[np.float64]
#: Below this the people are too few to say anything about others.
LEAST_PEOPLE = 5
DRAWS = 10_000
LEVEL = 0.95
#: Said of a difference.
EXCEEDS, WITHIN, TOO_FEW = "exceeds the noise", "within the noise", "too few people"
#: Measure and score of what was answered; everything else is the head's.
ANSWERS = "answers"


@dataclass(frozen=True)
class Score:
    """A system by one measure.

    Attributes:
        system: What was trained.
        measure: `training.ablation.runs.MEASURES`, or ``answers``.
        metric: ``uar`` of the head, ``waf`` of answers.
        mean: Over the seeds.
        deviation: Over the seeds (sample standard deviation).
        by_seed: The score of each.
        clips: Scored.
        persons: They are of.
        labels: That are true of some clip; a guess has a UAR of 1 / labels.
    """

    system: System
    measure: str
    metric: str
    mean: float
    deviation: float
    by_seed: tuple[float, ...]
    clips: int
    persons: int
    labels: int


@dataclass(frozen=True)
class Difference:
    """One system less another, paired over seeds and people.

    Attributes:
        question: Fusion, views, removed modality, or curriculum.
        what: The first system, by which measure.
        than: The second one, by which.
        mean: Difference of the scores, mean over the seeds.
        deviation: Of the differences, over the seeds.
        interval: Bootstrap over people and seeds, at the corrected level.
        persons: Drawn.
        verdict: By the rule.
    """

    question: str
    what: str
    than: str
    mean: float
    deviation: float
    interval: tuple[float, float]
    persons: int
    verdict: str


def metric_of(measure: str) -> str:
    """WAF for answers, as the benchmarks have it; UAR for the head."""
    return "waf" if measure == ANSWERS else "uar"


class Table:
    """All results of a plan, by system and measure."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._told: dict[tuple[System, str], dict[int, Told]] = {}
        for result in results:
            answers = {ANSWERS: result.answers} if result.answers else {}
            for measure, told in {**result.head, **answers}.items():
                self._told.setdefault((result.system, measure), {})[result.seed] = told

    def cells(self) -> Iterator[tuple[System, str]]:
        """Systems and measures, in the order of the runs."""
        return iter(self._told)

    def told(self, system: System, measure: str) -> dict[int, Told]:
        """What was told, by seed; empty where nothing was run."""
        return self._told.get((system, measure), {})


def score_of(system: System, measure: str, told: Mapping[int, Told]) -> Score:
    """Score one cell."""
    values = [_value(one, metric_of(measure)) for one in told.values()]
    first = next(iter(told.values()))
    return Score(
        system=system,
        measure=measure,
        metric=metric_of(measure),
        mean=float(np.mean(values)),
        deviation=_deviation(values),
        by_seed=tuple(values),
        clips=len(first.clips),
        persons=len(set(first.persons)),
        labels=len(set(first.truth)),
    )


def _value(told: Told, metric: str) -> float:
    parts, size = _parts(told, _labels([told]))
    return float(confusion_scores(parts.sum(0).reshape(size, size))[metric])


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _labels(told: Sequence[Told]) -> list[str]:
    return sorted({label for one in told for label in (*one.truth, *one.chosen)})


def _parts(told: Told, labels: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    index = {label: i for i, label in enumerate(labels)}
    truth, chosen = (np.array([index[label] for label in side]) for side in (told.truth, told.chosen))
    return confusion_parts(truth, chosen, len(labels)), len(labels)


def compare(
    question: str,
    one: tuple[System, str, Mapping[int, Told]],
    other: tuple[System, str, Mapping[int, Told]],
    comparisons: int,
    draws: int = DRAWS,
) -> Difference:
    """Compare two cells by the rule of this module.

    Args:
        question: What is asked by it.
        one: A system, its measure, and what it told by seed.
        other: What it is compared with, of the same clips.
        comparisons: How many the report has: the level is corrected for them.
        draws: Of the bootstrap.
    """
    seeds = [seed for seed in one[2] if seed in other[2]]
    pairs = [(one[2][seed], other[2][seed]) for seed in seeds]
    assert all(a.clips == b.clips for a, b in pairs), "compared systems must be measured on the same clips"
    metric = metric_of(one[1])
    gains = [_value(a, metric) - _value(b, metric) for a, b in pairs]
    drawn = _bootstrap(pairs, metric, draws)
    tail = 100 * (1 - LEVEL) / comparisons / 2
    low, high = (float(value) for value in np.percentile(drawn, [tail, 100 - tail]))
    mean, spread, persons = float(np.mean(gains)), _deviation(gains), len(set(pairs[0][0].persons))
    is_steady = abs(mean) > 2 * spread / np.sqrt(len(gains))
    said = EXCEEDS if is_steady and (low > 0 or high < 0) else WITHIN
    return Difference(
        question=question,
        what=_cell(*one[:2]),
        than=_cell(*other[:2]),
        mean=mean,
        deviation=spread,
        interval=(low, high),
        persons=persons,
        verdict=said if persons >= LEAST_PEOPLE else TOO_FEW,
    )


def _bootstrap(pairs: Sequence[tuple[Told, Told]], metric: str, draws: int) -> Floats:
    """Mean difference over the drawn seeds, of the drawn people; the same draws for both of a pair."""
    random = np.random.default_rng(0)
    labels = _labels([told for pair in pairs for told in pair])
    persons, owner = np.unique(np.array(pairs[0][0].persons), return_inverse=True)
    weights = _drawn_people(persons, draws, random)
    gains = np.stack(
        [
            _drawn_scores(a, labels, owner, weights, metric)
            - _drawn_scores(b, labels, owner, weights, metric)
            for a, b in pairs
        ],
        axis=1,
    )
    seeds = random.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=draws)
    return (gains * seeds).sum(1) / len(pairs)


def _drawn_people(persons: NDArray[Any], draws: int, random: np.random.Generator) -> Floats:
    """(draws, persons): how often each is drawn; every source keeps its number of people."""
    sources = np.array([person.partition(":")[0].partition("/")[0] for person in persons])
    weights = np.zeros((draws, len(persons)))
    for source in np.unique(sources):
        mine = np.flatnonzero(sources == source)
        weights[:, mine] = random.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=draws)
    return weights


def _drawn_scores(
    told: Told, labels: Sequence[str], owner: NDArray[np.int64], weights: Floats, metric: str
) -> Floats:
    parts, size = _parts(told, labels)
    sums = np.zeros((weights.shape[1], size * size))
    np.add.at(sums, owner, parts)
    return confusion_scores((weights @ sums).reshape(-1, size, size))[metric]


def _cell(system: System, measure: str) -> str:
    parts = (system.fusion, system.curriculum.replace("_", " then "), f"trained on {system.view}")
    return ", ".join(filter(None, (*parts, f"measured on {measure}")))


# --- which comparisons --------------------------------------------------------------------------------------

#: Two cells: system and measure each.
_Pair = tuple[str, tuple[System, str], tuple[System, str]]


def comparisons_of(plan: Plan) -> list[_Pair]:
    """Every comparison that the plan asks for, in a fixed order."""
    systems = systems_of(plan)
    return [*_fusions(plan, systems), *_views(plan, systems), *_removals(plan, systems), *_curricula(systems)]


def _own(system: System) -> tuple[str, ...]:
    """What a system is compared by: its own view, and its answers."""
    return (MEASURED[system.view][0], *([ANSWERS] if system.grid == "answers" else []))


def _fusions(plan: Plan, systems: Sequence[System]) -> Iterator[_Pair]:
    for system in systems:
        usual = System(system.grid, plan.reference, system.view, system.curriculum)
        if system != usual and usual in systems:
            yield from (("fusion", (system, measure), (usual, measure)) for measure in _own(system))


def _views(plan: Plan, systems: Sequence[System]) -> Iterator[_Pair]:
    """All streams against one, on clips that have both; and one network for all against one for the view."""
    for system in systems:
        whole = System(system.grid, system.fusion, "all", system.curriculum)
        if system.fusion == plan.reference and system != whole and whole in systems:
            own, on_both = MEASURED[system.view]
            yield "views", (whole, "both"), (system, on_both)
            yield "views", (whole, own), (system, own)


def _removals(plan: Plan, systems: Sequence[System]) -> Iterator[_Pair]:
    for system in systems:
        if system.fusion == plan.reference and system.view == "all":
            for measure in ("both, no video", "both, no audio"):
                yield "removed at inference", (system, measure), (system, "both")


def _curricula(systems: Sequence[System]) -> Iterator[_Pair]:
    for system in systems:
        usual = System(system.grid, system.fusion, system.view, "perception_cognition")
        if system.curriculum and system != usual and usual in systems:
            yield from (("curriculum", (system, measure), (usual, measure)) for measure in _own(system))


# --- the report ---------------------------------------------------------------------------------------------


def report_of(plan: Plan, runs: Path, material: Material) -> dict[str, Any]:
    """Score and compare every run of a plan that has a result, and name those that have none."""
    results = {
        f"{system.name}-{seed}": fresh_result(plan, material, runs, system, seed)
        for system in systems_of(plan)
        for seed in plan.seeds
    }
    done = [result for result in results.values() if result is not None]
    table = Table(done)
    scores = [score_of(*cell, table.told(*cell)) for cell in table.cells()]
    return {
        "plan": plan.model_dump(mode="json"),
        "machine": machine(),
        "clips": {
            "train": _counts(material.train.records),
            "held_out": _counts(material.held_out.records),
        },
        "not_run": [name for name, result in results.items() if result is None],
        "seconds": {result_name(result): result.seconds for result in done},
        "scores": [asdict(score) for score in scores],
        "differences": [asdict(difference) for difference in differences_of(plan, table)],
        "answer_loss": _losses(done),
    }


def result_name(result: Result) -> str:
    """System and seed."""
    return f"{result.system.name}-{result.seed}"


def differences_of(plan: Plan, table: Table, draws: int = DRAWS) -> list[Difference]:
    """Every comparison of which both sides were run with two seeds or more."""
    ready = []
    for question, one, other in comparisons_of(plan):
        told = table.told(*one), table.told(*other)
        if len(told[0].keys() & told[1].keys()) > 1:
            ready.append((question, (*one, told[0]), (*other, told[1])))
    return [compare(question, one, other, len(ready), draws) for question, one, other in ready]


def machine() -> dict[str, Any]:
    """What the runs were computed on."""
    import torch

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _counts(records: Sequence[Any]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for source in sorted({record.source for record in records}):
        mine = [record for record in records if record.source == source]
        reasons = sum(bool(record.reasoning) for record in mine)
        persons = len({record.person for record in mine})
        counts[source] = {"clips": len(mine), "persons": persons, "with_reasons": reasons}
    return counts


def _losses(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Answer loss of every system and stage over its seeds: mean and deviation, own and foreign."""
    rows = []
    for system in dict.fromkeys(result.system for result in results if result.loss):
        mine = [result.loss for result in results if result.system == system and result.loss]
        for stage in mine[0]:
            row: dict[str, Any] = {"system": asdict(system), "stage": stage, "n": mine[0][stage]["n"]}
            for which in ("own", "foreign"):
                values = [loss[stage][which] for loss in mine]
                row[which] = {"mean": float(np.mean(values)), "deviation": _deviation(values)}
            gains = [loss[stage]["foreign"] - loss[stage]["own"] for loss in mine]
            row["gain"] = {"mean": float(np.mean(gains)), "deviation": _deviation(gains)}
            rows.append(row)
    return rows


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


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as a page."""
    parts = [
        f"# Ablation: {report['plan']['name']}",
        _said(report),
        "## Scores on held-out people",
        _score_table(report["scores"]),
        "## Differences",
        _rule(report),
        _difference_table(report["differences"]),
    ]
    if report["answer_loss"]:
        parts += ["## Loss of answers, nats a token", _loss_table(report["answer_loss"])]
    parts += ["## How it was run", _run_facts(report)]
    return "\n\n".join(parts) + "\n"


def _said(report: Mapping[str, Any]) -> str:
    verdicts = [row["verdict"] for row in report["differences"]]
    counts = ", ".join(f"{v}: {verdicts.count(v)}" for v in (EXCEEDS, WITHIN, TOO_FEW))
    lines = [f"{len(verdicts)} differences; {counts}."]
    found = [row for row in report["differences"] if row["verdict"] == EXCEEDS]
    lines += [f"- {row['what']} against {row['than']}: {row['mean']:+.3f}" for row in found]
    if report["not_run"]:
        lines.append(
            f"\nNot run: {len(report['not_run'])} runs of the plan, namely {_names(report['not_run'])}."
        )
    return "\n".join(lines)


def _names(runs: Sequence[str]) -> str:
    """Systems with their seeds in brackets."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        system, _, seed = run.rpartition("-")
        seeds.setdefault(system, []).append(seed)
    return "; ".join(f"{system} ({', '.join(found)})" for system, found in seeds.items())


def _rule(report: Mapping[str, Any]) -> str:
    return (
        "The first less the second, on the same clips. A difference exceeds the noise when the interval "
        "excludes 0 (bootstrap over people, within each source, and seeds; 95 % over all "
        f"{len(report['differences'])} comparisons together, Bonferroni), when the mean is more than twice "
        f"its standard error over the seeds, and when there are at least {LEAST_PEOPLE} people."
    )


def _score_table(scores: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            row["system"]["fusion"],
            row["system"]["view"],
            row["system"]["curriculum"].replace("_", " then ") or "head alone",
            row["measure"],
            row["metric"].upper(),
            f"{row['mean']:.3f}",
            f"{row['deviation']:.3f}",
            str(len(row["by_seed"])),
            f"{1 / row['labels']:.3f}" if row["metric"] == "uar" else "",
            str(row["clips"]),
            str(row["persons"]),
        )
        for row in scores
    ]
    heads = ("fusion", "trained on", "curriculum", "measured on", "score", "mean", "sd", "n", "a guess")
    return _table((*heads, "clips", "people"), rows)


def _difference_table(differences: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            row["question"],
            row["what"],
            row["than"],
            f"{row['mean']:+.3f}",
            f"{row['deviation']:.3f}",
            f"{row['interval'][0]:+.3f} to {row['interval'][1]:+.3f}",
            str(row["persons"]),
            row["verdict"],
        )
        for row in differences
    ]
    return _table(("question", "system", "against", "difference", "sd", "interval", "people", ""), rows)


def _loss_table(losses: Sequence[Mapping[str, Any]]) -> str:
    def cell(value: Mapping[str, float]) -> str:
        return f"{value['mean']:.3f} ± {value['deviation']:.3f}"

    rows = [
        (
            row["system"]["fusion"],
            row["system"]["view"],
            row["system"]["curriculum"].replace("_", " then "),
            row["stage"],
            *(cell(row[which]) for which in ("own", "foreign", "gain")),
            str(row["n"]),
        )
        for row in losses
    ]
    heads = ("fusion", "trained on", "curriculum", "tasks of", "own clip", "another clip", "gain", "answers")
    return _table(heads, rows)


def _run_facts(report: Mapping[str, Any]) -> str:
    clips = [
        f"- {split.replace('_', ' ')}: "
        + "; ".join(
            f"{source} {c['clips']} clips of {c['persons']} people, {c['with_reasons']} with reasons"
            for source, c in by_source.items()
        )
        for split, by_source in report["clips"].items()
    ]
    seconds = report["seconds"].values()
    facts = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    return "\n".join(
        [*clips, f"- {len(seconds)} runs, {sum(seconds):.0f} s of wall time together", f"- {facts}"]
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows))
    return "\n".join(lines)


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw the score of every system by its own view, seed by seed, one panel a view."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = _panels(report["scores"])
    with plt.rc_context({"svg.hashsalt": "ablation", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.2), squeeze=False)
        for axis, (title, rows) in zip(axes[0], panels.items(), strict=True):
            _draw(axis, title, rows)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _panels(scores: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    panels: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for row in scores:
        system, measure = row["system"], row["measure"]
        if measure in (MEASURED[system["view"]][0], ANSWERS):
            title = f"{row['metric'].upper()}, {measure}"
            grid = "fusion" if system["grid"] == "head" else "curriculum"
            name = system[grid] if grid == "fusion" else f"{system['fusion']}\n{system['curriculum']}"
            panels.setdefault(f"{title} ({grid})", []).append((name.replace("_", " "), row))
    return panels


def _draw(axis: Any, title: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for place, (_, row) in enumerate(rows):
        axis.plot(row["by_seed"], [place] * len(row["by_seed"]), "o", color="#8fbfe8", markersize=4)
        axis.errorbar(row["mean"], place, xerr=row["deviation"], fmt="d", color="#0b0b0b", markersize=5)
    if rows[0][1]["metric"] == "uar":
        axis.axvline(1 / rows[0][1]["labels"], color="#d1730f", linewidth=0.8, linestyle="--")
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set(title=title, xlabel="seeds, mean, sd; dashed: a guess")
    axis.margins(y=0.15)
