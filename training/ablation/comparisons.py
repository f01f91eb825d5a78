"""Which systems of a plan are compared with which, by which measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.ablation.answers import TASKS
from training.ablation.differences import ANSWERS, LOSS
from training.ablation.plan import Plan, System, systems_of
from training.ablation.views import MEASURED

#: What is asked, and two cells: system and measure each.
Pair = tuple[str, tuple[System, str], tuple[System, str]]


def comparisons_of(plan: Plan) -> list[Pair]:
    """Every comparison that the plan asks for, in a fixed order."""
    systems = systems_of(plan)
    return [*_fusions(plan, systems), *_views(plan, systems), *_removals(plan, systems), *_curricula(systems)]


def _own(system: System) -> tuple[str, ...]:
    """What a system is compared by: its own view, its answers, and what known answers cost it."""
    asked = (ANSWERS, *(f"{task}{LOSS}" for task in TASKS)) if system.grid == "answers" else ()
    return (MEASURED[system.view][0], *asked)


def _fusions(plan: Plan, systems: Sequence[System]) -> Iterator[Pair]:
    for system in systems:
        usual = System(system.grid, plan.reference, system.view, system.curriculum)
        if system != usual and usual in systems:
            yield from (("fusion", (system, measure), (usual, measure)) for measure in _own(system))


def _views(plan: Plan, systems: Sequence[System]) -> Iterator[Pair]:
    """All streams against one, on clips that have both; and one network for all against one for the view."""
    for system in systems:
        whole = System(system.grid, system.fusion, "all", system.curriculum)
        if system.fusion == plan.reference and system != whole and whole in systems:
            own, on_both = MEASURED[system.view]
            yield "views", (whole, "both"), (system, on_both)
            yield "views", (whole, own), (system, own)


def _removals(plan: Plan, systems: Sequence[System]) -> Iterator[Pair]:
    for system in systems:
        if system.fusion == plan.reference and system.view == "all":
            for measure in ("both, no video", "both, no audio"):
                yield "removed at inference", (system, measure), (system, "both")


def _curricula(systems: Sequence[System]) -> Iterator[Pair]:
    for system in systems:
        usual = System(system.grid, system.fusion, system.view, "perception_cognition")
        if system.curriculum and system != usual and usual in systems:
            yield from (("curriculum", (system, measure), (usual, measure)) for measure in _own(system))
