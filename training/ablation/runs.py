"""Ablations: the same system without one of its parts, trained alike, several times, on the same people.

A plan (yaml) names the fusions, views and curricula that are compared, and the seeds; every run writes one
file, so that what was killed goes on where it was. What the numbers say: `training.ablation.report`.

Two grids: ``head`` trains the perception head alone, without a language model, which takes seconds;
``answers`` trains the whole network through a curriculum, and asks it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from emollama_ros.errors import ConfigError, InputError
from training.curriculum.encoders import ClipFeatures, Shapes, batch_of
from training.curriculum.examples import Corpus, ExampleMaker, affect_of, label_index
from training.curriculum.network import build, config_of
from training.curriculum.trainer import Trainer, head_losses, rate_at
from training.curriculum.validation import answer_loss
from training.mmeverse.instructions import chance, instructions_of, read_answer
from training.mmeverse.instructions.samples import Instruction
from training.mmeverse.instructions.sampling import visits
from training.mmeverse.schema import Record, Task
from training.networks.emotion_llama import IGNORED, EmotionLlama, Features
from training.networks.fusion import FusionKind
from training.networks.language import LanguageModel, load_base, with_lora
from training.presets import LanguagePreset, Preset, StagePreset, parse_preset

View = Literal["all", "audio", "video"]
Curriculum = Literal["joint", "perception", "perception_cognition"]
Count = Annotated[int, Field(gt=0)]
Weights = dict[str, Annotated[float, Field(gt=0)]]
#: What a network that is trained on a view gets to see; a picture is a part of what is seen.
SEEN: Mapping[View, frozenset[str]] = {
    "all": frozenset({"audio", "image", "glance", "video"}),
    "audio": frozenset({"audio"}),
    "video": frozenset({"image", "glance", "video"}),
}
#: Fields of a record that the perception head learns from, or is measured by.
_LEARNT_BY_HEAD = {"id", "source", "person", "media", "task", "label", "valence", "arousal"}
#: Most tokens of an answer that is a label.
LONGEST_ANSWER = 12


@dataclass(frozen=True)
class Measure:
    """Which clips a network is measured on, and what it may look at.

    Attributes:
        hears: Whether the sound is given.
        sees: Whether the pictures are given.
        needs_sound: Only clips that have sound.
        needs_pictures: Only clips that have pictures.
    """

    hears: bool
    sees: bool
    needs_sound: bool = False
    needs_pictures: bool = False


#: ``both``: clips that have both; there, what is taken away is really lost.
MEASURES: Mapping[str, Measure] = {
    "all": Measure(True, True),
    "audio": Measure(True, False, needs_sound=True),
    "video": Measure(False, True, needs_pictures=True),
    "both": Measure(True, True, True, True),
    "both, no video": Measure(True, False, True, True),
    "both, no audio": Measure(False, True, True, True),
}
#: What a network is measured by, by the view it is trained on.
MEASURED: Mapping[View, tuple[str, ...]] = {
    "all": tuple(MEASURES),
    "audio": ("audio", "both, no video"),
    "video": ("video", "both, no audio"),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class HeldOut(_Part):
    """The people that are measured on: sources and splits of `prepare`."""

    sources: tuple[str, ...]
    splits: tuple[Literal["validation", "test"], ...] = ("test",)


class HeadGrid(_Part):
    """Fusions x views of the perception head alone; ``stage`` says for how long."""

    fusions: tuple[FusionKind, ...]
    views: tuple[View, ...] = ("all",)
    stage: StagePreset


class AnswerGrid(_Part):
    """Fusions x views x curricula of the whole network.

    Attributes:
        fusions: Compared.
        views: Compared.
        curricula: Compared, all of the steps of ``perception`` and ``cognition`` together: ``joint`` mixes
            their tasks, ``perception`` has none of the second's, both with the first's rate.
        perception: First stage.
        cognition: Second stage.
        sources: Weights instead of the plan's; the plan's if left out.
        blocks: Only the first blocks of the language model, to fit small machines; all if left out. With
            fewer it is no longer the language model that its name says.
        asked: Answers at most that are generated, and that the loss is taken of.
    """

    fusions: tuple[FusionKind, ...]
    views: tuple[View, ...] = ("all",)
    curricula: tuple[Curriculum, ...]
    perception: StagePreset
    cognition: StagePreset
    sources: Weights | None = None
    blocks: Count | None = None
    asked: Count = 128

    @model_validator(mode="after")
    def _stages_are_what_they_are_called(self) -> AnswerGrid:
        if (self.perception.stage, self.cognition.stage) != (1, 2):
            raise ValueError("perception needs stage 1, cognition stage 2")
        return self

    def stages(self, curriculum: Curriculum) -> tuple[StagePreset, ...]:
        """The stages of a curriculum, of equal steps together."""
        if curriculum == "perception_cognition":
            return (self.perception, self.cognition)
        steps = self.perception.steps + self.cognition.steps
        stage = "joint" if curriculum == "joint" else 1
        return (self.perception.model_copy(update={"steps": steps, "stage": stage}),)


class Plan(_Part):
    """What is compared.

    Attributes:
        name: Of the report.
        preset: The system that all runs have in common.
        seeds: Of the runs of every system; at least 3.
        sources: Weight of every source in training.
        held_out: Who is measured on.
        most: Clips at most of a source and split, by source; which ones depends on nothing else.
        reference: The fusion that the others are compared with.
        head: The grid without language model.
        answers: The grid with it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    preset: str
    seeds: Annotated[tuple[int, ...], Field(min_length=3)]
    sources: Annotated[Weights, Field(min_length=1)]
    held_out: HeldOut
    most: dict[str, Count] = {}
    reference: FusionKind = "conv_attention"
    head: HeadGrid | None = None
    answers: AnswerGrid | None = None

    @model_validator(mode="after")
    def _runs_something(self) -> Plan:
        if self.head is None and self.answers is None:
            raise ValueError("needs a grid: head, answers, or both")
        return self


