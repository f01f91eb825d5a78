"""Runs the agents over records: what each found becomes part of the record, with its provenance.

What comes out is a function of the records, the media and the answers kept in ``answers.sqlite``, and of
nothing else: neither the order in which workers finish nor how often the run was killed. That is why there is
no other state: a resumed run walks through all clips again, finds what was answered, and asks for the rest.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from emollama_ros.errors import ConfigError, EmollamaError, InputError
from training.annotation.agents import ROLES, Agent, AgentError, Finding, Request, Role, Usage
from training.annotation.cache import finding_key, media_digests, spent_in
from training.annotation.guard import InstructionLikeTextError, check_fields, check_record
from training.annotation.limits import (
    BudgetReachedError,
    Caps,
    Ledger,
    LedgerSettings,
    LocalLedger,
    Rates,
    RunStoppedError,
)
from training.mmeverse.schema import Record, explain, parse_record, read_records

_LOG = logging.getLogger(__name__)

RECORDS, REJECTS, FLAGS, SUMMARY = "records.jsonl", "rejects.jsonl", "flags.jsonl", "summary.json"
ANSWERS, LOCK = "answers.sqlite", ".lock"

#: What each role may write. The label is in no list: nothing that an agent says can change it.
MAY_WRITE: Mapping[Role, frozenset[str]] = {
    "transcript": frozenset({"transcript"}),
    "face": frozenset({"clues.peak_frame", "clues.action_units"}),
    "audio": frozenset({"clues.audio"}),
    "visual": frozenset({"clues.visual"}),
    "fusion": frozenset({"reasoning"}),
}

#: Makes the agents of one worker; must survive pickling for the Ray engine.
AgentFactory: TypeAlias = Callable[[Ledger], Sequence[Agent]]
#: Passes on index and outcome as they come, told how many there will be.
Progress: TypeAlias = Callable[[Iterator[tuple[int, "Outcome"]], int], Iterable[tuple[int, "Outcome"]]]


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RoleUsage(_Plain):
    """What the answers of one role cost, in one clip."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Outcome(_Plain):
    """What became of one clip, as plain data that travels between processes.

    Attributes:
        kind: ``annotated``; ``rejected`` for good with these answers; ``stopped``, to be done later.
        line: The record, where annotated.
        flags: Role and what a person should look at.
        usage: By role, where annotated.
        agent: Who failed; empty for the pipeline itself.
        category: Kind of reason, for counting.
        reason: Why it was rejected or stopped.
    """

    kind: Literal["annotated", "rejected", "budget", "stopped", "misconfigured"]
    line: str = ""
    flags: tuple[tuple[str, str], ...] = ()
    usage: dict[str, RoleUsage] = {}
    agent: str = ""
    category: str = ""
    reason: str = ""


class _Kept(_Plain):
    """A finding as it is kept."""

    fields: dict[str, Any]
    flags: tuple[str, ...]
    usage: RoleUsage
    date: str


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        records: File of records, read in order.
        root: Folder that their media lie in.
        out: Folder to write; holds everything that a resumed run needs.
        factory: Makes the agents.
        is_guided: Whether agents are told the label.
        workers: Clips worked on at once.
        caps: What may be spent.
        rates: How fast may be asked.
    """

    records: Path
    root: Path
    out: Path
    factory: AgentFactory
    is_guided: bool = True
    workers: int = 1
    caps: Caps = field(default_factory=Caps)
    rates: Rates = field(default_factory=Rates)

    @property
    def ledger(self) -> LedgerSettings:
        """What the ledger is opened with."""
        return LedgerSettings(self.out / ANSWERS, self.caps, self.rates)


class Engine(Protocol):
    """Something that works through clips and yields index and outcome of each, in any order."""

    def __call__(self, records: Sequence[Record], job: Job) -> Generator[tuple[int, Outcome]]:
        """Work through them; closing the generator ends the work."""


class Annotator:
    """Takes one clip at a time through the agents; belongs to one worker.

    Args:
        agents: At most one a role, in any order.
        ledger: Where findings are kept.
        root: Folder of the media.
        is_guided: Whether agents may be told the label.
        today: Gives the day, ISO 8601.

    Raises:
        ConfigError: Two agents have one role.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        ledger: Ledger,
        root: Path,
        is_guided: bool,
        today: Callable[[], str] = lambda: datetime.now(timezone.utc).date().isoformat(),
    ) -> None:
        self._agents = sorted(agents, key=lambda agent: ROLES.index(agent.role))
        self._ledger, self._root, self._is_guided, self._today = ledger, root, is_guided, today
        roles = [agent.role for agent in self._agents]
        if twice := [role for role in roles if roles.count(role) > 1]:
            raise ConfigError(f"two agents have the role {twice[0]}; one a role is needed")

    def annotate(self, record: Record) -> Outcome:
        """Take a clip through all agents. Never raises for what one clip or one answer may cause."""
        at = ""
        try:
            check_record(record)
            media = media_digests(Request(record, self._root))
            flags: list[tuple[str, str]] = []
            usage: dict[str, RoleUsage] = {}
            for agent in self._agents:
                at = agent.role
                kept = self._finding(agent, Request(record, self._root, self._is_guided), media)
                record = merged(record, agent, kept.fields, kept.date)
                flags += [(at, flag) for flag in kept.flags]
                usage[at] = kept.usage
            return Outcome(kind="annotated", line=record.to_line(), flags=tuple(flags), usage=usage)
        except Exception as error:
            return _failure(error, at, record)

    def _finding(self, agent: Agent, request: Request, media: Mapping[str, str]) -> _Kept:
        key = finding_key(agent, request, media)
        if (text := self._ledger.find(key)) and (known := _read_kept(text)):
            return known
        found = agent.annotate(request)
        kept = self._checked(agent, found)
        self._ledger.keep(key, kept.model_dump_json())
        return kept

    def _checked(self, agent: Agent, found: Finding) -> _Kept:
        fields = to_jsonable_python(dict(found.fields))
        if foreign := set(fields) - MAY_WRITE[agent.role]:
            raise AgentError(f"writes {sorted(foreign)[0]!r}, which is not its part")
        check_fields(fields, f"the {agent.role} agent")
        usage = RoleUsage(**asdict(found.usage))
        return _Kept(fields=fields, flags=found.flags, usage=usage, date=found.date or self._today())


