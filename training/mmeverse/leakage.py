"""Who and what is in more than one split: across sources and inside them.

Six things are looked for:

- ``same_content``: files with the same bytes (and, of one file, overlapping parts) under different ids;
- ``near_duplicate``: what looks and sounds the same, though it was encoded anew, scaled or made louder;
- ``same_words``: sentences without media that are equal but for case and blanks;
- ``same_id``: a clip in two splits, or an id in two sources that are known to share clips;
- ``same_person`` and ``same_group``: somebody, or a film or dialogue, in several splits.

A finding is a leak where it joins different splits: what is tested was trained on. Inside one split it is a
repetition, and counts once more than it should.

A near duplicate needs equal pictures and equal sound where both clips have both: a person before a resting
camera looks the same in every clip, and a dubbed copy is therefore not found by its pictures alone.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from emollama_ros.errors import InputError
from training.mmeverse.near import differing_bits, near_pairs, words
from training.mmeverse.prepare import Facts, read_media, span_of
from training.mmeverse.schema import Media, Record, read_records
from training.mmeverse.splits import SPLITS

#: Sources that extend or draw from each other, so that an id means the same in all of them (CH-SIMS v2
#: extends CH-SIMS; MER2024 and OV-MERD+ hold clips of MER2023).
FAMILIES: tuple[frozenset[str], ...] = (
    frozenset({"ch_sims", "ch_sims_v2"}),
    frozenset({"mer2023", "mer2024", "ov_merd_plus"}),
)
#: Bits of 128 in which the sound of a copy may differ. Copies of Emo-DB and RAVDESS in AAC and MP3, 24 to
#: 96 kbit/s, 5 to 50 % as loud, differ in 10 at most; of those in Opus at 16 kbit/s some in more.
#: Two sayings of a sentence by one speaker differ in 20 or more in Emo-DB; in RAVDESS, whose actors repeat
#: themselves closely, four pairs of 700,000 differ in 10.
SOUND_LIMIT = 10
#: Bits of 64 in which one picture may differ, and in which all of a clip's may on average. Copies of half to
#: twice the size at 15 to 30 pictures a second differ in 6 and 3 at most.
PICTURE_LIMIT, MEAN_PICTURE_LIMIT = 6, 4.0
#: Copies are equally long, but for an encoder's padding.
_LONGER_S, _LONGER = 0.25, 0.05

KINDS = ("same_content", "near_duplicate", "same_words", "same_id", "same_person", "same_group")


@dataclass(frozen=True)
class Clip:
    """A clip of a prepared source, with what tells its copies.

    Attributes:
        source: Name of the source.
        split: Its split.
        id: Unique within the source, but for damage.
        person: ``source:name``, or None.
        group: ``source:name``, or None.
        media: Its files.
        words: What is said, for a clip without media; else empty.
        contents: sha256 of its files.
        pictures: Hashes of its pictures, 64 bits each.
        sound: Print of its sound, 128 bits; or "".
        duration_s: Of its files; 0 for a picture.
    """

    source: str
    split: str
    id: str
    person: str | None
    group: str | None
    media: Media
    words: str
    contents: tuple[str, ...]
    pictures: tuple[str, ...]
    sound: str
    duration_s: float

    @property
    def place(self) -> tuple[str, str]:
        """Source and split."""
        return self.source, self.split


@dataclass(frozen=True)
class Finding:
    """Something that is in more than one place.

    Attributes:
        kind: One of `KINDS`.
        what: The person or group; the clips otherwise.
        clips: How many clips of each source and split.
        apart: For near duplicates: bits of 64 by which pictures differ on average, bits of 128 of the sound.
    """

    kind: str
    what: tuple[str, ...]
    clips: Mapping[tuple[str, str], int]
    apart: Mapping[str, float] | None = None

    @property
    def is_leak(self) -> bool:
        """It joins different splits."""
        return len({split for _, split in self.clips}) > 1

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        clips = {"/".join(place): n for place, n in sorted(self.clips.items())}
        found = {"kind": self.kind, "is_leak": self.is_leak, "what": list(self.what), "clips": clips}
        return found | ({"apart": dict(self.apart)} if self.apart else {})


def check(folder: Path, sources: Sequence[str] | None = None) -> list[Finding]:
    """Look for leaks among prepared sources.

    Args:
        folder: What `prepare` wrote to.
        sources: Their names; None for all that are there.

    Raises:
        InputError: None is there, or one is damaged.
    """
    names = sources if sources is not None else prepared(folder)
    if not names:
        raise InputError(f"{folder}: no prepared source there; run `python -m training prepare` first")
    return find([clip for name in names for clip in read_clips(folder / name)])


def prepared(folder: Path) -> list[str]:
    """Names of the sources that were prepared into a folder."""
    return sorted(path.parent.name for path in folder.glob("*/summary.json"))


def read_clips(folder: Path) -> list[Clip]:
    """Read the clips of a prepared source.

    Raises:
        InputError: A file of it is missing or damaged.
    """
    facts, found = read_media(folder), {}
    for split in SPLITS:
        path = folder / f"{split}.jsonl"
        if not path.is_file():
            raise InputError(f"{path}: is not there; prepare {folder.name} again")
        for record in read_records(path):
            found[record.id, split] = _clip(record, facts, path)
    return list(found.values())


def _clip(record: Record, facts: Facts, path: Path) -> Clip:
    media, span = record.media, span_of(record.media)
    if lost := [file for file in media.files() if file not in facts]:
        raise InputError(f"{path}: {lost[0]} ({record.id}) is not in media.jsonl; prepare the source again")
    seen, heard = media.video or media.image, media.audio or media.video
    return Clip(
        **{name: getattr(record, name) for name in ("source", "split", "id", "person", "group", "media")},
        words=" ".join(record.transcript.casefold().split()) if not media.files() else "",
        contents=tuple(facts[file].sha256 for file in media.files()),
        pictures=facts[seen].print_of(span).pictures if seen else (),
        sound=facts[heard].print_of(span).sound if heard else "",
        duration_s=_duration_s(media, facts[heard].duration_s if heard else 0.0),
    )


def _duration_s(media: Media, whole_s: float) -> float:
    return (whole_s if media.end_s is None else media.end_s) - (media.start_s or 0.0)


def find(clips: Sequence[Clip]) -> list[Finding]:
    """Look for everything, the clips of all sources together."""
    same = list(_same_content(clips))
    known = {pair for finding in same for pair in combinations(sorted(finding.what), 2)}
    near = [f for f in _near_duplicates(clips) if tuple(sorted(f.what)) not in known]
    return [*same, *near, *_same_words(clips), *_same_id(clips), *_same_person(clips), *_same_group(clips)]


def _gather(clips: Iterable[Clip], key: Callable[[Clip], Iterable[Hashable]]) -> Iterator[list[Clip]]:
    """Clips that share a key, two or more."""
    found: dict[Hashable, list[Clip]] = defaultdict(list)
    for clip in clips:
        for each in key(clip):
            found[each].append(clip)
    return (members for members in found.values() if len(members) > 1)


def _of_clips(kind: str, clips: Sequence[Clip], apart: Mapping[str, float] | None = None) -> Finding:
    names = tuple(f"{clip.source}/{clip.split}/{clip.id}" for clip in clips)
    return Finding(kind, names, Counter(clip.place for clip in clips), apart)


def _same_content(clips: Sequence[Clip]) -> Iterator[Finding]:
    told = set()
    for members in _gather(clips, lambda clip: set(clip.contents)):
        for overlapping in _overlapping(members):
            finding = _of_clips("same_content", overlapping)
            # A clip's video and sound may both be those of another.
            if finding.what not in told:
                told.add(finding.what)
                yield finding


def _overlapping(clips: Sequence[Clip]) -> Iterator[list[Clip]]:
    """Sets of clips that share some time of the same file."""
    run: list[Clip] = []
    until = -1.0
    for clip in sorted(clips, key=lambda c: c.media.start_s or 0.0):
        if run and (clip.media.start_s or 0.0) >= until:
            yield from [run] if len(run) > 1 else []
            run, until = [], -1.0
        run.append(clip)
        until = max(until, clip.media.end_s or float("inf"))
    yield from [run] if len(run) > 1 else []


def _same_words(clips: Sequence[Clip]) -> Iterator[Finding]:
    for members in _gather(clips, lambda clip: [clip.words] if clip.words else []):
        yield _of_clips("same_words", members)


def _same_id(clips: Sequence[Clip]) -> Iterator[Finding]:
    family = {name: number for number, names in enumerate(FAMILIES) for name in names}
    for members in _gather(clips, lambda clip: [(family.get(clip.source, clip.source), clip.id)]):
        yield _of_clips("same_id", members)


def _same_person(clips: Sequence[Clip]) -> Iterator[Finding]:
    for members in _gather(clips, lambda clip: [_somebody(clip.person)] if clip.person else []):
        yield from _in_several_splits("same_person", members, {clip.person or "" for clip in members})


def _somebody(person: str) -> str:
    """What tells a person in all sources: the name. Numbers and codes mean something in one source only."""
    name = person.partition(":")[2]
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if c.isalnum())
    is_name = sum(c.isalpha() for c in plain) >= 3 and not any(c.isdigit() for c in plain)
    return plain if is_name and "_" not in name[:1] else person


def _same_group(clips: Sequence[Clip]) -> Iterator[Finding]:
    for members in _gather(clips, lambda clip: [_film(clip)] if clip.group else []):
        yield from _in_several_splits("same_group", members, {clip.group or "" for clip in members})


def _film(clip: Clip) -> str:
    """What tells a film in all sources: the address of an Internet video, else the name within its family."""
    name = (clip.group or "").partition(":")[2]
    if len(name) == 11 and not name.isdigit() and not name.islower():
        return name
    return next((f"{min(family)}:{name}" for family in FAMILIES if clip.source in family), clip.group or "")


def _in_several_splits(kind: str, clips: Sequence[Clip], names: set[str]) -> Iterator[Finding]:
    places = Counter(clip.place for clip in clips)
    if len({split for _, split in places}) > 1:
        yield Finding(kind, tuple(sorted(names)), places)


def _near_duplicates(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Pairs, in order: by sound where both have sound, else by pictures."""
    heard = _pairs(clips, lambda clip: clip.sound, SOUND_LIMIT)
    seen = {pair for pair in _looking_alike(clips) if not all(clips[i].sound for i in pair)}
    for i, j in sorted(heard.keys() | seen):
        apart = {"sound": float(heard[i, j])} if (i, j) in heard else {}
        if (pictures := _pictures_apart(clips[i], clips[j])) <= MEAN_PICTURE_LIMIT:
            apart["pictures"] = pictures
        if apart and _equally_long(clips[i], clips[j]):
            yield _of_clips("near_duplicate", (clips[i], clips[j]), apart)