@dataclass(frozen=True)
class System:
    """One cell of a grid; ``curriculum`` is empty where there is no language model."""

    grid: Literal["head", "answers"]
    fusion: FusionKind
    view: View
    curriculum: Curriculum | Literal[""] = ""

    @property
    def name(self) -> str:
        """For files and progress."""
        return "-".join(filter(None, (self.grid, self.fusion, self.view, self.curriculum)))


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: No such file, no yaml, or a wrong key or value; names the first.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Plan.model_validate_json(json.dumps(data, default=str))  # its lists are taken for tuples
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not yaml: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "plan"
        raise ConfigError(f"{path}: {field}: {first['msg'].removeprefix('Value error, ')}") from None


def systems_of(plan: Plan, grid: str | None = None) -> list[System]:
    """Every cell, in a fixed order; of one grid where it is named."""
    found: list[System] = []
    if plan.head and grid in (None, "head"):
        found += [System("head", fusion, view) for fusion in plan.head.fusions for view in plan.head.views]
    if plan.answers and grid in (None, "answers"):
        found += [
            System("answers", fusion, view, curriculum)
            for fusion in plan.answers.fusions
            for view in plan.answers.views
            for curriculum in plan.answers.curricula
        ]
    return found


def preset_of(plan: Plan, base: Preset, system: System, seed: int) -> Preset:
    """The preset of one run."""
    data = base.model_dump(mode="json")
    grid = plan.head if system.grid == "head" else plan.answers
    assert grid is not None
    stages = (grid.stage,) if isinstance(grid, HeadGrid) else grid.stages(system.curriculum or "joint")
    weights = (grid.sources if isinstance(grid, AnswerGrid) else None) or plan.sources
    data["seed"], data["fusion"]["kind"] = seed, system.fusion
    data["curriculum"] = [
        {**stage.model_dump(mode="json"), "weights": stage.weights or weights} for stage in stages
    ]
    return parse_preset(data, system.name)


