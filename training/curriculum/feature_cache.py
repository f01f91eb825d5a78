"""Features on disk, so that no epoch decodes a video twice: safetensors shards, found by content.

The key of a clip is the hash of its files' content and of the part of them that it is; the folder is named
after the encoders' version. A shard appears complete or not at all; what a killed run had not written is
computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from emollama_ros.bundle import file_sha256
from emollama_ros.errors import InputError
from training.mmeverse.schema import Media

#: Clips in a shard.
SHARD = 256


class FeatureCache:
    """Features by key, for one version of the encoders."""

    def __init__(self, folder: Path, version: str) -> None:
        """Open, or begin, ``folder / version``."""
        self.folder = folder / version
        self.folder.mkdir(parents=True, exist_ok=True)
        self._place: dict[str, tuple[Path, tuple[str, ...]]] = {}
        self._open: dict[Path, Any] = {}
        self._waiting: dict[str, dict[str, Tensor]] = {}
        self._shards: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        """Find what other processes have written since."""
        for shard in sorted(set(self.folder.glob("*.safetensors")) - self._shards):
            self._index(shard)

    def __contains__(self, key: str) -> bool:
        return key in self._place or key in self._waiting

    def __len__(self) -> int:
        return len(self._place.keys() | self._waiting.keys())

    def get(self, key: str) -> dict[str, Tensor]:
        """Features of a clip.

        Raises:
            KeyError: They are not there.
        """
        if key in self._waiting:
            return dict(self._waiting[key])
        shard, names = self._place[key]
        if shard not in self._open:
            self._open[shard] = safe_open(shard, "pt")
        file = self._open[shard]
        return {name: file.get_tensor(f"{key}/{name}") for name in names}

    def add(self, key: str, features: dict[str, Tensor]) -> None:
        """Keep features; they are written with those of other clips, at the latest by `flush`."""
        self._waiting[key] = features
        if len(self._waiting) >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        tensors = {
            f"{key}/{name}": v.contiguous() for key, clip in self._waiting.items() for name, v in clip.items()
        }
        clips = {key: sorted(clip) for key, clip in self._waiting.items()}
        name = hashlib.sha256("\n".join(sorted(clips)).encode()).hexdigest()[:16]
        shard = self.folder / f"{name}.safetensors"
        part = shard.with_suffix(f".part{os.getpid()}")
        save_file(tensors, part, metadata={"clips": json.dumps(clips)})
        part.replace(shard)
        self._waiting.clear()
        self._index(shard)

    def _index(self, shard: Path) -> None:
        self._shards.add(shard)
        try:
            with safe_open(shard, "pt") as file:
                clips = json.loads(file.metadata()["clips"])
        except Exception:  # whatever safetensors finds wrong: the clips of this shard are computed anew
            shard.unlink(missing_ok=True)
            self._shards.discard(shard)
            return
        self._place.update({key: (shard, tuple(names)) for key, names in clips.items()})


class ContentKeys:
    """Keys of records by the content of their files; a file is hashed once as long as it does not change."""

    def __init__(self, folder: Path, process: int = 0) -> None:
        """Remember hashes in files of a folder (JSON Lines): each process writes its own, and reads all."""
        self._memo = folder / (f"content.{process}.jsonl" if process else "content.jsonl")
        self._known: dict[tuple[str, int, int], str] = {}
        for memo in sorted(folder.glob("content*.jsonl")):
            for line in memo.read_text(encoding="utf-8").splitlines():
                self._remember(line)

    def _remember(self, line: str) -> None:
        try:
            path, size, changed, digest = json.loads(line)
        except ValueError:
            return  # the last line of a killed run
        self._known[path, size, changed] = digest

    def key(self, media: Media, root: Path) -> str:
        """Key of a clip.

        Raises:
            InputError: A file of it cannot be read.
        """
        digests = [self._digest(root / file) for file in media.files()]
        return hashlib.sha256(repr((digests, media.start_s, media.end_s)).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        try:
            facts = path.stat()
            place = (str(path.resolve()), facts.st_size, facts.st_mtime_ns)
            if place not in self._known:
                self._known[place] = file_sha256(path)
                self._append([*place, self._known[place]])
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        return self._known[place]

    def _append(self, entry: list[Any]) -> None:
        self._memo.parent.mkdir(parents=True, exist_ok=True)
        with self._memo.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def fill(
    cache: FeatureCache, wanted: Iterable[tuple[str, Callable[[], dict[str, Tensor]]]]
) -> list[tuple[str, str]]:
    """Compute the features that are not there.

    Args:
        cache: Where they go.
        wanted: Key, and what computes its features.

    Returns:
        Key and reason of each that could not be computed.
    """
    problems = []
    try:
        for key, compute in wanted:
            if key not in cache:
                try:
                    cache.add(key, compute())
                except InputError as error:
                    problems.append((key, str(error)))
    finally:  # whatever else goes wrong, what was computed is kept
        cache.flush()
    return problems
