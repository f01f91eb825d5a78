"""The table that CMU-MOSI, CMU-MOSEI, CH-SIMS and CH-SIMS v2 share, as the MMSA project distributes them.

A row a clip: ``video_id``, ``clip_id``, ``text``, ``label`` (a score) and ``mode`` (the split); the clip is
``Raw/<video_id>/<clip_id>.mp4``. The columns ``label_T``, ``label_A``, ``label_V`` (one modality at a time)
and ``annotation`` (the score in a word) are there too and are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES, sentiment_of
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources.base import Item, Row, first_present, read_table, records, split_named

_COLUMNS = ("video_id", "clip_id", "text", "label", "mode")


@dataclass(frozen=True)
class Scores:
    """How one of these sets fills in the shared table.

    Attributes:
        source: Name of the source.
        language: BCP 47 tag of what is said.
        score_range: Least and greatest score.
        tables: Names the table goes by; the first that is there is read.
        clip_digits: Clips are named with this many digits, whether or not the table still has the zeros.
        one_speaker: A video shows one person throughout.
    """

    source: str
    language: str
    score_range: tuple[float, float]
    tables: tuple[str, ...] = ("label.csv",)
    clip_digits: int = 0
    one_speaker: bool = False

    def read(self, root: Path) -> Iterator[Item]:
        """Read the table; the clips lie under ``Raw``.

        Raises:
            InputError: The table is not there, or lacks a column.
        """
        table = first_present(root, self.tables)
        yield from records(read_table(root, table, _COLUMNS), partial(_records, self), "video_id")


def _records(scores: Scores, row: Row) -> Iterator[Record]:
    video, clip = row.filled("video_id"), row.filled("clip_id").zfill(scores.clip_digits)
    score = row.number("label")
    yield Record(
        id=f"{video}_{clip}",
        source=scores.source,
        split=split_named(row.filled("mode")),
        person=f"{scores.source}:{video}" if scores.one_speaker else None,
        group=f"{scores.source}:{video}",
        media=Media(video=f"Raw/{video}/{clip}.mp4"),
        transcript=row.text("text"),
        language=scores.language,
        task=Task.SENTIMENT,
        label_space=LABEL_SPACES["sentiment"],
        label=sentiment_of(score),
        sentiment_score=score,
        sentiment_range=scores.score_range,
    )


LAYOUT = """\
{table:<34}video_id,clip_id,text,label,...,mode
Raw/<video_id>/<clip_id>.mp4      the clips"""

NOTES = (
    "Read as the MMSA project distributes it, columns and folders as its tools (MMSA-FET) read them. "
    "`label` is the score, and the word is its sign: negative below 0, positive above, neutral at 0, as in "
    "MER-UniBench; scoring drops the neutral clips and says how many. "
)