def _looking_alike(clips: Sequence[Clip]) -> Iterator[tuple[int, int]]:
    """Pairs with a picture in common; only among as many pictures, and where sound does not decide alone."""
    for count in sorted({len(clip.pictures) for clip in clips if clip.pictures and not clip.sound}):
        yield from _pairs(
            clips, lambda c, n=count: _leading_picture(c) if len(c.pictures) == n else "", PICTURE_LIMIT
        )


def _pairs(clips: Sequence[Clip], key: Callable[[Clip], str], limit: int) -> dict[tuple[int, int], int]:
    """Pairs of clips whose prints differ by little."""
    keys = [key(clip) for clip in clips]
    places = np.array([i for i, text in enumerate(keys) if text], dtype=np.int64)
    if len(places) < 2:
        return {}
    left, right, apart = near_pairs(words([text for text in keys if text]), limit)
    pairs = zip(places[left].tolist(), places[right].tolist(), strict=True)
    return dict(zip(pairs, apart.tolist(), strict=True))


def _leading_picture(clip: Clip) -> str:
    """The picture by which candidates are found: one near the middle, where films rarely are black."""
    return clip.pictures[(len(clip.pictures) - 1) // 2] if clip.pictures else ""


def _pictures_apart(a: Clip, b: Clip) -> float:
    """Bits by which two clips' pictures differ on average; infinite where they cannot be compared."""
    if len(a.pictures) != len(b.pictures):
        return float("inf")
    both = [(x, y) for x, y in zip(a.pictures, b.pictures, strict=True) if x and y]
    if not both:
        return float("inf")
    left, right = (words(side) for side in zip(*both, strict=True))
    return float(differing_bits(left, right).mean())


def _equally_long(a: Clip, b: Clip) -> bool:
    return abs(a.duration_s - b.duration_s) <= _LONGER_S + _LONGER * max(a.duration_s, b.duration_s)


def counts(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """How often each kind joins which places; leaks first, most frequent first."""
    found = Counter((f.is_leak, f.kind, tuple(sorted("/".join(p) for p in f.clips))) for f in findings)
    order = sorted(found.items(), key=lambda of: (not of[0][0], KINDS.index(of[0][1]), -of[1], of[0][2]))
    return [
        {"kind": kind, "is_leak": is_leak, "between": list(between), "findings": n}
        for (is_leak, kind, between), n in order
    ]


def report(folder: Path, sources: Sequence[str], findings: Sequence[Finding], *, whole: bool) -> str:
    """The report as JSON.

    Args:
        folder: What `prepare` wrote to.
        sources: Names of those that were checked.
        findings: Of `check`.
        whole: With every finding; it names clips and people.
    """
    summaries = {name: json.loads((folder / name / "summary.json").read_text("utf-8")) for name in sources}
    return json.dumps(
        {
            "sources": {name: summary["clips"] for name, summary in summaries.items()},
            "limits": {
                "sound_bits_of_128": SOUND_LIMIT,
                "picture_bits_of_64": PICTURE_LIMIT,
                "mean_picture_bits_of_64": MEAN_PICTURE_LIMIT,
            },
            "leaks": sum(finding.is_leak for finding in findings),
            "repetitions": sum(not finding.is_leak for finding in findings),
            "counts": counts(findings),
            **({"findings": [finding.to_json() for finding in findings]} if whole else {}),
        },
        indent=1,
        ensure_ascii=False,
    )
