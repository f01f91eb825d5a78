"""A report as a page: tables, and which differences exceed the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.ablation.differences import EXCEEDS, LEAST_PEOPLE, TOO_FEW, WITHIN


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as a page."""
    parts = [
        f"# Ablation: {report['plan']['name']}",
        said(report),
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


def said(report: Mapping[str, Any]) -> str:
    """How many differences there are, which exceed the noise, and what was not run."""
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
    return table((*heads, "clips", "people"), rows)


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
    return table(("question", "system", "against", "difference", "sd", "interval", "people", ""), rows)


def _loss_table(losses: Sequence[Mapping[str, Any]]) -> str:
    def cell(value: Mapping[str, float]) -> str:
        return f"{value['mean']:.3f} ± {value['deviation']:.3f}"

    rows = [
        (
            row["system"]["fusion"],
            row["system"]["view"],
            row["system"]["curriculum"].replace("_", " then "),
            row["task"],
            *(cell(row[which]) for which in ("own", "foreign", "gain")),
            str(len(row["own"]["by_seed"])),
            str(row["answers"]),
            str(row["persons"]),
        )
        for row in losses
    ]
    heads = ("fusion", "trained on", "curriculum", "tasks of", "own clip", "another clip", "gain", "n")
    return table((*heads, "answers", "people"), rows)


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
    wall = f"- {len(seconds)} runs, {sum(seconds):.0f} s of wall time together"
    return "\n".join([*clips, wall, *(f"- on {machine}" for machine in report["machines"])])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows))
    return "\n".join(lines)
