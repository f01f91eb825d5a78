"""CH-SIMS: scenes of Chinese films, series and shows; sentiment -1 to 1; measured on, never trained on."""

from __future__ import annotations

from training.mmeverse.sources._mmsa import LAYOUT, NOTES, Scores
from training.mmeverse.sources.base import Source

NAME = "ch_sims"

SOURCE = Source(
    name=NAME,
    title="CH-SIMS",
    homepage="https://github.com/thuiar/MMSA",
    licence="research use; the scenes belong to their makers",
    citation="Yu et al., 2020, ACL",
    layout=LAYOUT.format(table="label.csv"),
    read=Scores(NAME, "zh", (-1.0, 1.0), clip_digits=4).read,
    notes=NOTES
    + "The split is `mode` (1,368 train, 456 valid, 457 test), of which MER-UniBench scores `test`. "
    "Clips are named with four digits (`0001.mp4`); a table that a spreadsheet has taken the zeros "
    "from is read the same. Evaluation only, as in MMEVerse; but CH-SIMS v2, which is trained on, "
    "extends it: look at the leakage report before calling a result zero-shot. Who speaks is not "
    "told.",
    is_evaluation_only=True,
)
