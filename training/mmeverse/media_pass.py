"""Examine many media files in parallel, with a journal: what was examined before a kill is not done again."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from emollama_ros.errors import ConfigError
from training.mmeverse.media_facts import FACTS_VERSION, MediaFacts, Span, examine

#: Files handed to a process at once, and batches waiting for each process.
_BATCH, _WAITING = 8, 3
#: Fewer files than this are done before other processes would have started.
_ALONE = 24

Stamp = tuple[int, int]
#: `examine`, or what stands for it.
Work = Callable[[Path, str, Sequence[Span]], MediaFacts]
Progress = Callable[[int], object]
_OnFile = Callable[[str, Sequence[Span]], MediaFacts]


@dataclass(frozen=True)
class Job:
    """A file and the clips that are cut from it."""

    file: str
    spans: tuple[Span, ...]


@dataclass
class Journal:
    """What is known already: JSON Lines, each file with its size and time of change.

    Attributes:
        path: The file; made where it is not there.
        root: Folder of the source.
    """

    path: Path
    root: Path
    _known: dict[str, tuple[Stamp, MediaFacts]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what is there."""
        if self.path.exists():
            with self.path.open("rb") as lines:
                self._known = dict(filter(None, map(_entry, lines)))

    def find(self, job: Job) -> MediaFacts | None:
        """What was found out about the file, if neither it nor the spans have changed since."""
        stamp, facts = self._known.get(job.file, (None, None))
        if facts is None or stamp != _stamp(self.root / job.file):
            return None
        spans = {found.span for found in facts.prints}
        return facts if facts.problem or spans == set(job.spans) else None

    def open(self) -> TextIO:
        """Open for writing at the end; what a kill has cut off there is ended first."""
        file = self.path.open("a", encoding="utf-8")
        if self.path.stat().st_size:
            with self.path.open("rb") as written:
                written.seek(-1, os.SEEK_END)
                file.write("" if written.read() == b"\n" else "\n")
        return file

    def line(self, facts: MediaFacts) -> str:
        """The line that tells it; empty for a file that is not there, which may come."""
        stamp = _stamp(self.root / facts.file)
        if stamp is None:
            return ""
        return json.dumps([FACTS_VERSION, *stamp, facts.model_dump(mode="json")], ensure_ascii=False) + "\n"


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _entry(line: bytes) -> tuple[str, tuple[Stamp, MediaFacts]] | None:
    """Read a line; one that was cut off, or is of another version, counts for nothing."""
    try:
        version, size, changed_ns, data = json.loads(line)
        facts = MediaFacts.model_validate(data)
    except (ValueError, TypeError, ValidationError):
        return None
    return (facts.file, ((size, changed_ns), facts)) if version == FACTS_VERSION else None


def examine_all(
    jobs: Sequence[Job], journal: Journal, processes: int, progress: Progress, work: Work = examine
) -> list[MediaFacts]:
    """Examine files, or take what the journal knows of them.

    Args:
        jobs: Each file once.
        journal: Written to as files are done.
        processes: How many work at the same time.
        progress: Told how many files more are done.
        work: Examines one file; a function of a module, so that other processes find it.

    Returns:
        In the order of the jobs.

    Raises:
        ConfigError: Other processes are wanted and none can be started.
    """
    found = {job.file: facts for job in jobs if (facts := journal.find(job)) is not None}
    progress(len(found))
    left = [job for job in jobs if job.file not in found]
    with journal.open() as file:
        for batch in _examined(partial(work, journal.root), left, processes):
            file.writelines(map(journal.line, batch))
            file.flush()
            found.update((facts.file, facts) for facts in batch)
            progress(len(batch))
    return [found[job.file] for job in jobs]


def _examined(work: _OnFile, jobs: Sequence[Job], processes: int) -> Iterator[list[MediaFacts]]:
    if processes <= 1 or len(jobs) < _ALONE:
        for job in jobs:
            yield _on_each(work, [job])
        return
    left = iter([jobs[i : i + _BATCH] for i in range(0, len(jobs), _BATCH)])
    while True:
        lost: list[Sequence[Job]] = []
        yield from _shared_out(work, left, processes, lost)
        if not lost:
            return
        yield from _one_by_one(work, [job for batch in lost for job in batch])


def _shared_out(
    work: _OnFile, batches: Iterator[Sequence[Job]], processes: int, lost: list[Sequence[Job]]
) -> Iterator[list[MediaFacts]]:
    """Examine batches in processes; those that were under way when one of them died end in ``lost``."""
    with _pool(processes) as pool:
        running: dict[Future[list[MediaFacts]], Sequence[Job]] = {}
        while True:
            for batch in islice(batches, processes * _WAITING - len(running)):
                try:
                    running[pool.submit(_on_each, work, batch)] = batch
                except BrokenProcessPool:
                    lost.append(batch)
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(done)
                if isinstance(done.exception(), BrokenProcessPool):
                    lost.append(batch)
                else:
                    yield done.result()
            if lost:
                batches = iter(())


def _on_each(work: _OnFile, jobs: Sequence[Job]) -> list[MediaFacts]:
    return [work(job.file, job.spans) for job in jobs]


def _one_by_one(work: _OnFile, jobs: Sequence[Job]) -> Iterator[list[MediaFacts]]:
    """Examine files one after the other in one other process: if it dies, it is clear on which file."""
    left = iter(jobs)
    while (job := next(left, None)) is not None:
        with _pool(1) as pool:
            _start(pool)
            try:
                while job is not None:
                    yield [pool.submit(work, job.file, job.spans).result()]
                    job = next(left, None)
            except BrokenProcessPool:
                yield [MediaFacts(file=job.file, problem="crashes the decoder; it is damaged")]


def _start(pool: ProcessPoolExecutor) -> None:
    """Make sure that a process can be started at all: no file may be blamed for that."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise ConfigError(
            "jobs: no other process can be started; give 1, or begin the calling script with "
            "`if __name__ == '__main__':`"
        ) from error


def _pool(processes: int) -> ProcessPoolExecutor:
    # Forking a process with threads (the progress bar has one) may hang it.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_die_with_parent)


def _die_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever; Ctrl-C is for the parent to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def jobs_of(wanted: Iterable[tuple[str, Span]]) -> list[Job]:
    """Collect the spans of each file; files and spans in the order in which they came first."""
    spans: dict[str, dict[Span, None]] = {}
    for file, span in wanted:
        spans.setdefault(file, {})[span] = None
    return [Job(file, tuple(found)) for file, found in spans.items()]
