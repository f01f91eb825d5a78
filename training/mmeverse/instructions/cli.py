"""``python -m training instructions``: see exactly what the language model sees."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from training.mmeverse.instructions.samples import (
    Instruction,
    instruction_of,
    instructions_of,
    replay_instruction_of,
)
from training.mmeverse.instructions.template import TEMPLATES, Template, template_named
from training.mmeverse.replay import REPLAY_SETS, read_replay
from training.mmeverse.replay.base import Item
from training.mmeverse.schema import Record, read_records
from training.mmeverse.sources.base import Reject


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(instructions)
    app.command()(replay)


def instructions(
    records: Annotated[Path, typer.Option(help="JSON Lines of records (python -m training prepare).")],
    stage: Annotated[int, typer.Option(help="1: labels and descriptions; 2: labels and reasons.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the training run.")] = 0,
    epoch: Annotated[int, typer.Option(help="How often a record was visited before.")] = 0,
    limit: Annotated[int, typer.Option(help="How many records; 0 for all.")] = 5,
    template: Annotated[str, typer.Option(help=f"One of: {', '.join(TEMPLATES)}.")] = "llama2",
    every: Annotated[
        bool, typer.Option("--every", help="Everything that can be asked, not one draw.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each instruction.")] = False,
) -> None:
    """Print instructions made from records: prompt, target, and what may be looked at."""
    form = template_named(template)
    read = islice(read_records(records), limit or None)
    for made in _made(read, stage, (seed, epoch), form, every):
        typer.echo(json.dumps(as_dict(made), ensure_ascii=False) if as_json else as_text(made, form))


def replay(
    name: Annotated[str, typer.Option("--set", help=f"One of: {', '.join(REPLAY_SETS)}.")],
    root: Annotated[Path, typer.Option(help="Folder with the JSON files of the set.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder that holds the folders of pictures; --root if left out.")
    ] = None,
    validation: Annotated[bool, typer.Option("--validation", help="Not the training split.")] = False,
    limit: Annotated[int, typer.Option(help="How many samples and rejects to show.")] = 5,
) -> None:
    """Read a general vision-language set as distributed; show what could not be read, and why."""
    shown, counts = 0, Counter[str]()
    for item in read_replay(name, root, images, "validation" if validation else "train"):
        counts["rejects" if isinstance(item, Reject) else "samples"] += 1
        if (shown := shown + 1) <= limit or (isinstance(item, Reject) and counts["rejects"] <= limit):
            typer.echo(item_text(item))
    typer.echo(f"{name}: {counts['samples']} samples, {counts['rejects']} rejects")


def item_text(item: Item) -> str:
    """A sample as the language model gets it, or a reject with its place."""
    if isinstance(item, Reject):
        return f"reject: {item.where}: {item.clip or '(no id)'}: {item.reason}\n"
    return as_text(replay_instruction_of(item), TEMPLATES["llama2"])


def _made(
    records: Iterable[Record], stage: int, draw: tuple[int, int], template: Template, every: bool
) -> Iterator[Instruction]:
    for record in records:
        if every:
            yield from instructions_of(record, stage, *draw, template=template)
        else:
            yield instruction_of(record, stage, *draw, template=template)


def as_text(made: Instruction, template: Template) -> str:
    """An instruction for reading."""
    why = f", drawn {made.drawn.value}: {made.why_not}" if made.why_not else ""
    seen = ", ".join(made.streams.names()) or "nothing"
    return (
        f"== {'/'.join(made.key)}: {made.tag.value} (sees {seen}{why})\n"
        f"{made.prompt}\n-> {made.target}{template.stop}\n"
    )


def as_dict(made: Instruction) -> dict[str, object]:
    """An instruction as plain data."""
    return {
        "key": list(made.key),
        "tag": made.tag.value,
        "prompt": made.prompt,
        "target": made.target,
        "media": made.media.model_dump(exclude_none=True),
        "streams": list(made.streams.names()),
        "label_space": list(made.label_space),
        "drawn": made.drawn.value,
        "why_not": made.why_not,
    }
