"""What a language model is asked about one record, and what it should answer."""

from __future__ import annotations

from dataclasses import dataclass

from emollama_ros.errors import InputError
from training.mmeverse.instructions import chance
from training.mmeverse.instructions.mixes import mix_of
from training.mmeverse.instructions.pool import pool_of
from training.mmeverse.instructions.tags import REPLAY_TAGS, Stream, Tag, label_tag
from training.mmeverse.instructions.targets import labels_of, labels_target, think_target, why_unusable
from training.mmeverse.instructions.template import TEMPLATES, Template, as_data
from training.mmeverse.replay.base import ReplaySample
from training.mmeverse.schema import Media, Record, Task

_LLAMA2 = TEMPLATES["llama2"]
#: Descriptions of one stream: nothing else of the clip may be looked at, except its words.
_ALONE = {Tag.AUDIO: Stream.AUDIO, Tag.IMAGE: Stream.IMAGE}
_WITH_LABELS = frozenset({Tag.THINK, Tag.THINK_MULTI})
_WHAT = {
    Task.EMOTION: "emotion",
    Task.SENTIMENT: "sentiment",
    Task.INTENT: "intent",
    Task.MULTI_LABEL: "emotions",
    Task.OPEN_VOCABULARY: "emotions",
}


@dataclass(frozen=True)
class Instruction:
    """One question and its answer.

    Attributes:
        key: Source, clip, task.
        tag: What is asked.
        prompt: As the language model gets it, soft tokens left open (`template.PLACEHOLDER`).
        target: As it should answer, without the token that ends an answer (`Template.stop`).
        media: Files, relative to the folder of the source; a replay set has ``image`` alone.
        streams: What may be looked at; everything else is masked.
        label_space: Labels in the order offered; empty where none were.
        drawn: What was to be asked; differs from ``tag`` where that was not possible.
        why_not: Why ``drawn`` was not possible; empty where it was.
    """

    key: tuple[str, str, str]
    tag: Tag
    prompt: str
    target: str
    media: Media
    streams: Stream
    label_space: tuple[str, ...]
    drawn: Tag
    why_not: str = ""


def instruction_of(
    record: Record, stage: int, seed: int = 0, epoch: int = 0, *, template: Template = _LLAMA2
) -> Instruction:
    """Ask one thing about a record, drawn from the forms of the stage.

    The same record, stage, seed and epoch give the same instruction, whatever was drawn before and on
    whatever machine. What cannot be asked, because its description is missing or too long or because the
    clip has no such stream, becomes the plain question for the label, with every stream unmasked again.

    Args:
        record: Of any source.
        stage: 1 (perception: labels, descriptions of one stream) or 2 (cognition: labels, reasons).
        seed: Of the training run.
        epoch: How many times the record was visited before.
        template: Form of the prompt.

    Raises:
        ConfigError: There is no such stage.
        InputError: The record cannot be asked at all: one label, and no label space to choose it from.
    """
    forms = mix_of(stage).forms_of(record.source, record.task)
    tag = chance.weighted(list(forms), list(forms.values()), seed, epoch, stage, record.key, "form")
    return _instruction(record, tag, (seed, epoch, stage, record.key), template)


def instructions_of(
    record: Record, stage: int, seed: int = 0, epoch: int = 0, *, template: Template = _LLAMA2
) -> tuple[Instruction, ...]:
    """Ask everything about a record that can be asked in a stage; the plain question comes first.

    Arguments and errors are those of `instruction_of`, which draws one of these.
    """
    forms = mix_of(stage).forms_of(record.source, record.task)
    draw = (seed, epoch, stage, record.key)
    asked = (_instruction(record, tag, draw, template) for tag in forms)
    return tuple(instruction for instruction in asked if not instruction.why_not)


def _instruction(record: Record, drawn: Tag, draw: tuple, template: Template) -> Instruction:
    why_not = _why_not(record, drawn, stage=draw[2])
    tag = label_tag(record.task) if why_not else drawn
    offered = chance.shuffled(_space(record, tag), *draw, "labels")
    words = _fill(tag, draw, labels=", ".join(offered), what=_WHAT[record.task])
    return Instruction(
        key=record.key,
        tag=tag,
        prompt=template.prompt(tag.printed, words, record.transcript),
        target=_target(record, tag),
        media=record.media,
        streams=streams_of(record) & (_ALONE[tag] | Stream.TEXT if tag in _ALONE else ~Stream.NONE),
        label_space=offered,
        drawn=drawn,
        why_not=why_not,
    )


def streams_of(record: Record) -> Stream:
    """What there is to look at in a record; a film is taken to have sound."""
    media, streams = record.media, Stream.NONE
    if media.video:
        streams |= Stream.VIDEO | Stream.IMAGE | Stream.AUDIO
    if media.image:
        streams |= Stream.IMAGE
    if media.audio:
        streams |= Stream.AUDIO
    return streams | Stream.TEXT if as_data(record.transcript) else streams


def _why_not(record: Record, tag: Tag, stage: int) -> str:
    """Why a record cannot be asked this; empty where it can."""
    if tag is label_tag(record.task):
        return ""
    if tag in _ALONE and not streams_of(record) & _ALONE[tag]:
        return f"no {tag.value} in the clip"
    return why_unusable(_description(record, tag), stage)


def _description(record: Record, tag: Tag) -> str:
    text = {Tag.AUDIO: record.clues.audio, Tag.IMAGE: record.clues.visual}.get(tag, record.reasoning)
    return as_data(text)


def _space(record: Record, tag: Tag) -> tuple[str, ...]:
    """The labels to offer: all of the space, whatever the truth is, or none where no label is asked for."""
    if tag is Tag.OPEN_VOCABULARY or (tag is not label_tag(record.task) and tag not in _WITH_LABELS):
        return ()
    if not record.label_space:
        raise InputError(
            f"{'/'.join(record.key)}: no label_space to choose from; its source has to tell it, "
            f"or make it a record of task {Task.OPEN_VOCABULARY.value}"
        )
    return record.label_space


def _target(record: Record, tag: Tag) -> str:
    if tag is label_tag(record.task):
        return labels_target(labels_of(record))
    if tag in _WITH_LABELS:
        return think_target(record.reasoning, labels_of(record))
    return _description(record, tag)


def _fill(tag: Tag, draw: tuple, **fillings: str) -> str:
    pool = pool_of(tag)
    text = chance.one_of(pool.instructions, *draw, tag.value, "instruction")
    return text.format(**{name: fillings[name] for name in pool.needs})


def replay_instruction_of(
    sample: ReplaySample, seed: int = 0, epoch: int = 0, *, template: Template = _LLAMA2
) -> Instruction:
    """Ask what a general vision-language set asks; the answer is drawn among those that people gave.

    Arguments are those of `instruction_of`; a replay sample is the same in both stages.
    """
    tag = Tag(sample.kind)
    assert tag in REPLAY_TAGS
    draw = (seed, epoch, sample.key)
    question = as_data(sample.question)
    return Instruction(
        key=sample.key,
        tag=tag,
        prompt=template.prompt(tag.printed, _fill(tag, draw, question=question, phrase=question)),
        target=chance.one_of(sample.answers, *draw, "answer"),
        media=Media(image=sample.image),
        streams=Stream.IMAGE,
        label_space=(),
        drawn=tag,
    )
