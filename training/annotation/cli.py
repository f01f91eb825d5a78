"""Commands of the annotation pipeline: annotate, screen."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emollama_ros.errors import ConfigError, EmollamaError

if TYPE_CHECKING:
    from training.annotation.factories import LocalFactory
    from training.annotation.pipeline import AgentFactory, Engine, Job, Outcome

#: Status of a run that stopped at a cap, and of one that was interrupted, as shells have it.
BUDGET_REACHED, INTERRUPTED = 3, 130


class Backend(str, Enum):
    """Who annotates."""

    LOCAL = "local"
    OPENAI = "openai"


class Mode(str, Enum):
    """Whether agents are told the label."""

    GUIDED = "guided"
    FREE = "free"


class EngineName(str, Enum):
    """What works through the clips."""

    LOCAL = "local"
    RAY = "ray"


Records = Annotated[Path, typer.Option(help="File of records (JSON Lines).")]


def register(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.command("annotate")(annotate)
    app.command("screen")(screen)


def annotate(
    records: Records,
    root: Annotated[Path, typer.Option(help="Folder that the media lie in.")],
    out: Annotated[Path, typer.Option(help="Folder to write, and to go on from.")],
    backend: Annotated[Backend, typer.Option(help="Measure here, or ask models behind an endpoint.")],
    mode: Annotated[Mode, typer.Option(help="Tell the agents the label, or do not.")] = Mode.GUIDED,
    workers: Annotated[int | None, typer.Option(help="Clips at once; 1 if local, 4 if asking.")] = None,
    base_url: Annotated[str, typer.Option(help="Endpoint, such as http://127.0.0.1:8000/v1.")] = "",
    key_env: Annotated[str, typer.Option(help="Environment variable with its key.")] = "OPENAI_API_KEY",
    audio_model: Annotated[str, typer.Option(help="Describes the voice, such as Qwen2-Audio.")] = "",
    visual_model: Annotated[str, typer.Option(help="Describes the picture, such as Qwen2.5-VL.")] = "",
    fusion_model: Annotated[str, typer.Option(help="Writes the reasoning.")] = "",
    measure: Annotated[bool, typer.Option(help="Measure face and words here before asking.")] = True,
    people: Annotated[Path | None, typer.Option(help="What is usual for whom (measure-people).")] = None,
    transcribe: Annotated[bool, typer.Option(help="Transcribe clips without words here.")] = True,
    frames: Annotated[int, typer.Option(help="Frames shown besides the peak frame.")] = 4,
    prompt: Annotated[str, typer.Option(help="Version of the prompts.")] = "v1",
    seed: Annotated[int, typer.Option(help="For endpoints that know seeds.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds for one attempt.")] = 120.0,
    attempts: Annotated[int, typer.Option(help="Attempts for one question.")] = 6,
    backoff: Annotated[float, typer.Option(help="Longest first pause between attempts, s; doubles.")] = 1.0,
    rpm: Annotated[int | None, typer.Option(help="Requests a minute, at most.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute, at most.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Requests in all, over all resumptions.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens in all, over all resumptions.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="Money in all; needs the prices.")] = None,
    price_in: Annotated[float, typer.Option(help="Price of 1000 prompt tokens.")] = 0.0,
    price_out: Annotated[float, typer.Option(help="Price of 1000 tokens of answers.")] = 0.0,
    engine: Annotated[EngineName, typer.Option(help="Threads here, or a Ray cluster.")] = EngineName.LOCAL,
    ray_address: Annotated[
        str, typer.Option(help="Cluster that runs; one is started here if left out.")
    ] = "",
    ray_temp_dir: Annotated[
        Path | None, typer.Option(help="For Ray's logs; deleted after if left out.")
    ] = None,
) -> None:
    """Have agents say what speaks for each clip's label; killed at any time, the same command goes on."""
    from training.annotation.limits import BudgetReachedError

    try:
        job = _job(
            records, root, out, _workers(workers, backend), mode is Mode.GUIDED,
            _caps(max_requests, max_tokens, max_cost, price_in, price_out), _rates(rpm, tpm),
            _local(mode, people, transcribe) if backend is Backend.LOCAL else _asking(
                (base_url, key_env, timeout, attempts, backoff, seed),
                (audio_model, visual_model, fusion_model), frames, prompt,
                _local(mode, people, transcribe) if measure else None,
            ),
        )  # fmt: skip
        summary = _run(job, _engine(engine, ray_address, ray_temp_dir))
    except BudgetReachedError as error:
        _end(f"stopped at the budget: {error}; raise the cap to go on", BUDGET_REACHED)
    except EmollamaError as error:
        _end(f"error: {error}", 1)
    except KeyboardInterrupt:
        _interrupted(out)
    typer.echo(json.dumps(summary, ensure_ascii=False, indent=1))


