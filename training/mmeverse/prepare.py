"""From a data set as it was distributed to records that are known to be good.

    OUT/NAME/train.jsonl, validation.jsonl, test.jsonl   records (`training.mmeverse.schema`)
    OUT/NAME/media.jsonl     what a copy of each clip would look and sound like (`training.mmeverse.leakage`)
    OUT/NAME/rejects.jsonl   what could not become a record: where, clip, reason
    OUT/NAME/summary.json    counts
    OUT/NAME/journal.jsonl   media that were examined already; may be deleted

Everything but the journal is the same, byte for byte, however often the run was killed, however many
processes worked, and wherever the data lie.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emollama_ros.errors import InputError
from training.mmeverse.media_facts import MediaFacts, Span
from training.mmeverse.media_pass import Journal, Progress, examine_all, jobs_of
from training.mmeverse.schema import SCHEMA_VERSION, Media, Record, write_records
from training.mmeverse.sources import Found, Item, Reject, Source, read_items, source_named
from training.mmeverse.splits import SPLITS, assign

Facts = dict[str, MediaFacts]
#: Opens a progress bar: what is done, of how many.
Bar = Callable[[str, int], AbstractContextManager[Progress]]


def no_bar(what: str, total: int) -> AbstractContextManager[Progress]:
    """Show nothing."""
    return nullcontext(lambda more: None)


def prepare(name: str, root: Path, out: Path, *, jobs: int = 1, bar: Bar = no_bar) -> dict[str, Any]:
    """Read, check and write one source.

    Args:
        name: Of the source.
        root: Its folder, as distributed.
        out: The folder ``out / name`` is made and filled.
        jobs: Processes that examine media.
        bar: Shows progress.

    Returns:
        What ``summary.json`` says.

    Raises:
        InputError: No such source or folder, a table is missing, or nothing can be written to ``out``.
    """
    source, folder = source_named(name), out / name
    items = list(read_items(name, root))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        facts = _examine(items, root, Journal(folder / "journal.jsonl", root), jobs, bar)
        return _write(source, [_checked(item, facts) for item in items], facts, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error


def span_of(media: Media) -> Span:
    """Which part of its files a clip is."""
    return media.start_s, media.end_s


def _examine(items: Iterable[Item], root: Path, journal: Journal, jobs: int, bar: Bar) -> Facts:
    records = [item.record for item in items if isinstance(item, Found)]
    wanted = jobs_of((file, span_of(r.media)) for r in records for file in r.media.files())
    with bar("media files", len(wanted)) as progress:
        return {facts.file: facts for facts in examine_all(wanted, journal, jobs, progress)}


def _checked(item: Item, facts: Facts) -> Item:
    """The item, or the reject it has to be because of its media."""
    if isinstance(item, Reject):
        return item
    for problem in _problems(item.record.media, facts):
        return Reject(item.where, item.record.id, problem)
    return item


def _problems(media: Media, facts: Facts) -> Iterable[str]:
    """What is wrong with the files of a clip."""
    for what, has in (("video", "picture"), ("image", "picture"), ("audio", "sound")):
        file = getattr(media, what)
        if file is None:
            continue
        found = facts[file]
        problem = found.problem or found.print_of(span_of(media)).problem
        if not problem and not getattr(found, f"has_{has}"):
            problem = f"has no {has}"
        if problem:
            yield f"{what} {file}: {problem}"


def _write(source: Source, items: Sequence[Item], facts: Facts, folder: Path) -> dict[str, Any]:
    records = assign(
        [item.record for item in items if isinstance(item, Found)],
        has_splits=source.has_splits,
        is_evaluation_only=source.is_evaluation_only,
    )
    rejects = [item for item in items if isinstance(item, Reject)]
    for split in SPLITS:
        write_records((r for r in records if r.split == split), folder / f"{split}.jsonl")
    used = {file: None for record in records for file in record.media.files()}
    _write_lines(folder / "media.jsonl", (facts[file].model_dump(mode="json") for file in used))
    _write_lines(folder / "rejects.jsonl", map(asdict, rejects))
    summary = _summary(source, records, rejects, facts, folder)
    write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def write_text(path: Path, text: str) -> None:
    """Write a file complete or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def _summary(
    source: Source, records: Sequence[Record], rejects: Sequence[Reject], facts: Facts, folder: Path
) -> dict[str, Any]:
    """Counts; nothing about a single clip or person."""
    languages = [record.language for record in _clips(records).values()]
    splits = {split: [r for r in records if r.split == split] for split in SPLITS}
    return {
        "source": source.name,
        "schema_version": SCHEMA_VERSION,
        **{key: value for key, value in _counts(records, facts).items() if key != "labels"},
        "languages": dict(sorted(Counter(filter(None, languages)).items())),
        "splits": {split: _counts(found, facts) for split, found in splits.items()},
        "split_by": _split_by(source, records),
        "rejects": len(rejects),
        "rejects_by_reason": dict(Counter(_kind(r.reason) for r in rejects).most_common()),
        "sha256": {f"{split}.jsonl": _sha256(folder / f"{split}.jsonl") for split in SPLITS},
    }


