"""Perceiving a bag, by the code of the node, as fast as the machine can and without a graph.

Messages are taken in the order they were recorded, as the node's subscriptions take them, and windows are cut
by their stamps. Where the bag has results, exactly the windows of these are perceived, and the same of them
explained; where it has none, those that a robot would perceive that is never late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emollama_ros.bags.contents import (
    PARAMETERS,
    TRANSITION,
    Source,
    full,
    parameters_of,
    sources_of,
)
from emollama_ros.bags.reading import Item, Recording
from emollama_ros.bags.schedule import Schedule
from emollama_ros.bags.settled import ACTIVE, Settled, is_of
from emollama_ros.bags.told import TELLING, Run, ToldReasoning, ToldState, told_in
from emollama_ros.errors import InputError
from emollama_ros.estimate import EmotionEstimate, Reasoning
from emollama_ros.labels import UNKNOWN
from emollama_ros.nodes.adapters.sound import SOUNDS, Form, form_of
from emollama_ros.nodes.adapters.words import WORDS
from emollama_ros.nodes.audio_input import AudioInput
from emollama_ros.nodes.clock import SECOND, stamp_ns
from emollama_ros.nodes.loading import Parts, following, load_parts
from emollama_ros.nodes.parameters import PerceptionParameters, effects
from emollama_ros.nodes.taking import take_picture, take_sound, take_words
from emollama_ros.pipeline import Feed
from emollama_ros.streams import Grid, Window

#: The same windows only with the same of these.
OF_THE_WINDOWS = ("window_s", "hop_s")
_LIVE = effects(PerceptionParameters)
_ADAPTERS = {full(adapter.type): adapter for adapter in (*SOUNDS, *WORDS)}
#: Input older than the first window by up to this was not yet heard by the robot, ns.
_UNHEARD_NS = 10 * SECOND
_REASONS_NAMED = 3

Loader = Callable[[PerceptionParameters], Parts]


@dataclass(frozen=True)
class Perceived:
    """One window, perceived.

    Attributes:
        source: Index of its source.
        told: As ``told_in`` would read it.
        estimate: Everything that is known of it.
        frame_id: Of the sensor.
    """

    source: int
    told: ToldState
    estimate: EmotionEstimate
    frame_id: str


class Sink:
    """Takes what a replay perceives, as it does; this one only looks on."""

    def begin(
        self, sources: Sequence[Source], settings: PerceptionParameters, facts: Mapping[str, str], log_ns: int
    ) -> None:
        """The first message comes."""

    def begin_anew(self, source: int) -> None:
        """The pipeline of a source is a fresh one."""

    def state(self, perceived: Perceived) -> None:
        """A window was perceived."""

    def reasoning(self, source: int, reasoning: Reasoning, log_ns: int, frame_id: str) -> None:
        """A window was explained."""


@dataclass(frozen=True)
class ReplayOptions:
    """How to replay.

    Attributes:
        settings: Parameters of the perception node that are other than recorded, by name.
        topics: Topics to take as ``camera``, ``audio`` and ``transcript``, where the names do not tell.
        load: Loads the model.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    load: Loader = lambda settings: load_parts(settings, settings.threads)


@dataclass(frozen=True)
class Replayed:
    """A replay that is done.

    Attributes:
        recorded: What the bag says was perceived.
        run: What was perceived now.
        seconds: From the first to the last message.
    """

    recorded: Run
    run: Run
    seconds: float


