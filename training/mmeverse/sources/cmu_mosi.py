"""CMU-MOSI: opinions about films on YouTube, English; sentiment -3 to 3."""

from __future__ import annotations

from training.mmeverse.sources._mmsa import LAYOUT, NOTES, Scores
from training.mmeverse.sources.base import Source

NAME = "cmu_mosi"

SOURCE = Source(
    name=NAME,
    title="CMU-MOSI",
    homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosi-dataset/",
    licence="research use, as the CMU MultiComp Lab grants it; the videos belong to their makers",
    citation="Zadeh et al., 2016, IEEE Intelligent Systems 31(6)",
    layout=LAYOUT.format(table="label.csv"),
    read=Scores(NAME, "en", (-3.0, 3.0), one_speaker=True).read,
    notes=NOTES
    + "The split is MMSA's `mode` (1,284 train, 229 valid, 686 test). A video has one speaker, who "
    "counts as a person; some people made more than one video, which the table does not tell.",
)