def _split_by(source: Source, records: Iterable[Record]) -> str:
    if source.is_evaluation_only and all(record.split == "test" for record in records):
        return "everything is for testing"
    return "the authors" if source.has_splits else "person"


def _clips(records: Iterable[Record]) -> dict[str, Record]:
    """A record for each clip: those of further tasks are of the same clip."""
    return {record.id: record for record in records}


def _counts(records: Sequence[Record], facts: Facts) -> dict[str, Any]:
    clips = _clips(records)
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        labels[record.task.value].update(record.labels if record.label is None else (record.label,))
    return {
        "clips": len(clips),
        "records": len(records),
        "hours": round(sum(_seconds(r.media, facts) for r in clips.values()) / 3600, 4),
        "persons": len({r.person for r in records if r.person is not None}),
        "labels": {task: dict(counts.most_common()) for task, counts in sorted(labels.items())},
    }


def _seconds(media: Media, facts: Facts) -> float:
    """How long a clip is; 0 for a picture or a sentence."""
    file = media.video or media.audio
    if file is None:
        return 0.0
    duration_s = facts[file].duration_s
    end_s = duration_s if media.end_s is None else min(media.end_s, duration_s or media.end_s)
    return max(0.0, end_s - (media.start_s or 0.0))


#: Words by which reasons are counted together; the first that is in a reason tells its kind.
_KINDS = (
    "does not exist", "is empty (0 bytes)", "cut off", "not a readable", "neither picture nor sound",
    "cannot be decoded", "crashes the decoder", "the file ends at", "has no picture", "has no sound",
    "broken row", "duplicate id", "unknown label", "is empty", "is not a number", "is not in label_space",
)  # fmt: skip


def _kind(reason: str) -> str:
    """What a reason is counted as: the same words whatever file or value it names."""
    return next((kind for kind in _KINDS if kind in reason), reason.split(":")[0])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_media(folder: Path) -> Facts:
    """Read the ``media.jsonl`` of a prepared source.

    Raises:
        InputError: It is not there or damaged; names the line.
    """
    path = folder / "media.jsonl"
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); prepare the source again") from error
    facts = (_fact(line, f"{path}:{number}") for number, line in enumerate(lines, 1))
    return {each.file: each for each in facts}


def _fact(line: bytes, where: str) -> MediaFacts:
    try:
        return MediaFacts.model_validate_json(line)
    except ValueError as error:
        raise InputError(f"{where}: is not what `prepare` writes; prepare the source again") from error


def write_read(items: Iterable[Item], folder: Path) -> dict[str, int]:
    """Write records that were read elsewhere, in the splits they have, and what could not be read.

    Returns:
        How many ``records`` and ``rejects`` there are.

    Raises:
        InputError: Nothing can be written to ``folder``.
    """
    listed = list(items)
    records = [item.record for item in listed if isinstance(item, Found)]
    rejects = [item for item in listed if isinstance(item, Reject)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            write_records((r for r in records if r.split == split), folder / f"{split}.jsonl")
        _write_lines(folder / "rejects.jsonl", map(asdict, rejects))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    return {"records": len(records), "rejects": len(rejects)}
