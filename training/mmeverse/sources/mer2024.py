"""MER2024: the test set of its track MER-SEMI, 6 emotions; measured on, never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.mmeverse.sources._files import clips_under
from training.mmeverse.sources._mer import read_discrete, read_subtitles
from training.mmeverse.sources.base import Item, Source

NAME = "mer2024"
_FOLDERS = ("video-unlabeled", "video-unlabeled-with-test2noise", "video")


def read(root: Path) -> Iterator[Item]:
    """Read the reference labels of MER-SEMI."""
    subtitles = read_subtitles(root)
    yield from subtitles.rejects
    clips = clips_under(root, _FOLDERS)
    yield from read_discrete(NAME, root, "reference-semi.csv", clips, "test", subtitles)


LAYOUT = """\
reference-semi.csv         name,discrete: the labels of MER-SEMI, published after the challenge
video-unlabeled/NAME.mp4   the clips (or video-unlabeled-with-test2noise/, or video/)
transcription-merge.csv    name,chinese,english: optional (or subtitle_chieng.csv, as of MER2025)"""

SOURCE = Source(
    name=NAME,
    title="MER2024, MER-SEMI",
    homepage="https://huggingface.co/datasets/MERChallenge/MER2024",
    licence="end user licence agreement: academic research only",
    citation="Lian et al., 2024, MRAC at ACM Multimedia",
    layout=LAYOUT,
    read=read,
    notes="Only the 1,169 test clips of MER-SEMI, as in MER-UniBench and MMEVerse-Bench; the labelled "
    "training part (label-disdim.csv) is not read, because it extends MER2023. It shares sources with "
    "MER2023: look at the leakage report before results are called zero-shot. The names of the folders "
    "are those of the organisers' tools, the name of the reference table is that in public evaluation "
    "code. MER-UniBench ships the same labels as label-6way.npz, a pickle that is not opened here, "
    "since opening one runs code.",
    is_evaluation_only=True,
)
