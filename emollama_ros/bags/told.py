"""What a bag says was perceived: estimates and finished reasonings, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emollama_ros.bags.contents import (
    DIAGNOSTICS,
    REASONING_NAME,
    STATE_NAME,
    model_of,
)
from emollama_ros.bags.definitions import REASONING, STATE
from emollama_ros.bags.reading import Item, Recording
from emollama_ros.errors import InputError
from emollama_ros.nodes.clock import stamp_ns

#: Messages that say what was perceived, and by which model.
TELLING = (STATE, REASONING, DIAGNOSTICS)
#: Stamps that fall back by more than this are another run of the clock, ns.
JUMP_NS = 1_000_000_000


@dataclass(frozen=True)
class ToldState:
    """An estimate as it was published.

    Attributes:
        home: What the topics of its source begin with.
        lap: How often the clock of the stamps fell back before it.
        start_ns: First instant of the window.
        end_ns: Last instant.
        label: As published.
        scores: Probability by label.
        valence: -1 to 1.
        arousal: -1 to 1.
        modalities: Bit mask of the inputs used.
        log_ns: When it was recorded.
    """

    home: str
    lap: int
    start_ns: int
    end_ns: int
    label: str
    scores: Mapping[str, float]
    valence: float
    arousal: float
    modalities: int
    log_ns: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """What it is, among those of its source."""
        return self.lap, self.end_ns


@dataclass(frozen=True)
class ToldReasoning:
    """A reasoning as it was published last.

    Attributes:
        home: As of ``ToldState``.
        lap: As of ``ToldState``.
        end_ns: Last instant of the window that it explains.
        label: That it explains.
        text: Whole.
    """

    home: str
    lap: int
    end_ns: int
    label: str
    text: str

    @property
    def key(self) -> tuple[int, int]:
        """What it is, among those of its source."""
        return self.lap, self.end_ns


@dataclass(frozen=True)
class Run:
    """What was told in one bag.

    Attributes:
        name: Of the bag.
        states: Every estimate once, as they were recorded.
        reasonings: Every finished reasoning.
        model: Which model it was: ``bundle``, ``bundle sha256``, ``engine``; empty where it is not said.
        notes: What a reader should know.
    """

    name: str
    states: tuple[ToldState, ...]
    reasonings: tuple[ToldReasoning, ...]
    model: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def of(self, home: str) -> tuple[ToldState, ...]:
        """The estimates of one source."""
        return tuple(state for state in self.states if state.home == home)

    @property
    def homes(self) -> tuple[str, ...]:
        """Its sources."""
        return tuple(sorted({state.home for state in self.states}))


def told_in(bag: Recording, items: Sequence[Item] | None = None) -> Run:
    """Return what was told in a bag.

    A state that repeats an estimate, or says why there is none, is no estimate and is left out.

    Args:
        bag: Open.
        items: Its messages of types ``TELLING``, where they have been read.

    Raises:
        InputError: The file is damaged.
    """
    if items is None:
        topics = bag.of_type(*TELLING)
        items = list(bag.read(topics)) if topics else []
    states = list(_states(item for item in items if item.type == STATE))
    reasonings = list(_reasonings(item for item in items if item.type == REASONING))
    model = model_of([item for item in items if item.type == DIAGNOSTICS])
    return Run(str(bag.path), tuple(states), tuple(reasonings), model, (bag.problem,) if bag.problem else ())


def read_run(path: Path | str) -> Run:
    """Read what was told in a bag of that name.

    Raises:
        InputError: It is missing or damaged, or nothing was perceived in it.
    """
    with Recording(path) as bag:
        run = told_in(bag)
    if not run.states:
        raise InputError(
            f"{path}: nothing was perceived in it; make it perceive: emollama replay {path} --out DIR"
        )
    return run


class _Laps:
    """Counts, by topic, how often stamps fell back."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[int, int]] = {}

    def lap(self, topic: str, end_ns: int) -> tuple[int, bool]:
        """Return the lap of a stamp, and whether it is a new one."""
        lap, newest = self._latest.get(topic, (0, -1))
        if end_ns < newest - JUMP_NS:
            lap, newest = lap + 1, -1
        self._latest[topic] = lap, max(newest, end_ns)
        return lap, end_ns > newest


def _states(items: Iterable[Item]) -> Iterator[ToldState]:
    laps = _Laps()
    for item in items:
        message = item.message
        if not len(message.labels):
            continue
        end_ns = stamp_ns(message.header.stamp)
        lap, is_new = laps.lap(item.topic, end_ns)
        if is_new:
            yield ToldState(
                item.topic.removesuffix(STATE_NAME),
                lap,
                stamp_ns(message.window_start),
                end_ns,
                message.label,
                dict(zip(message.labels, map(float, message.scores), strict=True)),
                float(message.valence),
                float(message.arousal),
                int(message.modalities),
                item.log_ns,
            )


def _reasonings(items: Iterable[Item]) -> Iterator[ToldReasoning]:
    laps = _Laps()
    for item in items:
        message = item.message
        if message.final:
            end_ns = stamp_ns(message.header.stamp)
            lap, _ = laps.lap(item.topic, end_ns)
            home = item.topic.removesuffix(REASONING_NAME)
            yield ToldReasoning(home, lap, end_ns, message.label, message.text)
