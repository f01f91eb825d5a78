"""Where the clips of a data set lie: found by name, whatever container they are distributed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Suffixes of the files that count as clips.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".flv", ".webm")


@dataclass(frozen=True)
class Clips:
    """The clips under some folders of a source.

    Attributes:
        files: Path of each, relative to the source's folder, by its name without suffix.
        missing: Where one is expected that is not there; ``{}`` stands for its name.
    """

    files: Mapping[str, str]
    missing: str

    def path(self, name: str) -> str:
        """The path of a clip; where it is not there, the one where it should be, so that it is reported."""
        return self.files.get(name) or self.missing.format(name)


def clips_under(root: Path, folders: Sequence[str], suffix: str = ".mp4", *, depth: int = 1) -> Clips:
    """Look for the clips under folders.

    Args:
        root: Folder of the source.
        folders: Relative to it, in the order of preference; those that are not there are passed over.
        suffix: Of a clip that is missing.
        depth: How many last parts of the path name a clip: 2 for ``video/3.mp4``.
    """
    found = files_under(root, folders, VIDEO_SUFFIXES, depth=depth)
    return Clips(found, f"{folders[0]}/{{}}{suffix}")


def files_under(
    root: Path, folders: Sequence[str], suffixes: Sequence[str], *, depth: int = 1
) -> dict[str, str]:
    """Paths relative to ``root`` by name, as `clips_under` finds them, of files with other suffixes."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix.lower() in suffixes:
                name = "/".join(path.with_suffix("").parts[-depth:])
                found.setdefault(name, path.relative_to(root).as_posix())
    return found
