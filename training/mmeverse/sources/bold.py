"""BoLD: body language in films, a clip and character at a time; 26 categories, valence and arousal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Split, Task
from training.mmeverse.sources.base import Item, Row, Source, UnusableError, read_table, records

NAME = "bold"
CATEGORIES = LABEL_SPACES[NAME]

#: The columns of the tables, which have no header.
COLUMNS = (
    "video", "person_id", "min_frame", "max_frame", *CATEGORIES, "valence", "arousal", "dominance",
    "gender", "age", "ethnicity", "annotation_confidence",
)  # fmt: skip
FILES: Mapping[str, Split] = {"annotations/train.csv": "train", "annotations/val.csv": "validation"}

#: A category is a label from this share on; MMEVerse does not publish its rule.
SHOWN_FROM = 0.5
#: Ends of the scale on which valence and arousal were rated.
_LOWEST, _HIGHEST = 1.0, 10.0


def read(root: Path) -> Iterator[Item]:
    """Read both labelled tables; the clips lie under ``videos``.

    Raises:
        InputError: A table is not there.
    """
    for file, split in FILES.items():
        rows = read_table(root, file, COLUMNS, has_header=False)
        yield from records(rows, partial(_records, split), "video")


def _records(split: Split, row: Row) -> Iterator[Record]:
    clip = PurePosixPath(row.filled("video"))
    labels = tuple(category for category in CATEGORIES if _share(row, category) >= SHOWN_FROM)
    valence, arousal = _rescaled(row, "valence"), _rescaled(row, "arousal")
    if not labels:
        return
    film = _film(clip)
    yield Record(
        id=f"{film}_{clip.stem}_{row.number('person_id'):g}",
        source=NAME,
        split=split,
        group=f"{NAME}:{film}",
        media=Media(video=f"videos/{clip}"),
        task=Task.MULTI_LABEL,
        label_space=CATEGORIES,
        labels=labels,
        valence=valence,
        arousal=arousal,
    )


def _film(clip: PurePosixPath) -> str:
    """The YouTube id of ``003/<id>.mp4/0114.mp4``: a folder named like the film's file."""
    if len(clip.parts) < 2:
        raise UnusableError(f"column 'video': {str(clip)!r} is not <folder>/<film>.mp4/<clip>.mp4")
    return PurePosixPath(clip.parts[-2]).stem


def _share(row: Row, category: str) -> float:
    share = row.number(category)
    if not 0 <= share <= 1:
        raise UnusableError(f"category {category!r}: {share:g} is not within 0 to 1")
    return share


def _rescaled(row: Row, column: str) -> float:
    value = row.number(column)
    if not _LOWEST <= value <= _HIGHEST:
        raise UnusableError(f"column {column!r}: {value:g} is not within {_LOWEST:g} to {_HIGHEST:g}")
    return (2 * value - _LOWEST - _HIGHEST) / (_HIGHEST - _LOWEST)


LAYOUT = """\
annotations/train.csv             no header: video, person_id, min_frame, max_frame, 26 categories,
                                  valence, arousal, dominance, gender, age, ethnicity, confidence
annotations/val.csv               the same
videos/003/<film>.mp4/0114.mp4    the clips, as `video` names them"""

SOURCE = Source(
    name=NAME,
    title="BoLD (Body Language Dataset)",
    homepage="https://cydar.ist.psu.edu/emotionchallenge/dataset.php",
    licence="research use, on request; the scenes belong to their makers",
    citation="Luo et al., 2020, International Journal of Computer Vision 128",
    layout=LAYOUT,
    read=read,
    notes="Columns as the solutions of the authors' challenge (BEEU, ECCV 2020 workshops) read them; give "
    "the folder `BOLD_public`. A row is one character of a clip, so a clip may come more than once, "
    "with the character's number at the end of the id. The 26 categories come as shares between 0 and "
    f"1, and one is a label from {SHOWN_FROM:g} on; this rule is ours, since MMEVerse does not publish "
    "its own. Characters for whom no category reaches that are left out. Valence and arousal, rated 1 "
    "to 10, become -1 to 1; dominance and the character's gender, age and ethnicity are not taken. "
    "The labels of `test` are not public, so that MMEVerse-Bench scores `val`, here `validation`. A "
    "record is the whole clip, not only the frames that show the character. Characters are not "
    "followed from one clip to the next: there are films, but no persons.",
)
