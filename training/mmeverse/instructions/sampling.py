"""Which record is learnt when: sources and replay in their proportions, each without repeats in a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from emollama_ros.errors import ConfigError
from training.mmeverse.instructions import chance
from training.mmeverse.instructions.mixes import Mix, mix_of
from training.mmeverse.instructions.samples import Instruction, instruction_of, replay_instruction_of
from training.mmeverse.instructions.template import TEMPLATES, Template
from training.mmeverse.replay.base import ReplaySample
from training.mmeverse.schema import Record, Task

#: Source and task, or replay set and kind: what has one weight.
Group = tuple[str, str]
_TASKS = frozenset(task.value for task in Task)


@dataclass(frozen=True)
class Visit:
    """One step of training: an item of a group, and how many times the whole group was gone through."""

    group: Group
    index: int
    epoch: int


def visits(
    sizes: Mapping[Group, int], weights: Mapping[Group, float], seed: int = 0, start: int = 0
) -> Iterator[Visit]:
    """Draw groups by weight for ever; within a group, every item once before any comes again.

    Args:
        sizes: Number of items of each group.
        weights: Relative, greater than 0, for each of these groups.
        seed: Same seed, same visits.
        start: Step to go on from; what comes is what an unbroken run would have seen.

    Raises:
        ConfigError: There is no group, one is empty, or one has no weight.
    """
    groups = sorted(sizes)
    _check(groups, sizes, weights)
    chances = [weights[group] for group in groups]
    seen: Counter[Group] = Counter()
    orders: dict[Group, tuple[int, np.ndarray]] = {}
    for step in count():
        group = chance.weighted(groups, chances, seed, step)
        epoch, place = divmod(seen[group], sizes[group])
        seen[group] += 1
        if step < start:
            continue
        if orders.get(group, (None,))[0] != epoch:
            orders[group] = epoch, _order(sizes[group], seed, group, epoch)
        yield Visit(group, int(orders[group][1][place]), epoch)


def _check(groups: Sequence[Group], sizes: Mapping[Group, int], weights: Mapping[Group, float]) -> None:
    if not groups:
        raise ConfigError("nothing to draw from: no records and no replay")
    for group in groups:
        if not sizes[group] > 0 or not weights.get(group, 0) > 0:
            raise ConfigError(f"{'/'.join(group)}: needs at least one item and a weight greater than 0")


def _order(size: int, seed: int, group: Group, epoch: int) -> np.ndarray:
    key = int(chance.fraction(seed, group, epoch, "order") * 2**53)
    return np.argsort(np.random.Generator(np.random.PCG64(key)).random(size), kind="stable")


def group_weights(
    mix: Mix, groups: Iterable[Group], weights: Mapping[str, float] | None = None
) -> dict[Group, float]:
    """Weight of each group: that of its source, divided among the source's tasks that are there.

    What is absent leaves the proportions among the others as they are.

    Args:
        mix: Of the stage.
        groups: Those that there are.
        weights: By source or replay set: instead of, or besides, those of the mix.

    Raises:
        ConfigError: A source has no weight; the message says how to give one.
    """
    known = {**mix.sources, **mix.replay, **(weights or {})}
    groups = sorted(groups)
    if unknown := [source for source, _ in groups if source not in known]:
        raise ConfigError(
            f"source {unknown[0]!r} has no weight in stage {mix.stage}; give one, e.g. {{{unknown[0]!r}: 60}}"
        )
    parts = {group: _part(mix, group) for group in groups}
    totals: Counter[str] = Counter()
    for (source, _), part in parts.items():
        totals[source] += part
    return {(source, kind): known[source] * part / totals[source] for (source, kind), part in parts.items()}


def _part(mix: Mix, group: Group) -> float:
    source, kind = group
    return mix.task_weight(source, Task(kind)) if kind in _TASKS else 1.0


def instruction_stream(
    records: Iterable[Record],
    replay: Iterable[ReplaySample] = (),
    *,
    stage: int,
    seed: int = 0,
    start: int = 0,
    weights: Mapping[str, float] | None = None,
    template: Template = TEMPLATES["llama2"],
) -> Iterator[Instruction]:
    """Instructions for ever, in the proportions of a stage.

    Args:
        records: Of the training split; held in memory.
        replay: General vision-language samples; held in memory.
        stage: 1 or 2.
        seed: Same seed and data, same stream.
        start: Step to go on from.
        weights: See `group_weights`.
        template: Form of the prompts.

    Raises:
        ConfigError: See `visits` and `group_weights`.
        InputError: See `instruction_of`.
    """
    items = _grouped(records, replay)
    sizes = {group: len(members) for group, members in items.items()}
    for visit in visits(sizes, group_weights(mix_of(stage), sizes, weights), seed, start):
        item = items[visit.group][visit.index]
        if isinstance(item, Record):
            yield instruction_of(item, stage, seed, visit.epoch, template=template)
        else:
            yield replay_instruction_of(item, seed, visit.epoch, template=template)


def record_stream(
    records: Iterable[Record],
    *,
    stage: int,
    seed: int = 0,
    start: int = 0,
    weights: Mapping[str, float] | None = None,
) -> Iterator[Record]:
    """Records for ever, in the proportions of a stage: what is learnt from without a question.

    Args and errors as of `instruction_stream`.
    """
    items = {
        group: [r for r in members if isinstance(r, Record)]
        for group, members in _grouped(records, ()).items()
    }
    sizes = {group: len(members) for group, members in items.items()}
    for visit in visits(sizes, group_weights(mix_of(stage), sizes, weights), seed, start):
        yield items[visit.group][visit.index]


def joint_stream(
    records: Sequence[Record],
    replay: Sequence[ReplaySample] = (),
    *,
    stages: Sequence[int],
    seed: int = 0,
    start: int = 0,
    weights: Mapping[str, float] | None = None,
    template: Template = TEMPLATES["llama2"],
) -> Iterator[Instruction]:
    """Instructions of several stages for ever, taking turns: what is learnt where stages are not kept apart.

    With one stage it is `instruction_stream`. Every stage has its own order, so that a clip does not come
    once a stage in a row.

    Args:
        records: As in `instruction_stream`, as is all but ``stages``.
        replay: As there.
        stages: In the order of their turns.
        seed: As there.
        start: As there.
        weights: As there.
        template: As there.

    Raises:
        ConfigError: As there.
        InputError: As there.
    """
    turns = len(stages)
    streams = [
        instruction_stream(
            records,
            replay,
            stage=stage,
            seed=int(chance.fraction(seed, turn, "turn") * 2**53) if turn else seed,
            start=(start - turn + turns - 1) // turns,
            weights=weights,
            template=template,
        )
        for turn, stage in enumerate(stages)
    ]
    for step in count(start):
        yield next(streams[step % turns])


def _grouped(
    records: Iterable[Record], replay: Iterable[ReplaySample]
) -> dict[Group, list[Record | ReplaySample]]:
    items: dict[Group, list[Record | ReplaySample]] = {}
    for record in records:
        items.setdefault((record.source, record.task.value), []).append(record)
    for sample in replay:
        items.setdefault((sample.source, sample.kind), []).append(sample)
    for members in items.values():
        members.sort(key=lambda item: item.key)  # so that the order of the files has no influence
    return items


def shares(
    sizes: Mapping[Group, int], weights: Mapping[Group, float], seed: int, steps: int
) -> dict[str, float]:
    """Share of each source and replay set in the first ``steps`` visits, 0 to 1."""
    drawn = Counter(visit.group[0] for visit in islice(visits(sizes, weights, seed), steps))
    return {source: number / steps for source, number in sorted(drawn.items())}
