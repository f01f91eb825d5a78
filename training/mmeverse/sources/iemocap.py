"""IEMOCAP: ten actors in pairs, played and improvised, English; the four emotions that are scored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources.base import (
    Item,
    Reject,
    Row,
    Source,
    UnusableError,
    one_of,
    open_text,
    records,
)

NAME = "iemocap"
_SESSIONS = range(1, 6)
_TEST_SESSION = 5

#: What the raters' majority is called, and the label that is scored; excited is scored as happiness.
_SCORED: Mapping[str, str] = {
    "ang": "anger",
    "exc": "happiness",
    "hap": "happiness",
    "neu": "neutral",
    "sad": "sadness",
}
#: Frustration, fear, surprise, disgust, other, and no majority: IEMOCAP has them, no benchmark scores them.
_NOT_SCORED = ("fru", "fea", "sur", "dis", "oth", "xxx")

#: [12.5000 - 14.2500]   Ses01F_impro01_F000   neu   [2.5000, 3.0000, 3.5000]
_TURN = re.compile(
    r"\[(?P<start>\S+) - (?P<end>\S+)\]\s+(?P<turn>\S+)\s+(?P<emotion>\S+)\s+"
    r"\[(?P<valence>[^,\s]+),\s*(?P<activation>[^,\s]+),\s*(?P<dominance>[^,\s]+)\]\s*"
)
#: Ses01F_impro01_F000 [012.5000-014.2500]: Your ticket.
_WORDS = re.compile(r"(?P<turn>\S+) \[[\d.]+-[\d.]+\]:\s*(?P<words>.*)")


def read(root: Path) -> Iterator[Item]:
    """Read the evaluation and the transcript of every dialogue of the five sessions.

    Raises:
        InputError: There is no session at all.
    """
    folders = {number: f"Session{number}/dialog" for number in _SESSIONS}
    if not any((root / folder / "EmoEvaluation").is_dir() for folder in folders.values()):
        raise InputError(f"{root}: there is no Session1/dialog/EmoEvaluation")
    for number, folder in folders.items():
        yield from _session(root, number, folder)


def _session(root: Path, number: int, folder: str) -> Iterator[Item]:
    # Hidden files that macOS left in the distribution begin with "._".
    names = sorted(path.stem for path in (root / folder / "EmoEvaluation").glob("Ses*.txt"))
    if not names:
        yield Reject(f"{folder}/EmoEvaluation", f"Session{number}", "no such folder, or nothing in it")
    split: Split = "test" if number == _TEST_SESSION else "train"
    for name in names:
        yield from _dialogue(root, split, folder, name)


def _dialogue(root: Path, split: Split, folder: str, name: str) -> Iterator[Item]:
    words: dict[str, str] = {}
    transcript = f"{folder}/transcriptions/{name}.txt"
    try:
        words = _transcript(root, transcript)
    except InputError:
        yield Reject(transcript, name, "cannot be read: the records of this dialogue have no transcript")
    make = partial(_records, split, folder, name, words)
    yield from records(_turns(root, f"{folder}/EmoEvaluation/{name}.txt"), make, "turn")


def _transcript(root: Path, file: str) -> dict[str, str]:
    """What is said in each turn; lines of another form are stage directions or speech outside any turn."""
    with open_text(root, file) as stream:
        found = (_WORDS.fullmatch(line.strip()) for line in stream)
        return {match["turn"]: match["words"] for match in found if match}


def _turns(root: Path, file: str) -> Iterator[Row | Reject]:
    """The line that sums up each turn; the lines between are what each rater said."""
    with open_text(root, file) as stream:
        for number, line in enumerate(stream, 1):
            where = f"{file}:{number}"
            if match := _TURN.fullmatch(line):
                yield Row(where, match.groupdict())
            elif line.startswith("["):
                yield Reject(where, line.strip()[:60], "broken row: not [start - end] turn emotion [v, a, d]")


def _records(split: Split, folder: str, name: str, words: dict[str, str], row: Row) -> Iterator[Record]:
    turn = row.filled("turn")
    if (label := _label(row.filled("emotion"))) is None:
        return
    yield Record(
        id=turn,
        source=NAME,
        split=split,
        person=f"{NAME}:{_speaker(turn)}",
        group=f"{NAME}:{name}",
        media=Media(
            video=f"{folder}/avi/DivX/{name}.avi",
            audio=f"{folder}/wav/{name}.wav",
            start_s=row.number("start"),
            end_s=row.number("end"),
        ),
        transcript=words.get(turn, ""),
        language="en",
        task=Task.EMOTION,
        label_space=LABEL_SPACES[NAME],
        label=label,
        valence=_rescaled(row.number("valence")),
        arousal=_rescaled(row.number("activation")),
    )


def _label(word: str) -> str | None:
    """The label that is scored for this word; None for words that are known but not scored."""
    return _SCORED.get(one_of(word, (*_SCORED, *_NOT_SCORED)))


def _speaker(turn: str) -> str:
    """``Ses01M`` for ``Ses01F_impro01_M003``: the session, and the letter of who speaks, which comes last."""
    match = re.fullmatch(r"(Ses\d\d)[FM]_.+_([FM])\d+", turn)
    if match is None:
        raise UnusableError(f"turn {turn!r} does not say who speaks, as Ses01F_impro01_M003 does")
    return match[1] + match[2]


def _rescaled(rating: float) -> float:
    """From 1 to 5 to -1 to 1; a few means lie past an end (5.5) and count as that end."""
    return max(-1.0, min(1.0, (rating - 3) / 2))


LAYOUT = """\
Session1/dialog/EmoEvaluation/Ses01F_impro01.txt     labels and times of the turns
Session1/dialog/transcriptions/Ses01F_impro01.txt    what is said
Session1/dialog/avi/DivX/Ses01F_impro01.avi          both actors, side by side
Session1/dialog/wav/Ses01F_impro01.wav               their sound
Session2/ ... Session5/                              the same"""

SOURCE = Source(
    name=NAME,
    title="IEMOCAP",
    homepage="https://sail.usc.edu/iemocap/",
    licence="research use, under the release form of USC SAIL",
    citation="Busso et al., 2008, Language Resources and Evaluation 42",
    layout=LAYOUT,
    read=read,
    notes="Give the folder `IEMOCAP_full_release`; files and lines as the loaders of MERBench and other "
    "projects read them. Four labels are kept, as in MER-UniBench and MMEVerse: anger, happiness "
    "(with excited), neutral, sadness; turns of frustration, fear, surprise, disgust, other or "
    "without a majority are left out. The authors publish no split: sessions 1 to 4 train and session "
    "5 tests, as usual, so that no actor is in both. A record is a span of its dialogue, in the video "
    "and in the sound of the whole dialogue. The pictures show both actors side by side, the one "
    "whose letter is in the dialogue's name (F in Ses01F) on the left; the one who speaks has the "
    "letter at the end of the id. Valence and activation, rated 1 to 5, become -1 to 1. Some videos "
    "end before the last turns. A turn that the transcript lacks has no words.",
)