def screen(records: Records) -> None:
    """Count the records whose words ask the pipeline to do something; those it would reject. Asks nobody."""
    from training.annotation.guard import InstructionLikeTextError, check_record
    from training.mmeverse.schema import read_records

    count, found = 0, []
    try:
        for record in read_records(records):
            count += 1
            try:
                check_record(record)
            except InstructionLikeTextError as error:
                found.append({"source": record.source, "id": record.id, "reason": str(error)})
    except OSError as error:
        _end(f"error: {records}: cannot be read ({error.strerror})", 1)
    except EmollamaError as error:
        _end(f"error: {error}", 1)
    typer.echo(
        json.dumps({"records": count, "instruction_like": len(found), "found": found}, ensure_ascii=False)
    )


def _job(
    records: Path, root: Path, out: Path, workers: int, is_guided: bool, caps: Any, rates: Any, factory: Any
) -> Job:
    from training.annotation.pipeline import Job

    if not root.is_dir():
        raise ConfigError(f"--root {root}: no such folder")
    return Job(records, root, out, factory, is_guided, workers, caps, rates)


def _workers(asked: int | None, backend: Backend) -> int:
    if asked is not None:
        return asked
    return 1 if backend is Backend.LOCAL else 4  # measuring is work for this machine, asking is waiting


def _caps(
    requests: int | None, tokens: int | None, cost: float | None, price_in: float, price_out: float
) -> Any:
    from training.annotation.limits import Caps

    return Caps(requests, tokens, cost, price_in, price_out)


def _rates(rpm: int | None, tpm: int | None) -> Any:
    from training.annotation.limits import Rates

    return Rates(rpm, tpm)


def _local(mode: Mode, people: Path | None, transcribe: bool) -> LocalFactory:
    from training.annotation.factories import LocalFactory

    return LocalFactory(mode is Mode.GUIDED, people and people.resolve(), transcribe)


def _asking(
    endpoint: tuple[str, str, float, int, float, int],
    models: tuple[str, str, str],
    frames: int,
    prompt: str,
    measuring: LocalFactory | None,
) -> AgentFactory:
    try:
        from training.annotation.backends.chat import Endpoint
        from training.annotation.backends.openai_compatible import EndpointFactory, Models, Sight
    except ImportError as error:
        raise ConfigError(f"--backend openai: {error}: pip install 'emollama-ros[annotation]'") from None
    url, key_env, timeout, attempts, backoff, seed = endpoint
    if not url:
        raise ConfigError("--backend openai needs --base-url, such as http://127.0.0.1:8000/v1")
    if frames < 1:
        raise ConfigError(f"--frames {frames}: at least 1 is needed")
    where = Endpoint(url, key_env, timeout, attempts, backoff, seed=seed)
    return EndpointFactory(where, Models(*models), Sight(frames), prompt, measuring)


def _engine(name: EngineName, address: str, temp_dir: Path | None) -> Engine:
    if name is EngineName.RAY:
        from training.annotation.engine_ray import RayEngine

        return RayEngine(address, temp_dir)
    from training.annotation.pipeline import threads

    return threads


def _run(job: Job, engine: Engine) -> dict[str, Any]:
    from tqdm import tqdm

    from training.annotation.pipeline import run

    def shown(outcomes: Iterator[tuple[int, Outcome]], count: int) -> Iterable[tuple[int, Outcome]]:
        # On a terminal alone: a log is no place for a bar.
        return tqdm(outcomes, total=count, unit="clip", disable=None)

    return run(job, engine, shown)


def _interrupted(out: Path) -> None:
    try:
        _end(
            f"interrupted; what was answered is kept in {out}, the same command goes on from there",
            INTERRUPTED,
        )
    except KeyboardInterrupt:
        # Pressed again: threads that still wait for an answer are left; all that is kept is on the disk.
        os._exit(INTERRUPTED)


def _end(message: str, status: int) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(status) from None