def merged(record: Record, agent: Agent, fields: Mapping[str, Any], day: str) -> Record:
    """A record with what an agent found, and with who says so. Empty values add nothing.

    Raises:
        AgentError: A value is not what the record allows there, or would replace the source's own words.
    """
    data = record.model_dump(mode="json")
    who = {"agent": agent.role, "model": agent.model, "prompt": agent.prompt, "date": day}
    for name, value in fields.items():
        if value is None or value in ("", [], ()):
            continue
        *path, last = name.split(".")
        place = data[path[0]] if path else data
        if name == "transcript" and place[last] and name not in record.provenance:
            raise AgentError("would replace the transcript that came with the source")
        place[last] = value
        data["provenance"][name] = who
    try:
        return Record.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise AgentError(f"what was found does not fit the record: {explain(error)}") from None


def threads(records: Sequence[Record], job: Job) -> Generator[tuple[int, Outcome]]:
    """The engine of one machine: as many threads as the job has workers, each with agents of its own."""
    # No futures: an interrupt while their conditions are taken would leave one locked, and a worker at it.
    waiting: SimpleQueue[int] = SimpleQueue()
    done: SimpleQueue[tuple[int, Outcome] | BaseException] = SimpleQueue()
    for index in range(len(records)):
        waiting.put(index)
    ended = threading.Event()
    with LocalLedger(job.ledger) as ledger:

        def work() -> None:
            try:
                annotator = Annotator(job.factory(ledger), ledger, job.root, job.is_guided)
                while not ended.is_set() and (index := _taken(waiting)) is not None:
                    done.put((index, annotator.annotate(records[index])))
            except BaseException as error:  # raised again where the outcomes are read
                done.put(error)

        crew = [
            threading.Thread(target=work, name=f"annotate-{number}", daemon=True)
            for number in range(min(job.workers, len(records)))
        ]
        try:
            for worker in crew:
                worker.start()
            for _ in records:
                found = done.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            # Answers under way are waited for and kept: they are paid already.
            ended.set()
            ledger.stop("interrupted")
            for worker in crew:
                if worker.is_alive():
                    worker.join()


def _taken(waiting: SimpleQueue[int]) -> int | None:
    try:
        return waiting.get_nowait()
    except Empty:
        return None


def run(
    job: Job,
    engine: Engine = threads,
    progress: Progress = lambda outcomes, count: outcomes,
) -> dict[str, Any]:
    """Annotate a file of records, or go on with it.

    Writes, once all clips are done and each file complete or not at all: ``records.jsonl`` in the order of
    the input, ``rejects.jsonl``, ``flags.jsonl`` and ``summary.json``. A run that has to stop writes only a
    summary that says so, and leaves none of the others from before.

    Args:
        job: What to do.
        engine: `threads`, or the one of `engine_ray`.
        progress: Wraps the outcomes as they come, told how many there will be.

    Returns:
        The summary.

    Raises:
        InputError: The records cannot be read, or the folder cannot be used.
        ConfigError: An agent cannot work as it is configured.
        BudgetReachedError: A cap is reached.
        RunStoppedError: The endpoint cannot be reached.
    """
    if job.workers < 1:
        raise ConfigError(f"workers is {job.workers}; at least 1 is needed")
    records = tuple(_read(job.records))
    with _alone_in(job.out):
        for name in (RECORDS, REJECTS, FLAGS, SUMMARY):
            (job.out / name).unlink(missing_ok=True)
        outcomes: dict[int, Outcome] = {}
        try:
            _collect(engine, records, job, progress, outcomes)
        except BaseException:
            _write_json(job.out / SUMMARY, _summary(job, records, outcomes))
            raise
        return _write(job, records, outcomes)