def chosen_of(plan: Plan, records: Sequence[Record]) -> list[Record]:
    """The records of one split, as many of each source as the plan allows."""
    kept: list[Record] = []
    for source in sorted({record.source for record in records}):
        members = [record for record in records if record.source == source]
        members.sort(key=lambda record: chance.fraction(*record.key, "ablation"))
        kept += members[: plan.most.get(source, len(members))]
    return kept


# --- one run ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Material:
    """What all runs have in common.

    Attributes:
        preset: The system that the plan varies.
        train: Clips that are learnt.
        held_out: Clips of other people.
        shapes: Of the features.
        version: Of the encoders.
        language: Makes a language model with new LoRA, for every run; such as `Languages`.
        device: Of training: cpu or cuda.
    """

    preset: Preset
    train: Corpus
    held_out: Corpus
    shapes: Shapes
    version: str
    language: Callable[[LanguagePreset], LanguageModel]
    device: str = "cpu"


@dataclass(frozen=True)
class Told:
    """What a network told of clips, in one order for all networks; "" where no label could be read."""

    clips: tuple[str, ...]
    persons: tuple[str, ...]
    truth: tuple[str, ...]
    chosen: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        system: What was trained.
        seed: Of it.
        settings: Digest of all that the result depends on.
        seconds: It took.
        head: What the perception head told, by measure.
        answers: What was answered when asked for the label.
        loss: Cross entropy of answers by stage, with soft tokens of the clip itself and of another one.
    """

    system: System
    seed: int
    settings: str
    seconds: float
    head: Mapping[str, Told]
    answers: Told | None = None
    loss: Mapping[str, Mapping[str, float]] | None = None


class LimitedCorpus(Corpus):
    """A corpus of which only some streams can be had, and only the clips that have one of them."""

    def __init__(self, whole: Corpus, names: frozenset[str]) -> None:
        self._whole, self._names = whole, names
        self.records = tuple(r for r in whole.records if names & whole.features(r.key).keys())
        self.replay = whole.replay

    def record(self, key: tuple[str, str, str]) -> Record | None:
        """As `Corpus.record`."""
        return self._whole.record(key)

    def features(self, key: tuple[str, str, str]) -> ClipFeatures:
        """What is left of the features of a clip."""
        return {k: v for k, v in self._whole.features(key).items() if k in self._names}


@dataclass(frozen=True)
class HeadClips:
    """Clips that have a default label, as tensors: what the perception head learns and is measured on."""

    records: tuple[Record, ...]
    features: Features
    labels: Tensor
    affect: Tensor

    def rows(self, rows: Tensor) -> HeadClips:
        """Some of them."""
        features = Features(**{k: v[rows] for k, v in vars(self.features).items()})
        return HeadClips((), features, self.labels[rows], self.affect[rows])


def head_clips(corpus: Corpus, shapes: Shapes, labels: Sequence[str]) -> HeadClips:
    """Put the labelled clips of a corpus together.

    Raises:
        InputError: There is none.
    """
    records = tuple(r for r in corpus.records if label_index(r, labels) != IGNORED)
    if not records:
        raise InputError("no clip has one of the labels of the head; check the sources of the plan")
    return HeadClips(
        records=records,
        features=Features(**batch_of([corpus.features(r.key) for r in records], shapes)),
        labels=torch.tensor([label_index(r, labels) for r in records]),
        affect=torch.tensor([affect_of(r) for r in records]),
    )


def train_head(preset: Preset, shapes: Shapes, clips: HeadClips) -> EmotionLlama:
    """Train fusion and perception head, without a language model."""
    torch.manual_seed(preset.seed)
    stage = preset.curriculum[0]
    net = EmotionLlama(config_of(preset, shapes, language=1))  # adapters to no language model: untrained
    learnt = [value for name, value in net.named_parameters() if not name.startswith("llama_")]
    adam = torch.optim.AdamW(learnt, stage.rate, betas=stage.betas, weight_decay=stage.weight_decay)
    for step, rows in enumerate(islice(_rows(clips, stage, preset.seed), stage.steps)):
        for group in adam.param_groups:
            group["lr"] = rate_at(stage, step)
        part = clips.rows(rows)
        seen = _dropped(part.features, stage.modality_dropout)
        label, affect = head_losses(net.perceive(seen)[0], part, preset.head.smoothing)
        (label + preset.head.affect_weight * affect).backward()
        torch.nn.utils.clip_grad_norm_(learnt, stage.clip_norm or float("inf"))
        adam.step()
        adam.zero_grad()
    return net.eval()


def _rows(clips: HeadClips, stage: StagePreset, seed: int) -> Iterator[Tensor]:
    """Rows of the clips of a batch, for ever, in the proportions of the stage."""
    members: dict[tuple[str, str], list[int]] = {}
    for row, record in enumerate(clips.records):
        members.setdefault((record.source, record.task.value), []).append(row)
    sizes = {group: len(rows) for group, rows in members.items()}
    drawn = visits(sizes, {group: stage.weights[group[0]] for group in members}, seed)
    while True:
        yield torch.tensor([members[v.group][v.index] for v in islice(drawn, stage.batch)])


def _dropped(features: Features, share: float) -> Features:
    """Take sound or pictures from some of the clips that have both."""
    present = features.present
    has_both = present[:, 0] & present[:, 1:].any(-1)
    drawn = torch.rand(len(present))
    deaf, blind = has_both & (drawn < share / 2), has_both & (drawn >= share / 2) & (drawn < share)
    kept = present & ~torch.stack([deaf, blind, blind], -1)
    return replace(features, present=kept)


@torch.no_grad()
def tell(net: EmotionLlama, clips: HeadClips, measure: Measure, labels: Sequence[str]) -> Told | None:
    """What the perception head tells of clips, choosing among labels that occur; None without clips."""
    hears, sees, watches = clips.features.present.unbind(-1)
    fits = torch.ones_like(hears)
    fits &= hears if measure.needs_sound else fits
    fits &= (sees | watches) if measure.needs_pictures else fits
    if not fits.any():
        return None
    rows = fits.nonzero()[:, 0]
    part = clips.rows(rows)
    given = part.features.present & torch.tensor([measure.hears, measure.sees, measure.sees])
    seen = replace(part.features, present=given).to(_device_of(net))
    logits = net.perceive(seen)[0].logits.cpu()
    occurring = part.labels.unique()
    chosen = occurring[logits[:, occurring].argmax(-1)]
    records = [clips.records[i] for i in rows.tolist()]
    return _told(records, [labels[i] for i in part.labels], [labels[i] for i in chosen])


def _told(records: Sequence[Record], truth: Iterable[str], chosen: Iterable[str]) -> Told:
    return Told(
        clips=tuple("/".join(record.key) for record in records),
        persons=tuple(record.person or "/".join(record.key[:2]) for record in records),
        truth=tuple(truth),
        chosen=tuple(chosen),
    )


@torch.no_grad()
def ask(net: EmotionLlama, examples: ExampleMaker, most: int) -> Told | None:
    """Ask for the labels of clips, decode greedily, and read the answers; None where no clip has a label.

    Args:
        net: With a language model.
        examples: Of people it was not trained on.
        most: Clips at most, spread over them.
    """
    labelled = [r for r in examples.corpus.records if r.task is Task.EMOTION and r.label is not None]
    if not labelled:
        return None
    rows = np.unique(np.linspace(0, len(labelled) - 1, min(most, len(labelled))).astype(int))
    records = [labelled[i] for i in rows]
    seed, template = examples.preset.seed, examples.template
    asked = [instructions_of(record, 1, seed, template=template)[0] for record in records]
    chosen = [_answer(net, examples, item) for item in asked]
    return _told(records, [str(record.label) for record in records], chosen)


def _answer(net: EmotionLlama, examples: ExampleMaker, item: Instruction) -> str:
    """The label that is answered; "" where none can be read."""
    batch = examples.batch([replace(item, target="")]).to(_device_of(net))
    stop = examples.codec.encode(examples.template.stop)
    length = batch.ids.shape[1] - len(stop)
    prompt = net.prompt(batch.ids[:, :length], batch.mask[:, :length], net.perceive(batch.features)[1])
    del prompt["position_ids"]  # counted from the mask, as ours are
    assert net.llama_model is not None
    ids = net.llama_model.generate(
        **prompt, do_sample=False, max_new_tokens=LONGEST_ANSWER, eos_token_id=stop[-1], pad_token_id=stop[-1]
    )
    read = read_answer(examples.codec.decode(ids[0].tolist()), item.tag, item.label_space)
    return read.labels[0] if read.labels else ""


def _device_of(net: EmotionLlama) -> torch.device:
    return next(net.parameters()).device


def run_one(plan: Plan, material: Material, system: System, seed: int, folder: Path) -> Result:
    """Train one system once, and measure it."""
    start = time.perf_counter()
    preset = preset_of(plan, material.preset, system, seed)
    labels, shapes = preset.head.labels, material.shapes
    train = LimitedCorpus(material.train, SEEN[system.view])
    told: Told | None = None
    losses = None
    if system.grid == "head":
        net = train_head(preset, shapes, head_clips(_weighed(train, preset), shapes, labels))
    else:
        assert plan.answers is not None
        net, told, losses = _train_and_ask(plan.answers, material, system, preset, train, folder)
    clips = head_clips(material.held_out, shapes, labels)
    measured = {name: tell(net, clips, MEASURES[name], labels) for name in MEASURED[system.view]}
    return Result(
        system=system,
        seed=seed,
        settings=settings_of(plan, material, system, seed),
        seconds=round(time.perf_counter() - start, 1),
        head={name: found for name, found in measured.items() if found is not None},
        answers=told,
        loss=losses,
    )


def _weighed(corpus: Corpus, preset: Preset) -> Corpus:
    """Only the records whose source has a weight."""
    limited = LimitedCorpus(corpus, SEEN["all"])
    limited.records = tuple(r for r in corpus.records if r.source in preset.curriculum[0].weights)
    return limited


def _train_and_ask(
    grid: AnswerGrid, material: Material, system: System, preset: Preset, train: Corpus, folder: Path
) -> tuple[EmotionLlama, Told | None, dict[str, dict[str, float]]]:
    from accelerate import Accelerator

    torch.manual_seed(preset.seed)  # LoRA's beginnings, too, are the run's own
    language = with_first_blocks(material.language(preset.language), grid.blocks)
    net = build(preset, material.shapes, language)
    tokens = net.config.soft_tokens
    learnt = ExampleMaker(_weighed(train, preset), preset, material.shapes, language.codec, tokens)
    Trainer(preset, net, learnt, folder, Accelerator(cpu=material.device == "cpu")).run()
    net.eval()
    held_out = LimitedCorpus(material.held_out, SEEN[system.view])
    asked = ExampleMaker(_weighed(held_out, preset), preset, material.shapes, language.codec, tokens)
    losses = {f"stage {stage}": asdict(answer_loss(net, asked, stage, grid.asked)) for stage in (1, 2)}
    return net, ask(net, asked, grid.asked), losses


class Languages:
    """Language models of presets, each read once, and given as a copy with new LoRA."""

    def __init__(self) -> None:
        self._read: dict[LanguagePreset, LanguageModel] = {}

    def __call__(self, preset: LanguagePreset) -> LanguageModel:
        """A copy of the language model of a preset, with LoRA."""
        if preset not in self._read:
            with torch.random.fork_rng(devices=[]):  # the first run draws what it would draw as the second
                self._read[preset] = load_base(preset)
        base = self._read[preset]
        model = with_lora(copy.deepcopy(base.model), preset.lora, checkpointing=preset.checkpointing)
        return LanguageModel(model, base.codec)


def with_first_blocks(language: LanguageModel, blocks: int | None) -> LanguageModel:
    """Leave only the first blocks of a language model with LoRA; all where ``blocks`` is None."""
    if blocks is not None:
        whole = language.model.get_base_model()
        whole.model.layers = whole.model.layers[:blocks]
        whole.config.num_hidden_layers = len(whole.model.layers)
    return language


# --- all runs -----------------------------------------------------------------------------------------------


def settings_of(plan: Plan, material: Material, system: System, seed: int) -> str:
    """Digest of all that a result depends on: the preset, the clips, the encoders."""
    parts: list[Any] = [
        preset_of(plan, material.preset, system, seed).model_dump(mode="json"),
        asdict(system),
    ]
    if system.grid == "answers" and plan.answers:
        parts += [plan.answers.blocks, plan.answers.asked]
    for corpus in (material.train, material.held_out):
        parts.append([_matters(record, system) for record in corpus.records])
    return hashlib.sha256(json.dumps([*parts, material.version], sort_keys=True).encode()).hexdigest()[:16]


def _matters(record: Record, system: System) -> dict[str, Any]:
    """What a result depends on of a record: words and reasons only where there is a language model."""
    fields = None if system.grid == "answers" else _LEARNT_BY_HEAD
    return record.model_dump(mode="json", include=fields)


def run_all(
    plan: Plan,
    material: Material,
    out: Path,
    grid: str | None = None,
    shown: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> list[Result]:
    """Run what has no result yet, and return all results.

    Args:
        plan: What is compared.
        material: Clips and models.
        out: Results go into ``runs``; checkpoints, until a run has ended, into ``work``.
        grid: Only this one.
        shown: Wraps what is gone through, such as a progress bar.
    """
    runs = [(system, seed) for system in systems_of(plan, grid) for seed in plan.seeds]
    (out / "runs").mkdir(parents=True, exist_ok=True)
    return [_run_or_read(plan, material, out, system, seed) for system, seed in shown(runs)]


def _run_or_read(plan: Plan, material: Material, out: Path, system: System, seed: int) -> Result:
    known = fresh_result(plan, material, out / "runs", system, seed)
    if known is not None:
        return known
    file = _file(out / "runs", system, seed)
    settings = settings_of(plan, material, system, seed)
    result = run_one(plan, material, system, seed, out / "work" / f"{file.stem}-{settings}")
    part = file.with_suffix(".part")
    part.write_text(json.dumps(asdict(result)), encoding="utf-8")
    part.replace(file)
    return result


def _file(runs: Path, system: System, seed: int) -> Path:
    return runs / f"{system.name}-{seed}.json"


def fresh_result(plan: Plan, material: Material, runs: Path, system: System, seed: int) -> Result | None:
    """The result of a run; None where there is none, or one of other settings."""
    known = read_result(_file(runs, system, seed))
    is_fresh = known is not None and known.settings == settings_of(plan, material, system, seed)
    return known if is_fresh else None


def read_result(file: Path) -> Result | None:
    """Read a result; None where there is none, or a damaged one."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        data["system"] = System(**data["system"])
        data["head"] = {name: _read_told(told) for name, told in data["head"].items()}
        data["answers"] = data["answers"] and _read_told(data["answers"])
        return Result(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_told(data: Mapping[str, Sequence[str]]) -> Told:
    return Told(**{name: tuple(values) for name, values in data.items()})
