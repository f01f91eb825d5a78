"""The benchmark suites as data: which clips, what is asked of them, which metric counts, what was published.

`mer-unibench` is MER-UniBench (AffectGPT, arXiv 2501.16566), `mmeverse` is MMEVerse-Bench (arXiv 2601.16449),
`open` is five sets that anybody may download and that stand in for them where nothing else is at hand.

A published figure stands here only if it could be read somewhere; where that was not the paper itself, it
says so. Of MMEVerse-Bench only means over all eighteen sets could be read, and not how each set enters them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Split, Task


@dataclass(frozen=True)
class Metric:
    """A figure of a set.

    Attributes:
        name: Key in reports.
        title: As in tables.
        definition: What it is, in a sentence or two.
    """

    name: str
    title: str
    definition: str


_METRICS = (
    Metric("uar", "UAR", "Unweighted average recall: mean recall of the labels that are true of a clip."),
    Metric("war", "WAR", "Weighted average recall: share of clips told right, the plain accuracy."),
    Metric("waf", "WAF", "F1 of the labels, weighted by how often each is true."),
    Metric("macro_f1", "macro F1", "Mean of the F1 of the labels that are true of a clip."),
    Metric(
        "war_all", "WAR, dropped are wrong",
        "Accuracy over all clips of the set, those without a usable prediction counted as wrong.",
    ),
    Metric(
        "uar_sayable", "UAR, sayable labels",
        "UAR over the clips whose true label the model has a word for; only such labels compete.",
    ),
    Metric("ece", "ECE", "Expected calibration error of the most probable label, ten bins of equal width."),
    Metric(
        "hit_rate", "hit rate",
        "Share of clips whose true label is in the same sector of an emotion wheel as an answered one, mean "
        "over five wheels. Truly neutral clips are on no wheel and are skipped: it is not an accuracy.",
    ),
    Metric("m_score", "m_score", "As the hit rate, but a hit is divided by the number of answered sectors."),
    Metric("ov_f", "open-vocabulary F", "Harmonic mean of mean precision and recall; mean over wheels."),
    Metric("ov_precision", "OV precision", "Share of answered sectors that are true; mean as above."),
    Metric("ov_recall", "OV recall", "Share of true sectors that were answered; mean as above."),
    Metric(
        "sentiment_waf", "WAF, neutral dropped",
        "Weighted F1 of positive against not positive, over clips whose true score is not 0.",
    ),
    Metric("sentiment_acc", "ACC, neutral dropped", "Accuracy of the same, over the same clips."),
    Metric("sentiment3_waf", "WAF, neutral kept", "Weighted F1 of three classes, over all clips."),
    Metric("sentiment3_acc", "ACC, neutral kept", "Accuracy of three classes, over all clips."),
    Metric("micro_f1", "micro F1", "F1 over all decisions, a label and a clip, together."),
    Metric("sample_f1", "sample F1", "Mean over clips of the F1 of the clip's set of labels."),
    Metric("jaccard", "Jaccard", "Mean over clips of common labels over all labels."),
    Metric("mean_ap", "mAP", "Mean over labels of the average precision; without scores, yes and no rank."),
    Metric("clue_overlap", "clue overlap", "What the judge gives the explanation beside the clues, 0 to 10."),
    Metric("label_overlap", "label overlap", "What the judge gives labels told beside true ones, 0 to 10."),
)  # fmt: skip
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}

_SINGLE = ("uar", "war", "waf", "macro_f1", "war_all")
_WHEEL = ("hit_rate", "m_score", *_SINGLE)
_CLASSES = ("waf", "war", "uar", "macro_f1", "war_all")
_SIGNS = "sentiment"
_SENTIMENT = ("sentiment_waf", "sentiment_acc", "sentiment3_waf", "sentiment3_acc")
_MULTI = ("micro_f1", "sample_f1", "jaccard", "mean_ap")
_OPEN = ("ov_f", "ov_precision", "ov_recall")


@dataclass(frozen=True)
class BenchmarkSet:
    """One set of a suite.

    Attributes:
        name: Unique within all suites.
        title: As its authors write it.
        source: Name in `training.mmeverse.sources`.
        task: What is asked.
        space: Name in `LABEL_SPACES`; empty for an open vocabulary.
        metrics: What is reported; the first one is the primary one and enters means.
        splits: Splits of the source that it is made of; empty for all.
        published_n: Clips, as published; None where not told.
        related: Sources that share recordings with it: who trained on one has met this set.
        note: What else to know.
    """

    name: str
    title: str
    source: str
    task: Task
    space: str
    metrics: tuple[str, ...]
    splits: tuple[Split, ...] = ("test",)
    published_n: int | None = None
    related: tuple[str, ...] = ()
    note: str = ""

    @property
    def primary(self) -> str:
        """Name of the metric that counts."""
        return self.metrics[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label space; empty for an open vocabulary."""
        return LABEL_SPACES[self.space] if self.space else ()


