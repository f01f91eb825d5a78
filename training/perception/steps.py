"""Steps that leave files: made once, skipped where their files are, and gone on with after a kill.

A folder of steps keeps a record of each: with which settings it was made, from which files of earlier steps,
what it left, and how long it took. So a step is made again where an earlier one gave something else, refused
where its settings changed, and never mistaken for made where it was interrupted. Changes of code are not
seen: delete a file that they change, and its step is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

from emollama_ros.bundle import file_sha256
from emollama_ros.errors import ConfigError, InputError

#: Where records are, in the folder of the run.
RECORDS = "steps"
Tell = Callable[[str], None]


class State(Enum):
    """How a step stands."""

    MADE = "made"
    TO_DO = "to do"
    BEGUN = "begun"
    WAITS = "waits"
    AGAIN = "again"
    OTHER = "other settings"
    DAMAGED = "damaged"
    FOREIGN = "not ours"


@dataclass(frozen=True)
class Step:
    """One thing to make.

    Attributes:
        name: Of the step; names its record.
        does: What it does, in a few words.
        make: Makes it; writes every file of ``writes``, and may find ``parts`` that a killed run left.
        writes: Files that are there when it is made.
        needs: Names of the earlier steps whose files it reads.
        settings: What else its files depend on, as JSON.
        parts: What it leaves while it is under way, as patterns below the folder of the run.
        check: Called before anything is made; raises where the step could not be, so that this is not found
            out hours later.
        takes_over: It knows by itself whether files that are there are what it would make.
    """

    name: str
    does: str
    make: Callable[[], object]
    writes: tuple[Path, ...]
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    check: Callable[[], object] = lambda: None
    takes_over: bool = False


@dataclass(frozen=True)
class Standing:
    """How a step stands.

    Attributes:
        step: Which.
        state: In a word.
        why: In a few more; empty where nothing is to be said.
        seconds: It took, where it is made.
        is_resumed: A part of it was there when it was last begun, and is not in ``seconds``.
    """

    step: Step
    state: State
    why: str = ""
    seconds: float | None = None
    is_resumed: bool = False


class Ledger:
    """The records of the steps of a run."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the run; it is made where it is not there, once something is written."""
        self.folder = folder

    def plan(self, steps: Sequence[Step]) -> list[Standing]:
        """How all steps stand, in order; nothing is written."""
        found: list[Standing] = []
        for step in steps:
            unmade = {s.step.name for s in found if s.state is not State.MADE}
            found.append(self.standing(step, unmade))
        return found

    def standing(self, step: Step, unmade: Collection[str] = ()) -> Standing:
        """How a step stands.

        Args:
            step: Which.
            unmade: Earlier steps that are still to be made.
        """
        record = self._read(step.name)
        if record is None:
            return self._unfinished(step, unmade)
        if other := _differences(record["settings"], _plain(step.settings)):
            return Standing(step, State.OTHER, other)
        if gone := [path.name for path in step.writes if not path.is_file()]:
            return Standing(step, State.TO_DO, f"{gone[0]} is gone")
        if changed := self._changed(step, record):
            return Standing(step, State.DAMAGED, changed)
        if waits := [name for name in step.needs if name in unmade]:
            return Standing(step, State.WAITS, f"for {waits[0]}")
        if record["inputs"] != self._inputs(step):
            return Standing(step, State.AGAIN, "what it reads is another")
        return Standing(step, State.MADE, "", record["seconds"], record["resumed"])

    def make(self, step: Step) -> float:
        """Make a step whose needs are made, and return the seconds it took.

        What is there of it is kept if it was begun, and not ended, with the same settings from the same
        files; otherwise it is deleted.

        Raises:
            InputError: It did not leave what it has to.
        """
        key = {"settings": _plain(step.settings), "inputs": self._inputs(step)}
        marker = self._path(step.name, "begun")
        if key != self._read(step.name, "begun"):
            self._clear(step)
        is_resumed = any(path.exists() for path in (*step.writes, *self._parts(step)))
        self._path(step.name).unlink(missing_ok=True)
        _write_json(marker, key)
        start = time.perf_counter()
        step.make()
        seconds = time.perf_counter() - start
        self._record(step, {**key, "seconds": round(seconds, 1), "resumed": is_resumed})
        marker.unlink()
        return seconds

    def sha256(self, path: Path) -> str:
        """Hash of a file that a step left, from its record.

        Raises:
            InputError: No step recorded it.
        """
        for record in map(_parsed, sorted((self.folder / RECORDS).glob("*.json"))):
            if found := record.get("files", {}).get(self._name(path)):
                return str(found["sha256"])
        raise InputError(f"{path}: no step of {self.folder} left it")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder.

        Raises:
            ConfigError: One is at work in it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            # A process that this run starts and that outlives it keeps others out, too.
            os.set_inheritable(lock.fileno(), True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"{self.folder}: another run, or an export that it started, is at work here; wait for it"
                ) from None
            yield

    def _unfinished(self, step: Step, unmade: Collection[str]) -> Standing:
        begun = self._read(step.name, "begun")
        if begun is None:
            there = [] if step.takes_over else [path for path in step.writes if path.exists()]
            return Standing(step, State.FOREIGN, str(there[0])) if there else Standing(step, State.TO_DO)
        if other := _differences(begun["settings"], _plain(step.settings)):
            return Standing(step, State.OTHER, other)
        if not set(step.needs) & set(unmade) and begun["inputs"] == self._inputs(step):
            return Standing(step, State.BEGUN, "goes on where it stopped")
        return Standing(step, State.TO_DO)

    def _record(self, step: Step, about: Mapping[str, Any]) -> None:
        if missing := [path for path in step.writes if not path.is_file()]:
            raise InputError(f"step {step.name} ended without {missing[0]}")
        files = {
            self._name(path): {
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
                "mtime_ns": path.stat().st_mtime_ns,
            }
            for path in step.writes
        }
        _write_json(self._path(step.name), {"step": step.name, **about, "files": files})

    def _changed(self, step: Step, record: Mapping[str, Any]) -> str:
        """Which file is not what the step left; hashed only where size or time of change are not the same."""
        for path in step.writes:
            known, now = record["files"].get(self._name(path)), path.stat()
            if known is None:
                return f"{path.name} is not in its record"
            if (now.st_size, now.st_mtime_ns) == (known["bytes"], known["mtime_ns"]):
                continue
            if now.st_size != known["bytes"] or file_sha256(path) != known["sha256"]:
                return f"{path} is not what the step left"
        return ""

    def _inputs(self, step: Step) -> dict[str, str]:
        """What the steps left that a step reads, as one hash each; empty text for one that is not made."""
        return {name: _digest(self._read(name)) for name in step.needs}

    def _clear(self, step: Step) -> None:
        if step.takes_over:
            return
        for path in (*step.writes, *self._parts(step)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _parts(self, step: Step) -> list[Path]:
        return [path for pattern in step.parts for path in sorted(self.folder.glob(pattern))]

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def _path(self, name: str, kind: str = "made") -> Path:
        suffix = ".json" if kind == "made" else f".{kind}"
        return self.folder / RECORDS / f"{name}{suffix}"

    def _read(self, name: str, kind: str = "made") -> dict[str, Any] | None:
        path = self._path(name, kind)
        return _parsed(path) if path.exists() else None


def _at_once(line: str) -> None:
    print(line, flush=True)


def carry_out(steps: Sequence[Step], ledger: Ledger, again: bool = False, tell: Tell = _at_once) -> None:
    """Make every step that is not made, in order.

    Args:
        steps: All of them; each needs earlier ones only.
        ledger: Of the folder of the run.
        again: Whether steps that were made with other settings are made anew; otherwise they are refused.
        tell: Gets a line for each step.

    Raises:
        ConfigError: A step was made with other settings, or another run is at work in the folder.
        InputError: Something that a step needs is not there, or one of its files is damaged.
    """
    with ledger.alone():
        planned = ledger.plan(steps)
        for standing in planned:
            _refuse(standing, again)
        for standing in planned:
            if standing.state is not State.MADE:
                standing.step.check()
        for step in steps:
            standing = ledger.standing(step)
            if standing.state is State.MADE:
                tell(f"{step.name}: there already")
                continue
            tell(f"{step.name}: {step.does}")
            seconds = ledger.make(step)
            tell(f"{step.name}: made in {seconds / 3600:.2f} h")


def table(standings: Sequence[Standing], usual: Mapping[str, float]) -> str:
    """Steps with their states and hours, a line each.

    Args:
        standings: All of them.
        usual: Hours that steps took where they were measured, for those that are not made.
    """
    rows = [
        (standing.step.name, standing.state.value, _hours(standing, usual), standing.step.does, standing.why)
        for standing in standings
    ]
    wide = [max(len(row[i]) for row in (*rows, ("step", "state", "hours"))) for i in range(3)]
    lines = [f"{'step':{wide[0]}}  {'state':{wide[1]}}  {'hours':>{wide[2]}}  what"]
    for name, state, hours, does, why in rows:
        said = f"{does} ({why})" if why else does
        lines.append(f"{name:{wide[0]}}  {state:{wide[1]}}  {hours:>{wide[2]}}  {said}")
    return "\n".join(lines)


def _hours(standing: Standing, usual: Mapping[str, float]) -> str:
    if standing.seconds is not None:
        return f"{'> ' if standing.is_resumed else ''}{standing.seconds / 3600:.2f}"
    return f"~ {usual[standing.step.name]:.2f}" if standing.step.name in usual else "?"


def _refuse(standing: Standing, again: bool) -> None:
    """Raise where a step cannot be made without losing something that somebody may want."""
    name, why = standing.step.name, standing.why
    if standing.state is State.OTHER and not again:
        raise ConfigError(
            f"step {name} was made with other settings ({why}): use the same, another folder, or --again to "
            "make it and what follows from it anew"
        )
    if standing.state is State.DAMAGED:
        raise InputError(f"step {name}: {why}; delete that file, and the step is made anew")
    if standing.state is State.FOREIGN:
        raise InputError(f"step {name}: {why} is there, but was not made by a step here; move it away")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} {before.get(name)!r}, now {now.get(name)!r}" for name in names)


def _digest(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return ""
    files = {name: entry["sha256"] for name, entry in record["files"].items()}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists, keys are text."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _parsed(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"settings", "inputs"} <= set(found):
            _no_record(path, "settings or inputs are missing")
        return found
    except (OSError, ValueError) as error:
        _no_record(path, str(error))


def _no_record(path: Path, why: str) -> NoReturn:
    raise InputError(f"{path}: no record of a step ({why}); delete it and what that step wrote")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}.tmp")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
