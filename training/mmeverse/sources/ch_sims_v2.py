"""CH-SIMS v2(s), the supervised part: scenes of Chinese films, series and shows; sentiment -1 to 1."""

from __future__ import annotations

from training.mmeverse.sources._mmsa import LAYOUT, NOTES, Scores
from training.mmeverse.sources.base import Source

NAME = "ch_sims_v2"

SOURCE = Source(
    name=NAME,
    title="CH-SIMS v2(s)",
    homepage="https://github.com/thuiar/ch-sims-v2",
    licence="research use; the scenes belong to their makers",
    citation="Liu et al., 2022, ICMI",
    layout=LAYOUT.format(table="meta.csv"),
    read=Scores(NAME, "zh", (-1.0, 1.0), tables=("meta.csv", "meta(s).csv")).read,
    notes=NOTES
    + "Give the folder of the supervised part, `ch-simsv2s`, with `Raw.zip` unpacked in it; the table "
    "is `meta.csv`, or `meta(s).csv` as it is called on its own. The split is `mode` (2,722 train, "
    "647 valid, 1,034 test). It extends CH-SIMS, whose clips it may repeat. The unsupervised part has "
    "no labels and is not read. Who speaks is not told.",
)