def replay(bag: Recording, options: ReplayOptions | None = None, sink: Sink | None = None) -> Replayed:
    """Perceive a bag.

    Raises:
        InputError: There is nothing to perceive in it, it is damaged, or every message was refused.
        EmollamaError: A parameter is not legal, the bundle is missing or damaged, or the engine cannot run.
    """
    options = options or ReplayOptions()
    sources = sources_of(bag, options.topics)
    topics = bag.of_type(*TELLING, PARAMETERS, TRANSITION)
    items = list(bag.read(topics)) if topics else []
    recorded = told_in(bag, items)
    settled = Settled.of(items, sources[0].home, options.settings)
    model = options.load(settled.settings)
    player = _Player(model, sources, settled, recorded, sink or Sink())
    first_ns = last_ns = None
    for item in bag.read(
        [*(name for s in sources for name in s.inputs), *bag.of_type(PARAMETERS, TRANSITION)]
    ):
        first_ns, last_ns = (item.log_ns if first_ns is None else first_ns), item.log_ns
        player.take(item)
    player.finish()
    notes = (*((bag.problem,) if bag.problem else ()), *settled.notes, *model.notices, *player.notes())
    if not player.states:
        why = "; ".join([*notes, *([] if player.has_refused else ["it is shorter than the first window"])])
        raise InputError(f"{bag.path}: nothing could be perceived in it: {why}")
    run = Run(f"{bag.path}, replayed", tuple(player.states), tuple(player.reasonings), model.facts, notes)
    return Replayed(recorded, run, ((last_ns or 0) - (first_ns or 0)) / SECOND)


