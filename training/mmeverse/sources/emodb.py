"""Emo-DB: acted German speech, 7 emotions, 10 speakers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Media, Record, Task
from training.mmeverse.sources.base import Item, Row, Source, UnusableError, one_of, read_table, records

NAME = "emodb"

#: The ten sentences by their code, as its authors publish them.
SENTENCES: Mapping[str, str] = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def read(root: Path) -> Iterator[Item]:
    """Read ``labels.csv``; the recordings lie beside it."""
    return records(read_table(root, "labels.csv", ("path", "speaker", "text", "emotion")), _records)


def _records(row: Row) -> Iterator[Record]:
    path, code = row.filled("path"), row.filled("text")
    if code not in SENTENCES:
        raise UnusableError(f"unknown sentence {code!r}; known: {', '.join(SENTENCES)}")
    yield Record(
        id=Path(path).stem,
        source=NAME,
        split="train",
        person=f"{NAME}:{row.filled('speaker')}",
        media=Media(audio=path),
        transcript=SENTENCES[code],
        language="de",
        task=Task.EMOTION,
        label_space=LABEL_SPACES[NAME],
        label=one_of(row.filled("emotion"), LABEL_SPACES[NAME]),
    )


LAYOUT = """\
labels.csv        path,speaker,text,emotion (text: the code of the sentence, a01)
flac/*.flac       the recordings, as `path` names them"""

SOURCE = Source(
    name=NAME,
    title="Berlin Database of Emotional Speech (Emo-DB)",
    homepage="http://emodb.bilderbar.info",
    licence="free, citation asked",
    citation="Burkhardt et al., 2005, Interspeech",
    layout=LAYOUT,
    read=read,
    is_acted=True,
    has_splits=False,
)
