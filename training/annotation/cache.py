"""Answers that are never paid for twice, and the count of what was paid: one SQLite file.

SQLite, and not a file an answer: an answer and its cost are kept in one transaction, so that a kill at any
moment loses neither or both; and a data set the size of MMEVerse would otherwise leave half a million small
files. Every commit is on the disk before it returns (write-ahead log, ``synchronous=FULL``).

An answer is found by the SHA-256 of everything it depends on. Media enter by the hash of their bytes, never
by name. No key of an endpoint is part of anything here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic_core import to_jsonable_python

from emollama_ros.errors import InputError
from training.annotation.agents import Agent, Request, Usage

_LOG = logging.getLogger(__name__)

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, text TEXT NOT NULL, seal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spent (
    ticket INTEGER PRIMARY KEY, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL
);
"""
_CHUNK_BYTES = 1 << 20


def digest(data: Any) -> str:
    """SHA-256, in hex, of plain data: the same for the same data, whatever the order of their names."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return _sha256(text)


def file_digest(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes.

    Raises:
        InputError: It cannot be read.
    """
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                sha.update(chunk)
    except OSError as error:
        raise InputError(
            f"{path.name}: cannot be read ({error.strerror}); is --root the right folder?"
        ) from None
    return sha.hexdigest()


def media_digests(request: Request) -> dict[str, str]:
    """SHA-256 of each media file of a clip, by its part in the record (``video``, ``audio``, ``image``).

    Raises:
        InputError: One cannot be read.
    """
    media = request.record.media
    parts = {"video": media.video, "audio": media.audio, "image": media.image}
    return {part: file_digest(request.root / file) for part, file in parts.items() if file}


def finding_key(agent: Agent, request: Request, media: Mapping[str, str]) -> str:
    """What the finding of an agent is kept under.

    Args:
        agent: Who is asked.
        request: What about. The days in its provenance do not count: an answer given again on another day
            must not make all later answers new.
        media: What `media_digests` gives.
    """
    record = request.record.model_dump(mode="json")
    for told in record["provenance"].values():
        del told["date"]
    return digest(
        {
            "kind": "finding",
            **_who(agent.role, agent.model, agent.prompt, agent.settings),
            "is_guided": request.is_guided,
            "media": dict(media),
            "record": record,
        }
    )


def completion_key(agent: Agent, media: Mapping[str, str], messages: Any) -> str:
    """What the answer of an endpoint is kept under: who was asked, and every byte that was sent."""
    who = _who(agent.role, agent.model, agent.prompt, agent.settings)
    return digest({"kind": "completion", **who, "media": dict(media), "messages": messages})


class Answers:
    """The file. Every method may be called from any thread.

    Args:
        path: The file; made where there is none.
        keep_count: Refuse a damaged file, because the count of what was spent would be lost with it. Without
            it, a damaged file is set aside and a new one begun.

    Raises:
        InputError: The file is damaged and must be kept, or cannot be opened.
    """

    def __init__(self, path: Path, keep_count: bool = False) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._base = self._opened(keep_count)

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was kept is on the disk already."""
        with self._lock:
            self._base.close()

    def find(self, key: str) -> str | None:
        """The text kept under a key; None where there is none, or where it is not what was once written."""
        try:
            with self._lock:
                row = self._base.execute("SELECT text, seal FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            _LOG.warning("%s: an answer cannot be read (%s); it is asked for again", self._path, error)
            return None
        if row is None:
            return None
        if row[1] != _seal(key, row[0]):
            _LOG.warning("%s: an answer was changed or damaged; it is asked for again", self._path)
            return None
        return str(row[0])

    def keep(self, key: str, text: str) -> None:
        """Keep a text under a key, on the disk."""
        with self._transaction() as base:
            _insert(base, key, text)

    def begin_request(self, estimate: Usage) -> int:
        """Count a request that is about to be sent; returns its ticket.

        Until it ends it counts with the estimate, and for good where the run is killed meanwhile: the
        endpoint may send a bill for it all the same.
        """
        query = "INSERT INTO spent (prompt_tokens, completion_tokens) VALUES (?, ?)"
        with self._transaction() as base:
            cursor = base.execute(query, (estimate.prompt_tokens, estimate.completion_tokens))
            return int(cursor.lastrowid or 0)

    def end_request(self, ticket: int, usage: Usage, key: str | None = None, text: str = "") -> None:
        """Write down what a request cost and, in the same transaction, what it answered."""
        with self._transaction() as base:
            base.execute(
                "UPDATE spent SET prompt_tokens = ?, completion_tokens = ? WHERE ticket = ?",
                (usage.prompt_tokens, usage.completion_tokens, ticket),
            )
            if key is not None:
                _insert(base, key, text)

    def spent(self) -> Usage:
        """All that was ever counted in this file."""
        query = (
            "SELECT COUNT(*), COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0) FROM spent"
        )
        with self._lock:
            return Usage(*map(int, self._base.execute(query).fetchone()))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._base:
                    yield self._base
            except sqlite3.DatabaseError as error:
                raise InputError(f"{self._path}: cannot be written ({error}); is the disk full?") from None

    def _opened(self, keep_count: bool) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.OperationalError as error:
            raise InputError(f"{self._path}: cannot be opened ({error}); is the folder writable?") from None
        except sqlite3.DatabaseError as error:
            if keep_count:
                raise InputError(
                    f"{self._path}: is damaged ({error}), and with it the count that the caps go by; "
                    "delete it to begin anew, and lower the caps by what was spent"
                ) from None
            _LOG.warning("%s: is damaged (%s); set aside, all answers are asked for again", self._path, error)
            _set_aside(self._path)
            return _connect(self._path)


def spent_in(path: Path) -> Usage:
    """What was counted in a file that nobody may have made."""
    if not path.exists():
        return Usage()
    with Answers(path) as answers:
        return answers.spent()


def _connect(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, check_same_thread=False)
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        with closing(base.execute("PRAGMA quick_check(1)")) as cursor:
            if (found := cursor.fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(found)
        base.executescript(_TABLES)
    except sqlite3.DatabaseError:
        base.close()
        raise
    return base


def _set_aside(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _insert(base: sqlite3.Connection, key: str, text: str) -> None:
    base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, text, _seal(key, text)))


def _seal(key: str, text: str) -> str:
    return _sha256(f"{key}\n{text}")


def _sha256(text: str) -> str:
    # A transcript may hold half of a surrogate pair, which strict UTF-8 has no bytes for.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _who(role: str, model: str, prompt: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": role, "model": model, "prompt": prompt, "settings": to_jsonable_python(dict(settings))}
