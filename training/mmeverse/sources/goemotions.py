"""GoEmotions in the Ekman grouping: sentences, 7 emotions, several a sentence; the published split is kept.

The sentences have no author, so every one counts as a person of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from training.mmeverse.schema import Record, Split, Task
from training.mmeverse.sources.base import Item, Reject, Row, Source, UnusableError, open_text, records

NAME = "goemotions"

#: File of each published split that is distributed in this grouping here, and the name its ids begin with.
FILES: Mapping[str, tuple[Split, str]] = {
    "ekman_train.tsv": ("train", "train"),
    "ekman_dev.tsv": ("validation", "dev"),
}
_COLUMNS = ("text", "labels", "key")


def read(root: Path) -> Iterator[Item]:
    """Read the sentences of both splits: a record for all labels, one more where there is just one."""
    with open_text(root, "ekman_labels.txt") as stream:
        names = tuple(stream.read().split())
    return chain.from_iterable(
        records(_rows(root, file), partial(_records, names, split, prefix), "key")
        for file, (split, prefix) in FILES.items()
    )


def _rows(root: Path, file: str) -> Iterator[Row | Reject]:
    """The file has no header, and quotes in it are only quotes."""
    with open_text(root, file) as stream:
        for number, line in enumerate(stream, 1):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) == len(_COLUMNS):
                yield Row(f"{file}:{number}", dict(zip(_COLUMNS, cells, strict=True)))
            else:
                yield Reject(f"{file}:{number}", cells[-1], f"broken row: {len(cells)} cells where 3 belong")


def _records(names: tuple[str, ...], split: Split, prefix: str, row: Row) -> Iterator[Record]:
    labels = tuple(_label(names, index) for index in row.filled("labels").split(","))
    key = row.filled("key")
    common = {
        "id": f"{prefix}/{key}",
        "source": NAME,
        "split": split,
        "person": f"{NAME}:{key}",
        "transcript": row.filled("text"),
        "language": "en",
        "label_space": names,
    }
    yield Record(task=Task.MULTI_LABEL, labels=labels, **common)
    if len(labels) == 1:
        yield Record(task=Task.EMOTION, label=labels[0], **common)


def _label(names: tuple[str, ...], index: str) -> str:
    if not index.isdigit() or int(index) >= len(names):
        raise UnusableError(f"unknown label index {index!r}; known: 0 to {len(names) - 1}")
    return names[int(index)]


LAYOUT = """\
ekman_labels.txt  a label a line
ekman_train.tsv   text, label indices, key; no header
ekman_dev.tsv     the same"""

SOURCE = Source(
    name=NAME,
    title="GoEmotions, Ekman grouping",
    homepage="https://github.com/monologg/GoEmotions-pytorch",
    licence="Apache-2.0; data CC BY 4.0",
    citation="Demszky et al., 2020, ACL",
    layout=LAYOUT,
    read=read,
)
