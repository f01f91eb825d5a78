"""CMU-MOSEI: people speaking into their camera on YouTube, English; sentiment -3 to 3."""

from __future__ import annotations

from training.mmeverse.sources._mmsa import LAYOUT, NOTES, Scores
from training.mmeverse.sources.base import Source

NAME = "cmu_mosei"

SOURCE = Source(
    name=NAME,
    title="CMU-MOSEI",
    homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    licence="research use, as the CMU MultiComp Lab grants it; the videos belong to their makers",
    citation="Bagher Zadeh et al., 2018, ACL",
    layout=LAYOUT.format(table="label.csv"),
    read=Scores(NAME, "en", (-3.0, 3.0), one_speaker=True).read,
    notes=NOTES
    + "The split is MMSA's `mode` (16,326 train, 1,871 valid, 4,659 test). A video has one speaker, who "
    "counts as a person; about 1,000 people made the 3,228 videos, which the table does not tell. The "
    "six emotion intensities are in the .csd files of the CMU SDK only and are not read.",
)