class _Player:
    """Feeds the sources of a bag, and perceives what is complete. One thread only."""

    def __init__(
        self, model: Parts, sources: Sequence[Source], settled: Settled, recorded: Run, sink: Sink
    ) -> None:
        self._model, self._sources, self._settled, self._sink = model, sources, settled, sink
        self.states: list[ToldState] = []
        self.reasonings: list[ToldReasoning] = []
        self._by_topic = {t: (i, s) for i, s in enumerate(sources) for t in s.inputs}
        self._schedules = self._plan(recorded)
        self._laps = [_Lap() for _ in sources]
        self._is_active, self._is_enabled = settled.is_active, settled.is_enabled
        self._has_begun = False
        self._forms: dict[int, Form] = {}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._lost = Counter[str]()
        self._jumps = self._partial = 0
        self._players: tuple[_SourcePlayer, ...] = ()
        self._log_ns = 0

    def _plan(self, recorded: Run) -> list[Schedule | None]:
        """Perceive what was perceived, unless other windows are asked for or there are none."""
        if not recorded.states or set(OF_THE_WINDOWS) & set(self._settled.asked):
            return [None] * len(self._sources)
        told = {s.home: [r for r in recorded.reasonings if r.home == s.home] for s in self._sources}
        return [Schedule(recorded.of(s.home), told[s.home]) for s in self._sources]

    # --- messages

    def take(self, item: Item) -> None:
        """Take the next message."""
        self._log_ns = item.log_ns
        if not self._has_begun:
            self._begin()
        self._catch_up(item.log_ns)
        if item.type == PARAMETERS:
            self._change(item.message)
        elif item.type == TRANSITION:
            self._transit(item)
        else:
            self._sense(item)

    def finish(self) -> None:
        """Perceive what the robot had perceived when the recording ended."""
        if self._has_begun:
            self._catch_up(self._log_ns + SECOND)
            self._count_jumps()

    @property
    def has_refused(self) -> bool:
        """Whether a message could not be used."""
        return bool(self._refused)

    def notes(self) -> list[str]:
        """Say what a reader should know of this replay."""
        refused = [f"{n} message(s) of {t} refused: {why}" for (t, why), n in self._refused.most_common()]
        rest = len(refused) - _REASONS_NAMED
        said = refused[:_REASONS_NAMED] + [f"and refused for {rest} more reason(s)"] * (rest > 0)
        said += [f"{n} message(s) of {topic} are missing in the bag" for topic, n in self._lost.items() if n]
        if self._jumps:
            said.append(
                f"the stamps leapt {self._jumps} time(s); perception began anew there, as on the robot"
            )
        if self._partial:
            said.append(
                f"{self._partial} window(s) began before the recording and are not perceived whole; what was"
                " known of the person by then is not known here"
            )
        return said

    def _begin(self) -> None:
        self._has_begun = True
        self._sink.begin(self._sources, self._settled.settings, self._model.facts, self._log_ns)
        self._perceive_or_not()

    def _change(self, message: Any) -> None:
        if self._settled.node and message.node != self._settled.node:
            return
        told = parameters_of(message)
        self._is_enabled = bool(told.get("enabled", self._is_enabled))
        before = self._settled.settings.source_id
        changed = self._settled.update(told)
        if any(_LIVE[name] != "live" for name in changed):
            self._stop()
        self._perceive_or_not()
        settings = self._settled.settings
        for player in self._players if changed else ():
            player.feed.reconfigure(self._model.config(settings))
        if self._model.people is not None:
            self._model.people.use(following(settings))
            if settings.source_id != before:
                self._model.people.forget()

    def _transit(self, item: Item) -> None:
        if is_of(self._settled.node, item.topic):
            self._is_active = item.message.goal_state.label in ACTIVE
            self._perceive_or_not()

    def _perceive_or_not(self) -> None:
        wanted = self._is_active and self._is_enabled
        if wanted and not self._players:
            self._start()
        elif not wanted:
            self._stop()

    def _start(self) -> None:
        self._model.perceiver.reset()
        settings = self._settled.settings
        if self._model.people is not None:
            self._model.people.use(following(settings))
        config = self._model.config(settings)
        grid = Grid() if len(self._sources) > 1 else None  # as of ``EmotionPipeline``
        self._players = tuple(
            _SourcePlayer(Feed(i, config, lambda: None, grid), settings, self._unheard_until(i))
            for i in range(len(self._sources))
        )
        for index in range(len(self._sources)):
            self._sink.begin_anew(index)

    def _stop(self) -> None:
        self._count_jumps()
        self._players = ()

    def _count_jumps(self) -> None:
        self._jumps += sum(player.feed.intake.clock.restarts for player in self._players)

    def _unheard_until(self, source: int) -> int:
        """Return the stamp before which the robot heard nothing yet: that of its first window."""
        schedule = self._schedules[source]
        first = schedule.next if schedule else None
        is_short = first and first.end_ns - first.start_ns < round(self._settled.settings.window_s * SECOND)
        return first.start_ns if first and is_short else 0

    def _sense(self, item: Item) -> None:
        index, source = self._by_topic[item.topic]
        if item.topic == source.info:
            self._forms[index] = form_of(item.message)
        elif self._players:
            player = self._players[index]
            try:
                self._take(index, source, player, item)
            except InputError as error:
                self._refused[item.topic, str(error)] += 1
            if player.feed.take_restart():
                self._model.perceiver.reset(index)
            self._perceive_complete(index, player)

    def _take(self, index: int, source: Source, player: _SourcePlayer, item: Item) -> None:
        if item.topic == source.camera:
            if not player.is_unheard(stamp_ns(item.message.header.stamp)):
                take_picture(player.feed, item.message)
                player.frame_id = item.message.header.frame_id
            return
        adapter = _ADAPTERS[item.type]
        if item.topic == source.transcript:
            take_words(player.feed, adapter.convert(item.message), item.log_ns)
            return
        chunk = adapter.convert(item.message, self._forms.get(index, player.form))
        if not player.is_unheard(item.log_ns if chunk.stamp_ns is None else chunk.stamp_ns):
            self._lost[item.topic] += take_sound(player.feed, player.audio, chunk, item.log_ns).missing
            if not source.camera:
                player.frame_id = chunk.frame_id

    # --- windows

    def _perceive_complete(self, index: int, player: _SourcePlayer) -> None:
        schedule, ends = self._schedules[index], player.feed.intake.clock.due()
        if schedule is None:
            for end_ns in ends[-1:]:  # a robot, too, leaves out what is not the newest
                self._perceive(index, player, end_ns)
            return
        for end_ns in ends:
            for state in schedule.complete(end_ns):
                self._perceive_again(index, player, state)

    def _catch_up(self, log_ns: int) -> None:
        """Perceive the windows that the robot had told by now, complete or not."""
        for index, schedule in enumerate(self._schedules):
            for state in schedule.overdue(log_ns) if schedule is not None else ():
                if self._players:
                    self._perceive_again(index, self._players[index], state)

    def _perceive_again(self, index: int, player: _SourcePlayer, state: ToldState) -> None:
        schedule, first_ns = self._schedules[index], player.feed.intake.clock.first_ns
        assert schedule is not None
        if first_ns is None or state.end_ns <= first_ns:
            return  # nothing of it is in the recording
        told, estimate, window = self._perceive(index, player, state.end_ns)
        self._partial += told.start_ns != state.start_ns
        if schedule.is_explained(state):
            self._explain(index, estimate, window)

    def _perceive(
        self, index: int, player: _SourcePlayer, end_ns: int
    ) -> tuple[ToldState, EmotionEstimate, Window]:
        window = player.feed.intake.window(end_ns)
        (raw,) = self._model.perceiver.perceive([window], [player.count], [index])
        player.count += 1
        estimate = player.feed.complete(raw, window)
        told = _told(self._sources[index].home, self._laps[index].of(end_ns), estimate, self._log_ns)
        self.states.append(told)
        self._sink.state(Perceived(index, told, estimate, player.frame_id))
        if self._schedules[index] is None and player.is_worth_words(estimate, self._settled.settings):
            self._explain(index, estimate, window)
        return told, estimate, window

    def _explain(self, index: int, estimate: EmotionEstimate, window: Window) -> None:
        explainer = self._model.explainer
        if explainer is None or not self._settled.settings.reasoning or not estimate.modalities:
            return
        reasoning = explainer.explain(
            estimate, window.transcript, on_text=lambda _: None, should_stop=lambda: False
        )
        lap = self._laps[index].lap
        home = self._sources[index].home
        self.reasonings.append(ToldReasoning(home, lap, reasoning.end_ns, reasoning.label, reasoning.text))
        self._sink.reasoning(index, reasoning, self._log_ns, self._players[index].frame_id)


