"""Who does which part of work that several processes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Team:
    """Processes that share some work, as one of them sees it; by default, one alone.

    Attributes:
        process: Index of this one.
        processes: How many there are.
        exchange: Joins the lists of all, in order of the processes; each waits there for all others.
    """

    process: int = 0
    processes: int = 1
    exchange: Callable[[list[Any]], list[Any]] = list

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """Those of the items that are this process's; ``items`` are the same in all of them."""
        return items[self.process :: self.processes]


ALONE = Team()
