"""Which files of a record to look at and to listen to."""

from __future__ import annotations

from pathlib import Path

from emollama_ros.errors import InputError
from emollama_ros.streams.media import open_media
from training.annotation.agents import AgentError, Request


def picture_file(request: Request) -> Path | None:
    """The file to look at; None where the record has no moving picture."""
    return _existing(request.root, request.record.media.video)


def sound_file(request: Request) -> Path | None:
    """The file to listen to: its sound alone if distributed, else its video; None without sound."""
    media = request.record.media
    path = _existing(request.root, media.audio or media.video)
    return path if path is not None and open_whole(path).has_audio else None


def open_whole(path: Path):
    """`open_media`, with its error as the agent's.

    Raises:
        AgentError: The file cannot be read; says why.
    """
    try:
        return open_media(path)
    except InputError as error:
        raise AgentError(str(error)) from None


def _existing(root: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    path = root / name
    if not path.is_file():
        raise AgentError(f"{name}: not found under the root folder; give --root the folder of the source")
    return path
