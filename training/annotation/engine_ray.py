"""The engine for a cluster: Ray Data moves the clips, actors hold the agents, one actor holds the ledger.

The ledger stays on the machine that started the run: one file of answers, one rate and one budget for the
whole cluster, as with threads. Every machine must see the media under the same path, have this project
installed, and have the endpoint's key in its own environment: it is not sent around.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emollama_ros.errors import ConfigError
from training.annotation.agents import Usage
from training.annotation.limits import Admission, Ledger, LedgerSettings, LocalLedger
from training.annotation.pipeline import AgentFactory, Annotator, Job, Outcome
from training.mmeverse.schema import Record, parse_record

try:
    import ray
except ImportError as error:
    raise ConfigError(f"--engine ray needs Ray ({error}): pip install 'emollama-ros[annotation]'") from None

#: Few, so that a worker that is killed has little to do again, and a slow clip holds up few others.
_CLIPS_PER_BATCH = 4


class _LedgerActor(LocalLedger):
    """The ledger in a process of its own."""

    def __init__(self, settings: LedgerSettings) -> None:
        super().__init__(settings)


class _RemoteLedger:
    """What a worker holds in place of the ledger."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def find(self, key: str) -> str | None:
        return ray.get(self._actor.find.remote(key))

    def keep(self, key: str, text: str) -> None:
        ray.get(self._actor.keep.remote(key, text))

    def admit(self, estimate: Usage) -> Admission:
        return ray.get(self._actor.admit.remote(estimate))

    def settle(self, ticket: int, usage: Usage, key: str | None = None, text: str = "") -> None:
        ray.get(self._actor.settle.remote(ticket, usage, key, text))

    def hold(self, seconds: float) -> None:
        ray.get(self._actor.hold.remote(seconds))

    def stopped(self) -> str:
        return ray.get(self._actor.stopped.remote())


class _Worker:
    """Takes batches of clips through agents of its own."""

    def __init__(self, factory: AgentFactory, actor: Any, root: Path, is_guided: bool) -> None:
        ledger: Ledger = _RemoteLedger(actor)
        self._annotator = Annotator(factory(ledger), ledger, root, is_guided)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        outcomes = [self._annotator.annotate(parse_record(line)) for line in batch["line"]]
        return {"index": batch["index"], "outcome": [outcome.model_dump_json() for outcome in outcomes]}


@dataclass(frozen=True)
class RayEngine:
    """Works through clips on a Ray cluster; see `pipeline.Engine`.

    Attributes:
        address: Of a cluster that runs, for example ``ray://head:10001`` or ``auto``; empty for one of this
            machine, which is started and ended with the run.
        temp_dir: Where Ray keeps its logs and sockets on this machine; None for a folder that is deleted with
            the run. Short: the name of a socket has at most 107 bytes.
    """

    address: str = ""
    temp_dir: Path | None = None

    def __call__(self, records: Sequence[Record], job: Job) -> Generator[tuple[int, Outcome]]:
        """See `pipeline.Engine`."""
        with self._cluster(job.workers):
            yield from _outcomes(records, job)

    @contextmanager
    def _cluster(self, workers: int) -> Iterator[None]:
        # The default of a start that was not asked for is to tell Ray's makers about it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        if self.address:
            with _running(address=self.address, **quiet):
                yield
            return
        folder = self.temp_dir or Path(tempfile.mkdtemp(prefix="ray-"))
        try:
            # One core more than workers: Ray Data needs one for its own steps.
            with _running(
                num_cpus=workers + 1, include_dashboard=False, _temp_dir=str(folder.resolve()), **quiet
            ):
                yield
        finally:
            if self.temp_dir is None:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(**settings: Any) -> Iterator[None]:
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"Ray cannot be started or reached: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _outcomes(records: Sequence[Record], job: Job) -> Generator[tuple[int, Outcome]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    # Its notes about progress bars and timing would stand among this command's own words.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    actor = _ledger_here(job.ledger)
    rows = [{"index": index, "line": record.to_line()} for index, record in enumerate(records)]
    if not rows:
        return
    batches = -(-len(rows) // _CLIPS_PER_BATCH)
    outcomes = ray.data.from_items(rows, override_num_blocks=batches).map_batches(
        _Worker,
        fn_constructor_args=(job.factory, actor, job.root.resolve(), job.is_guided),
        batch_size=_CLIPS_PER_BATCH,
        concurrency=min(job.workers, batches),
        num_cpus=1,
    )
    for row in outcomes.iter_rows():
        yield int(row["index"]), Outcome.model_validate_json(row["outcome"])


def _ledger_here(settings: LedgerSettings) -> Any:
    """Start the actor on this machine, where the file of answers is."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    absolute = LedgerSettings(settings.path.resolve(), settings.caps, settings.rates)
    actor = ray.remote(_LedgerActor).options(num_cpus=0, scheduling_strategy=here).remote(absolute)
    ray.get(actor.stopped.remote())  # A file that cannot be opened is told here.
    return actor
