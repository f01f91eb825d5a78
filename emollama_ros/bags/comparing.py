"""Two runs over the same windows, and what is different: labels, scores, words, windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emollama_ros.bags.told import Run, ToldReasoning, ToldState
from emollama_ros.errors import ConfigError
from emollama_ros.nodes.clock import SECOND

#: What can be different.
LABELS, SCORES, REASONING, WINDOWS = KINDS = ("labels", "scores", "reasoning", "windows")
#: Scores of the same model on another processor differ by less; published scores are 32-bit numbers.
TOLERANCE = 0.01
_LINES = 12


@dataclass(frozen=True)
class Difference:
    """Something that the two runs tell differently.

    Attributes:
        kind: One of ``KINDS``.
        home: What the topics of the source begin with.
        at_s: End of the window, seconds after the first window of the source.
        end_ns: The same as a stamp.
        before: What the first run told.
        after: What the second told.
        distance: Total variation distance of the scores, 0 (the same) to 1; 0 where it says nothing.
    """

    kind: str
    home: str
    at_s: float
    end_ns: int
    before: str
    after: str
    distance: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """What is different between two runs.

    Attributes:
        before: Name of the first run.
        after: Name of the second.
        models: Which model each was.
        windows: Windows that both have, from the same beginning to the same end.
        partial: Windows that both have and that begin elsewhere; they are counted and not judged.
        reasonings: Windows that both explained.
        differences: Everything found, by time.
        distances: Mean and largest total variation distance of the scores of a window.
        affect: Largest change of valence or arousal.
        ignored: Kinds that do not count.
        notes: What a reader should know.
    """

    before: str
    after: str
    models: tuple[Mapping[str, str], Mapping[str, str]]
    windows: int
    partial: int
    reasonings: int
    differences: tuple[Difference, ...]
    distances: tuple[float, float]
    affect: float
    ignored: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many differences of each kind."""
        found = Counter(difference.kind for difference in self.differences)
        return {kind: found[kind] for kind in KINDS}

    @property
    def is_same(self) -> bool:
        """Whether nothing that counts is different, and there was something to compare."""
        return self.windows > 0 and not any(n for kind, n in self.counts.items() if kind not in self.ignored)

    def as_json(self) -> dict[str, Any]:
        """Return the documented JSON object (docs/bags.md)."""
        mean, largest = self.distances
        return {
            "before": self.before,
            "after": self.after,
            "models": [dict(model) for model in self.models],
            "same": self.is_same,
            "windows": self.windows,
            "partial_windows": self.partial,
            "reasonings": self.reasonings,
            "changed": self.counts,
            "ignored": list(self.ignored),
            "score_distance": {"mean": round(mean, 6), "max": round(largest, 6)},
            "affect_change": round(self.affect, 6),
            "differences": [
                {
                    "kind": d.kind,
                    "source": d.home,
                    "at_s": round(d.at_s, 3),
                    "stamp_ns": d.end_ns,
                    "before": d.before,
                    "after": d.after,
                    "distance": round(d.distance, 6),
                }
                for d in self.differences
            ],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return the report for people."""
        mean, largest = self.distances
        said = [
            f"before  {self.before}{_model(self.models[0])}",
            f"after   {self.after}{_model(self.models[1])}",
        ]
        said.append(
            f"{self.windows} windows compared, {self.reasonings} reasonings; scores differ by {mean:.4f} on"
            f" average, at most {largest:.4f}; valence and arousal by at most {self.affect:.4f}"
        )
        for kind, count in self.counts.items():
            if count:
                left = " (ignored)" if kind in self.ignored else ""
                said.append(f"{_TITLES[kind].format(count=count)}{left}")
                said += self._examples(kind)
        said += [f"note: {note}" for note in self.notes]
        return [*said, self.verdict]

    @property
    def verdict(self) -> str:
        """Say in one line what came out."""
        if not self.windows:
            return "CHANGED: no window is in both"
        counted = [kind for kind, n in self.counts.items() if n and kind not in self.ignored]
        left = f" ({self.partial} window(s) not judged)" if self.partial else ""
        return f"CHANGED: {', '.join(counted)}" if counted else f"SAME{left}"

    def _examples(self, kind: str) -> list[str]:
        found = [d for d in self.differences if d.kind == kind]
        lines = [f"  {d.home}  {d.at_s:8.1f} s  {_change(d)}{_apart(d)}" for d in found[:_LINES]]
        rest = len(found) - _LINES
        return lines + [f"  and {rest} more"] * (rest > 0)


_TITLES = {
    LABELS: "{count} label(s) changed",
    SCORES: "{count} window(s) whose scores changed by more than the tolerance, the label being the same",
    REASONING: "{count} reasoning(s) changed",
    WINDOWS: "{count} window(s) missing or added",
}


def _change(difference: Difference) -> str:
    before, after = difference.before, difference.after
    return before if before == after else f"{before} -> {after}"


def _apart(difference: Difference) -> str:
    return f"  (scores {difference.distance:.3f} apart)" if difference.distance else ""


def _model(facts: Mapping[str, str]) -> str:
    return f"  ({facts['bundle']}, {facts.get('bundle sha256', '')[:12]})" if "bundle" in facts else ""


def compare(
    before: Run, after: Run, tolerance: float = TOLERANCE, ignored: Collection[str] = ()
) -> Comparison:
    """Compare two runs, window by window.

    Args:
        before: The reference.
        after: What is judged.
        tolerance: Largest total variation distance of the scores of a window that counts as the same, 0 to 1.
        ignored: Kinds of ``KINDS`` that are told and do not count.

    Raises:
        ConfigError: A value is not legal.
    """
    if not 0 <= tolerance <= 1:
        raise ConfigError(f"tolerance is {tolerance}; use 0 to 1")
    for kind in ignored:
        if kind not in KINDS:
            raise ConfigError(f"ignore is {kind!r}; use {', '.join(KINDS)}")
    pairs = _sources(before, after)
    found = [_compare_source(before, after, home, other, tolerance) for home, other in pairs]
    distances = [distance for source in found for distance in source.distances]
    return Comparison(
        before=before.name,
        after=after.name,
        models=(before.model, after.model),
        windows=len(distances),
        partial=sum(source.partial for source in found),
        reasonings=sum(source.reasonings for source in found),
        differences=tuple(
            sorted((d for s in found for d in s.differences), key=lambda d: (d.end_ns, d.home))
        ),
        distances=(sum(distances) / max(len(distances), 1), max(distances, default=0.0)),
        affect=max((source.affect for source in found), default=0.0),
        ignored=tuple(ignored),
        notes=_notes(before, after, found),
    )


def _notes(before: Run, after: Run, found: Sequence[_OfSource]) -> tuple[str, ...]:
    notes = [*(f"before: {note}" for note in before.notes), *(f"after: {note}" for note in after.notes)]
    partial = sum(source.partial for source in found)
    if partial:
        notes.append(f"{partial} window(s) begin at another moment in the two runs and are not judged")
    if any(r for r in before.reasonings) != any(r for r in after.reasonings):
        silent = "before" if not before.reasonings else "after"
        notes.append(f"{silent}: without any reasoning, so the words are not compared")
    return tuple(dict.fromkeys(notes))


def _sources(before: Run, after: Run) -> list[tuple[str, str]]:
    """Return which sources belong together: the same names, or the only ones."""
    if len(before.homes) == len(after.homes) == 1:
        return [(before.homes[0], after.homes[0])]
    return [(home, home) for home in sorted({*before.homes, *after.homes})]


@dataclass
class _OfSource:
    differences: list[Difference]
    distances: list[float]
    affect: float = 0.0
    partial: int = 0
    reasonings: int = 0


def _compare_source(before: Run, after: Run, home: str, other: str, tolerance: float) -> _OfSource:
    old = {state.key: state for state in before.of(home)}
    new = {state.key: state for state in after.of(other)}
    origin_ns = min((state.end_ns for state in (*old.values(), *new.values())), default=0)
    found = _OfSource([], [])

    def differ(kind: str, key: tuple[int, int], was: str, now: str, distance: float = 0.0) -> None:
        at_s = (key[1] - origin_ns) / SECOND
        found.differences.append(Difference(kind, home, at_s, key[1], was, now, distance))

    for key in sorted({*old} ^ {*new}):
        was, now = old.get(key), new.get(key)
        differ(WINDOWS, key, was.label if was else "missing", now.label if now else "missing")
    for key in sorted({*old} & {*new}):
        _compare_windows(old[key], new[key], tolerance, found, differ)
    _compare_words(before, after, (home, other), {*old} & {*new}, found, differ)
    return found


def _compare_windows(
    before: ToldState, after: ToldState, tolerance: float, found: _OfSource, differ: Any
) -> None:
    if before.start_ns != after.start_ns:
        found.partial += 1
        return
    distance = score_distance(before, after)
    found.distances.append(distance)
    change = max(abs(before.valence - after.valence), abs(before.arousal - after.arousal))
    found.affect = max(found.affect, change)
    if before.label != after.label:
        differ(LABELS, before.key, before.label, after.label, distance)
    elif distance > tolerance:
        differ(SCORES, before.key, before.label, after.label, distance)


def _compare_words(
    before: Run,
    after: Run,
    homes: tuple[str, str],
    windows: Collection[tuple[int, int]],
    found: _OfSource,
    differ: Any,
) -> None:
    """Compare the texts of windows that both have; a run without any text is not blamed for that."""
    if not before.reasonings or not after.reasonings:
        return
    old, new = _texts(before.reasonings, homes[0]), _texts(after.reasonings, homes[1])
    for key in sorted(({*old} | {*new}) & {*windows}):
        was, now = old.get(key, "not explained"), new.get(key, "not explained")
        found.reasonings += key in old and key in new
        if was != now:
            differ(REASONING, key, was, now)


def _texts(reasonings: Sequence[ToldReasoning], home: str) -> dict[tuple[int, int], str]:
    return {reasoning.key: reasoning.text for reasoning in reasonings if reasoning.home == home}


def score_distance(before: ToldState, after: ToldState) -> float:
    """Return the total variation distance of two windows' scores, 0 to 1; a label that one lacks has 0."""
    labels = {*before.scores, *after.scores}
    return sum(abs(before.scores.get(k, 0.0) - after.scores.get(k, 0.0)) for k in labels) / 2