@dataclass(frozen=True)
class Published:
    """A row somebody published; nothing here was measured by this project.

    Attributes:
        system: What was measured, with its inputs (A audio, V video, T text) where told.
        source: Where the figures were read.
        mean: Over all sets of the suite, per cent; None where not told.
        scores: By set, per cent, in its primary metric; empty where only the mean could be read.
    """

    system: str
    source: str
    mean: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A benchmark.

    Attributes:
        name: As in ``--suite``.
        title: As its authors call it.
        citation: Where it is from.
        sets: What it is made of, in the published order.
        published: Rows to stand beside one's own.
        note: What to know before comparing.
    """

    name: str
    title: str
    citation: str
    sets: tuple[BenchmarkSet, ...]
    published: tuple[Published, ...] = ()
    note: str = ""


#: The sets of MMEVerse-Bench by name; nine of them are MER-UniBench.
_SETS: Mapping[str, BenchmarkSet] = {
    made.name: made
    for made in (
        BenchmarkSet(
            "mer2023", "MER2023", "mer2023", Task.EMOTION, "mer", _WHEEL, published_n=411,
            related=("mer2024", "ov_merd_plus"), note="MER-MULTI of the challenge.",
        ),
        BenchmarkSet(
            "mer2024", "MER2024", "mer2024", Task.EMOTION, "mer", _WHEEL, published_n=1169,
            related=("mer2023", "ov_merd_plus"), note="MER-SEMI of the challenge; same pool as MER2023.",
        ),
        BenchmarkSet("meld_emotion", "MELD-e", "meld", Task.EMOTION, "meld", _WHEEL, published_n=2610),
        BenchmarkSet(
            "iemocap", "IEMOCAP", "iemocap", Task.EMOTION, "iemocap", _WHEEL, published_n=1241,
            note="Session 5. AffectGPT tells 1,241 clips; the truth released with Emotion-LLaMAv2 has 1,496.",
        ),
        BenchmarkSet("caer", "CAER", "caer", Task.EMOTION, "ekman", _CLASSES),
        BenchmarkSet("e3", "E3", "e3", Task.EMOTION, "e3", _CLASSES),
        BenchmarkSet("dfew", "DFEW", "dfew", Task.EMOTION, "dfew", _CLASSES),
        BenchmarkSet("mafw", "MAFW", "mafw", Task.EMOTION, "mafw", _CLASSES),
        BenchmarkSet(
            "mc_eiu_emotion", "MC-EIU-e", "mc_eiu", Task.EMOTION, "ekman", _CLASSES
        ),
        BenchmarkSet("cmu_mosi", "MOSI", "cmu_mosi", Task.SENTIMENT, _SIGNS, _SENTIMENT, published_n=686),
        BenchmarkSet("cmu_mosei", "MOSEI", "cmu_mosei", Task.SENTIMENT, _SIGNS, _SENTIMENT, published_n=4659),
        BenchmarkSet(
            "ch_sims", "CH-SIMS", "ch_sims", Task.SENTIMENT, _SIGNS, _SENTIMENT, published_n=457,
            related=("ch_sims_v2",), note="CH-SIMS v2 extends it.",
        ),
        BenchmarkSet(
            "ch_sims_v2", "CH-SIMSv2", "ch_sims_v2", Task.SENTIMENT, _SIGNS, _SENTIMENT, published_n=1034,
            related=("ch_sims",),
        ),
        BenchmarkSet(
            "meld_sentiment", "MELD-s", "meld", Task.SENTIMENT, "sentiment",
            ("sentiment3_waf", "sentiment3_acc", "sentiment_waf", "sentiment_acc"), published_n=2610,
        ),
        BenchmarkSet("mafw_multi", "MAFW-m", "mafw", Task.MULTI_LABEL, "mafw", _MULTI),
        BenchmarkSet(
            "bold", "BOLD", "bold", Task.MULTI_LABEL, "bold", _MULTI, splits=("validation",),
            note="The labels of its test split are not public.",
        ),
        BenchmarkSet(
            "ov_merd_plus", "OV-MERD+", "ov_merd_plus", Task.OPEN_VOCABULARY, "", _OPEN, splits=(),
            published_n=532, related=("mer2023", "mer2024"),
            note="Emotion-LLaMAv2 was asked to choose among 19 words here, which fits the benchmark.",
        ),
        BenchmarkSet("mc_eiu_intent", "MC-EIU-i", "mc_eiu", Task.INTENT, "intent", _CLASSES),
    )
}  # fmt: skip

_UNIBENCH = (
    "mer2023", "mer2024", "meld_emotion", "iemocap",
    "cmu_mosi", "cmu_mosei", "ch_sims", "ch_sims_v2", "ov_merd_plus",
)  # fmt: skip
_TABLE_2 = "AffectGPT, arXiv 2501.16566v2, Table 2"
_RELAYED = "Emotion-LLaMAv2, arXiv 2601.16449, relayed by others; the paper's table could not be read"


def _row(system: str, mean: float, *scores: float) -> Published:
    return Published(system, _TABLE_2, mean, dict(zip(_UNIBENCH, scores, strict=True)) if scores else {})


_MER_UNIBENCH = Suite(
    "mer-unibench",
    "MER-UniBench",
    "Lian et al., 2025, AffectGPT (arXiv 2501.16566)",
    tuple(_SETS[name] for name in _UNIBENCH),
    (
        Published("Emotion-LLaMAv2, perception only", f"{_RELAYED} (Tables 9, 10)", 78.91),
        Published("Emotion-LLaMAv2, both stages", f"{_RELAYED} (Table 10; another relay says 78.91)", 78.52),
        _row("AffectGPT A,V,T", 74.77, 78.54, 78.80, 55.65, 60.54, 81.30, 80.90, 88.49, 86.18, 62.52),
        _row("AffectGPT V,T", 74.31),
        _row("AffectGPT A,T", 72.18),
        _row("Emotion-LLaMA", 64.17, 59.38, 73.62, 46.76, 55.47, 66.13, 67.66, 78.32, 77.23, 52.97),
        _row("mPLUG-Owl", 62.45, 56.86, 59.89, 49.11, 55.54, 72.40, 72.91, 72.13, 75.00, 48.18),
        _row("Chat-UniVi", 57.94),
        _row("SALMONN", 57.89),
        _row("VideoChat", 56.71),
        _row("PandaGPT A,V,T", 52.92, 40.21, 51.89, 37.88, 44.04, 61.92, 67.61, 68.38, 67.23, 37.12),
    ),
    "Published systems answer in free text, which a language model turned into labels; here answers are "
    "taken word for word. The hit rate skips clips that are truly neutral.",
)
_MMEVERSE = Suite(
    "mmeverse",
    "MMEVerse-Bench",
    "Peng et al., 2026, Emotion-LLaMAv2 and MMEVerse (arXiv 2601.16449)",
    tuple(_SETS.values()),
    (
        Published("Emotion-LLaMAv2, both stages", f"{_RELAYED} (Table 10)", 66.63),
        Published("Emotion-LLaMAv2, perception only", f"{_RELAYED} (Tables 9, 10)", 66.05),
        Published("Emotion-LLaMAv2, conv only", f"{_RELAYED} (Table 9)", 65.92),
        Published("Emotion-LLaMAv2, Q-Former", f"{_RELAYED} (Table 9)", 65.85),
        Published("Emotion-LLaMAv2, attention only", f"{_RELAYED} (Table 9)", 65.37),
        Published("Emotion-LLaMAv2, no pre-fusion", f"{_RELAYED} (Table 9)", 65.13),
        Published("Emotion-LLaMA", f"{_RELAYED}; probably trained again on MMEVerse", 64.7),
        Published("Emotion-LLaMAv2, one joint training", f"{_RELAYED} (Table 10)", 64.20),
        Published("AffectGPT", _RELAYED, 54.4),
    ),
    "Only published means could be read, and not which metric of each set enters them. The mean here takes "
    "the primary metric of each set.",
)
_OPEN_SUITE = Suite(
    "open",
    "Open sets",
    "Sources and licences: docs/datasets.md",
    (
        BenchmarkSet("javanese_av", "Javanese AV", "javanese_av", Task.EMOTION, "javanese_av", _SINGLE, ()),
        BenchmarkSet("emodb", "Emo-DB", "emodb", Task.EMOTION, "emodb", _SINGLE, splits=()),
        BenchmarkSet("ravdess", "RAVDESS speech", "ravdess_16k", Task.EMOTION, "ravdess", _SINGLE, splits=()),
        BenchmarkSet(
            "faces_muxspace", "Muxspace faces", "faces_muxspace", Task.EMOTION, "faces_muxspace", _SINGLE,
            splits=(), note="Its labels are noisy.",
        ),
        BenchmarkSet(
            "goemotions", "GoEmotions dev, one label", "goemotions", Task.EMOTION, "meld", _SINGLE,
            splits=("validation",),
        ),
        BenchmarkSet(
            "goemotions_multi", "GoEmotions dev, all labels", "goemotions", Task.MULTI_LABEL, "meld", _MULTI,
            splits=("validation",),
        ),
    ),
    note="Acted speech in three languages, photographs and comments: no published row uses them in this way.",
)  # fmt: skip

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (_MER_UNIBENCH, _MMEVERSE, _OPEN_SUITE)}


def suite_named(name: str) -> Suite:
    """Return a suite.

    Raises:
        InputError: There is none of that name; the message lists what is available.
    """
    if name not in SUITES:
        raise InputError(f"no suite named {name!r}; available: {', '.join(SUITES)}")
    return SUITES[name]