class _SourcePlayer:
    """One source from where perception began."""

    def __init__(self, feed: Feed, settings: PerceptionParameters, unheard_until_ns: int) -> None:
        self.feed = feed
        self.audio = AudioInput(round(settings.audio_latency_ms * 1e6))
        self.form = Form(settings.audio_rate, settings.audio_channels)
        self.frame_id = ""
        self.count = 0
        self._unheard_until_ns = unheard_until_ns
        self._explained: tuple[int, str] | None = None

    def is_unheard(self, time_ns: int) -> bool:
        """Whether the robot had not yet begun to hear: its subscriptions were made a moment later."""
        return 0 < self._unheard_until_ns - time_ns < _UNHEARD_NS and self.feed.intake.clock.first_ns is None

    def is_worth_words(self, estimate: EmotionEstimate, settings: PerceptionParameters) -> bool:
        """Whether a robot would explain it: the label is another, or the last time is long ago."""
        if estimate.label == UNKNOWN:
            return False
        before, interval_ns = self._explained, round(settings.reasoning_interval_s * SECOND)
        wanted = (
            before is None
            or before[1] != estimate.label
            or not 0 <= estimate.end_ns - before[0] < interval_ns
        )
        if wanted:
            self._explained = estimate.end_ns, estimate.label
        return wanted


class _Lap:
    """Counts how often the clock of the stamps fell back, as ``told`` does."""

    def __init__(self) -> None:
        self.lap, self._newest_ns = 0, -1

    def of(self, end_ns: int) -> int:
        """Return the lap of a window."""
        if end_ns < self._newest_ns - SECOND:
            self.lap, self._newest_ns = self.lap + 1, -1
        self._newest_ns = max(self._newest_ns, end_ns)
        return self.lap


def _told(home: str, lap: int, estimate: EmotionEstimate, log_ns: int) -> ToldState:
    return ToldState(
        home,
        lap,
        estimate.start_ns,
        estimate.end_ns,
        estimate.label,
        dict(zip(estimate.labels, estimate.scores, strict=True)),
        estimate.valence,
        estimate.arousal,
        int(estimate.modalities),
        log_ns,
    )
