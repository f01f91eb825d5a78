"""OV-MERD+: clips with as many emotion words as fit, in any words; measured on, never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources._files import Clips, clips_under
from training.mmeverse.sources._mer import HOMEPAGE_2025, Subtitles, labels_in, read_subtitles
from training.mmeverse.sources.base import Item, Row, Source, first_present, read_table, records

NAME = "ov_merd_plus"
_TABLES = ("ovlabel.csv", "check-result-openset-chi-translate.csv")


def read(root: Path) -> Iterator[Item]:
    """Read the table of open-vocabulary labels."""
    table = first_present(root, _TABLES)
    subtitles = read_subtitles(root)
    yield from subtitles.rejects
    make = partial(_records, clips_under(root, ("video",)), subtitles)
    yield from records(read_table(root, table, ("name", "openset")), make, "name")


def _records(clips: Clips, subtitles: Subtitles, row: Row) -> Iterator[Record]:
    name = row.filled("name")
    yield Record(
        id=name,
        source=NAME,
        split="test",
        media=Media(video=clips.path(name)),
        task=Task.OPEN_VOCABULARY,
        labels=labels_in(row.filled("openset")),
        **subtitles.of(name),
    )


LAYOUT = """\
ovlabel.csv        name,openset; openset is a list as text: "['happy', 'excited']"
                   (or check-result-openset-chi-translate.csv, as Emotion-LLaMAv2 ships it)
video/NAME.mp4     the clips
subtitle_eng.csv   name,sentence: optional (or subtitle_chieng.csv: name,chinese,english)"""

SOURCE = Source(
    name=NAME,
    title="OV-MERD+",
    homepage=HOMEPAGE_2025,
    licence="end user licence agreement: academic research only",
    citation="Lian et al., 2024, arXiv 2410.01495; Lian et al., 2025, arXiv 2501.16566",
    layout=LAYOUT,
    read=read,
    notes="All 532 clips of MER-UniBench are test. The labels are kept as an open vocabulary, in lower case, "
    "each once; the emotion wheels group them when they are scored. Where subtitle_eng.csv is the only "
    "table of words, the transcript is the English translation of what is said in Mandarin.",
    is_evaluation_only=True,
)
