"""Which records are looked at: a sample that has every source and label in it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from training.mmeverse.schema import Record


def stratified_sample(records: Sequence[Record], size: int | None, seed: int = 0) -> list[Record]:
    """Draw records from all strata in turn, so that rare labels are seen as well as common ones.

    Args:
        records: To draw from.
        size: How many; None for all of them.
        seed: The same seed draws the same records; a larger sample contains the smaller ones.

    Returns:
        Records in the order to be looked at, strata mixed.
    """
    rng = random.Random(seed)
    strata: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        strata[_stratum(record)].append(record)
    piles = [strata[name] for name in sorted(strata)]
    for pile in piles:
        rng.shuffle(pile)
    rng.shuffle(piles)
    depth = max(map(len, piles), default=0)
    drawn = [pile[i] for i in range(depth) for pile in piles if i < len(pile)]
    return drawn[: len(drawn) if size is None else size]


def _stratum(record: Record) -> tuple[str, ...]:
    return record.source, record.task.value, record.label or "+".join(record.labels)