def _read(path: Path) -> Iterator[Record]:
    try:
        yield from read_records(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _collect(
    engine: Engine,
    records: Sequence[Record],
    job: Job,
    progress: Progress,
    outcomes: dict[int, Outcome],
) -> None:
    with closing(engine(records, job)) as running:
        for index, outcome in progress(running, len(records)):
            _go_on_or_stop(outcome, job)
            outcomes[index] = outcome


def _go_on_or_stop(outcome: Outcome, job: Job) -> None:
    later = f"; what was answered is kept in {job.out}, the same command goes on from there"
    match outcome.kind:
        case "budget":
            raise BudgetReachedError(f"{outcome.reason}{later}")
        case "stopped":
            raise RunStoppedError(f"{outcome.reason}{later}")
        case "misconfigured":
            raise ConfigError(outcome.reason)


def _failure(error: Exception, at: str, record: Record) -> Outcome:
    match error:
        case BudgetReachedError():
            return Outcome(kind="budget", reason=str(error))
        case RunStoppedError():
            return Outcome(kind="stopped", reason=str(error))
        case ConfigError():
            return Outcome(kind="misconfigured", reason=str(error))
        case InstructionLikeTextError():
            category = "instruction-like text"
        case AgentError():
            category = _CATEGORIES.get(type(error).__name__, "agent could not do its part")
        case InputError():
            category = "unusable media"
        case EmollamaError():
            category = "agent could not do its part"
        case _:
            _LOG.exception("%s, agent %s: a fault in the agent's code", record.id, at or "none")
            category = "fault in an agent's code"
            error = AgentError(f"{type(error).__name__}: {error}")
    return Outcome(kind="rejected", agent=at, category=category, reason=str(error))


#: By name, so that this module needs none of the backends.
_CATEGORIES = {"ReplyFormError": "answer of another form", "EndpointError": "endpoint did not answer"}


def _read_kept(text: str) -> _Kept | None:
    try:
        return _Kept.model_validate_json(text)
    except ValidationError:
        return None


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); give another --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{folder}: another run is at work there; wait for it or give another --out"
            ) from None
        yield


def _write(job: Job, records: Sequence[Record], outcomes: Mapping[int, Outcome]) -> dict[str, Any]:
    done = [(record, outcomes[index]) for index, record in enumerate(records)]
    _write_lines(job.out / RECORDS, (o.line for _, o in done if o.kind == "annotated"))
    _write_lines(job.out / REJECTS, (_reject_line(r, o) for r, o in done if o.kind == "rejected"))
    _write_lines(job.out / FLAGS, (line for r, o in done for line in _flag_lines(r, o)))
    summary = _summary(job, records, outcomes)
    _write_json(job.out / SUMMARY, summary)
    return summary


def _reject_line(record: Record, outcome: Outcome) -> str:
    told = {"agent": outcome.agent, "category": outcome.category, "reason": outcome.reason}
    return json.dumps({**_clip(record), **told}, ensure_ascii=False)


def _flag_lines(record: Record, outcome: Outcome) -> Iterator[str]:
    for role, flag in outcome.flags:
        yield json.dumps({**_clip(record), "agent": role, "flag": flag}, ensure_ascii=False)


def _clip(record: Record) -> dict[str, str]:
    return {"source": record.source, "id": record.id, "task": record.task.value}


def _summary(job: Job, records: Sequence[Record], outcomes: Mapping[int, Outcome]) -> dict[str, Any]:
    kinds = Counter(outcome.kind for outcome in outcomes.values())
    spent = spent_in(job.ledger.path)
    return {
        "complete": len(outcomes) == len(records),
        "mode": "guided" if job.is_guided else "free",
        "records": len(records),
        "annotated": kinds["annotated"],
        "rejected": kinds["rejected"],
        "rejected_by_category": _sorted_counts(o.category for o in outcomes.values() if o.kind == "rejected"),
        "flags": _sorted_counts(role for o in outcomes.values() for role, _ in o.flags),
        "fields": _sorted_counts(_annotated_fields(outcomes.values())),
        "usage_by_role": _usage_by_role(outcomes.values()),
        "spent": {**asdict(spent), "cost": round(job.ledger.caps.cost_of(spent), 6)},
    }


def _sorted_counts(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _annotated_fields(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.line:
            yield from parse_record(outcome.line).provenance


def _usage_by_role(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    totals: dict[str, Usage] = {}
    for outcome in outcomes:
        for role, usage in outcome.usage.items():
            totals[role] = totals.get(role, Usage()) + Usage(**usage.model_dump())
    return {role: asdict(totals[role]) for role in ROLES if totals.get(role, Usage()) != Usage()}


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    _write_text(path, "".join(line + "\n" for line in lines))


def _write_json(path: Path, data: Any) -> None:
    _write_text(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Complete and on the disk, or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
