"""Records to batches: which clip is learnt at which step, as features, a prompt, and what it should answer.

Everything about the example at a position depends on the data, the seed and the position alone. Neither the
number of processes nor a run that was killed and resumed changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from emollama_ros.errors import EmollamaError, InputError
from emollama_ros.labels import CIRCUMPLEX
from training.curriculum.encoders import ClipFeatures, Encoders, Shapes, batch_of
from training.curriculum.feature_cache import ContentKeys, FeatureCache, fill
from training.curriculum.team import ALONE, Team
from training.mmeverse.decoding import decode_clip
from training.mmeverse.instructions import chance
from training.mmeverse.instructions.mixes import mix_of
from training.mmeverse.instructions.samples import Instruction
from training.mmeverse.instructions.sampling import joint_stream, record_stream
from training.mmeverse.instructions.tags import Stream
from training.mmeverse.instructions.template import PLACEHOLDER, TEMPLATES, Template
from training.mmeverse.label_sets import to_default
from training.mmeverse.replay.base import ReplaySample
from training.mmeverse.schema import Media, Record, Task, read_records
from training.networks.emotion_llama import IGNORED, SOFT, Features
from training.networks.language import TextCodec
from training.presets import Preset, StagePreset

#: Source and id.
Clip = tuple[str, str]
_STREAMS = {"audio": Stream.AUDIO, "image": Stream.IMAGE, "glance": Stream.IMAGE, "video": Stream.VIDEO}


@dataclass(frozen=True)
class LabelledClips:
    """What the perception head learns from: features of B clips, and what it should say of them.

    Attributes:
        features: Of B clips.
        labels: (B,) index of the default label, `IGNORED` where a clip has none.
        affect: (B, 2) valence and arousal; NaN where they are not known.
        keys: Of the records.
    """

    features: Features
    labels: Tensor
    affect: Tensor
    keys: tuple[str, ...]

    def to(self, device: torch.device | str) -> LabelledClips:
        """The same on another device."""
        moved = (value.to(device) for value in (self.features, self.labels, self.affect))
        return LabelledClips(*moved, self.keys)


@dataclass(frozen=True)
class Batch:
    """What one pass through the network needs.

    Attributes:
        features: Of B clips.
        ids: (B, S), `SOFT` where a soft token belongs.
        mask: (B, S) bool.
        targets: (B, S), `IGNORED` except for the answer.
        labels: (B,) index of the default label, `IGNORED` where a clip has none.
        affect: (B, 2) valence and arousal; NaN where they are not known.
        keys: Of the records.
        further: Clips that only the perception head learns from; None where there are none.
    """

    features: Features
    ids: Tensor
    mask: Tensor
    targets: Tensor
    labels: Tensor
    affect: Tensor
    keys: tuple[str, ...]
    further: LabelledClips | None = None

    @property
    def known(self) -> tuple[Tensor, Tensor]:
        """Labels and affect of its clips and of the further ones."""
        if self.further is None:
            return self.labels, self.affect
        return torch.cat([self.labels, self.further.labels]), torch.cat([self.affect, self.further.affect])

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        parts = (Tensor, Features, LabelledClips)
        moved = {k: v.to(device) if isinstance(v, parts) else v for k, v in vars(self).items()}
        return Batch(**moved)

    def row(self, index: int) -> Batch:
        """One clip of it, without the further ones."""
        one = slice(index, index + 1)
        features = Features(**{k: v[one] for k, v in vars(self.features).items()})
        rest = {k: v[one] for k, v in vars(self).items() if k not in ("features", "further")}
        return Batch(features, **rest)


class Corpus:
    """Records of several prepared sources, pictures of replay, and the features of both."""

    def __init__(
        self,
        records: Sequence[Record],
        keys: Mapping[Clip, str],
        cache: FeatureCache,
        replay: Sequence[ReplaySample] = (),
    ) -> None:
        """Take what has features in the cache.

        Args:
            records: Of one split.
            keys: Key of the features of each clip.
            cache: Where the features are.
            replay: General vision-language samples.
        """
        has = {clip for clip, key in keys.items() if key in cache}
        self.records = tuple(record for record in records if record.key[:2] in has)
        self.replay = tuple(sample for sample in replay if sample.key[:2] in has)
        self._by_key = {record.key: record for record in self.records}
        self._keys, self._cache = keys, cache

    def record(self, key: tuple[str, str, str]) -> Record | None:
        """The record of an instruction; None for replay."""
        return self._by_key.get(key)

    def features(self, key: tuple[str, str, str]) -> ClipFeatures:
        """Features of the clip of a record or of a replay sample."""
        return self._cache.get(self._keys[key[:2]])


def read_split(prepared: Path, sources: Sequence[str], split: str) -> list[Record]:
    """Read one split of prepared sources.

    Raises:
        InputError: None of the sources is there; says how to prepare one.
    """
    files = [prepared / name / f"{split}.jsonl" for name in sources]
    if not any(file.is_file() for file in files):
        raise InputError(
            f"{prepared}: none of {', '.join(sources)} is prepared there; run: "
            f"python -m training prepare --source {sources[0]} --root DIR --out {prepared}"
        )
    return [record for file in files if file.is_file() for record in read_records(file)]


def gather(
    records: Sequence[Record],
    roots: Path,
    cache_folder: Path,
    encoders: Encoders,
    replay: Sequence[ReplaySample] = (),
    pictures: Path | None = None,
    team: Team = ALONE,
) -> Corpus:
    """Encode what is not yet in the cache, and say what could not be.

    Several processes share the work, by the order of the clips' keys, and wait for each other.

    Args:
        records: Of prepared sources.
        roots: Holds the folders of the sources, by name.
        cache_folder: Of the features.
        encoders: Of the preset.
        replay: General vision-language samples.
        pictures: Folder of their pictures.
        team: Processes that all call this, with the same data and one cache.

    Raises:
        InputError: Of nothing features could be had; gives the first reason. Or processes do not see each
            other's features.
        EmollamaError: The encoders failed; names the clip.
    """
    cache = FeatureCache(cache_folder, encoders.version)
    places = {record.key[:2]: (record.media, roots / record.source) for record in records}
    places |= {sample.key[:2]: (Media(image=sample.image), pictures or roots) for sample in replay}
    keys, problems = _keys_of(places, ContentKeys(cache_folder, team.process), team)
    clips = {key: clip for clip, key in keys.items()}
    mine = [key for key in team.share(sorted(clips)) if key not in cache]
    jobs = [(key, partial(_encode, encoders, clips[key], *places[clips[key]])) for key in mine]
    failed = fill(cache, tqdm(jobs, desc="features", disable=not jobs or team.process > 0))
    problems += team.exchange([("/".join(clips[key]), reason) for key, reason in failed])
    cache.refresh()
    _check_all_see(cache, clips, {name for name, _ in problems})
    corpus = Corpus(records, keys, cache, replay)
    if problems and not corpus.records:
        raise InputError(f"no clip could be encoded; the first: {problems[0][1]}")
    if team.process == 0:
        _tell(problems)
    return corpus


def _keys_of(
    places: Mapping[Clip, tuple[Media, Path]], content: ContentKeys, team: Team
) -> tuple[dict[Clip, str], list[tuple[str, str]]]:
    """Key of every clip whose files can be read; name and reason of the others."""
    found: list[tuple[Clip, str | None, str]] = []
    for clip in team.share(sorted(places)):
        try:
            found.append((clip, content.key(*places[clip]), ""))
        except InputError as error:
            found.append((clip, None, str(error)))
    everything = {clip: (key, reason) for clip, key, reason in team.exchange(found)}
    keys = {clip: key for clip in places if (key := everything[clip][0]) is not None}
    return keys, [("/".join(clip), everything[clip][1]) for clip in places if clip not in keys]


def _encode(encoders: Encoders, clip: Clip, media: Media, root: Path) -> ClipFeatures:
    try:
        return encoders.encode(decode_clip(media, root))
    except EmollamaError:
        raise
    except Exception as error:  # memory, a driver: with many processes, nobody knew where
        reason = f"{type(error).__name__}: {error}"
        raise EmollamaError(f"{'/'.join(clip)}: cannot be encoded: {reason}") from error


def _check_all_see(cache: FeatureCache, clips: Mapping[str, Clip], failed: set[str]) -> None:
    for key, clip in clips.items():
        if key not in cache and "/".join(clip) not in failed:
            raise InputError(
                f"{cache.folder}: has no features of {'/'.join(clip)}, which another process computed; "
                "--cache has to be a folder that all processes share"
            )


def _tell(problems: Sequence[tuple[str, str]]) -> None:
    for clip_name, reason in problems[:5]:
        tqdm.write(f"left out: {clip_name}: {reason}")
    if len(problems) > 5:
        tqdm.write(f"left out: {len(problems) - 5} more")


def sources_of(stage: StagePreset) -> set[str]:
    """Sources and replay sets that a stage knows a weight of: its own, and the paper's."""
    mixes = [mix_of(number) for number in stage.mixes]
    return {*stage.weights, *(name for mix in mixes for name in (*mix.sources, *mix.replay))}


@dataclass(frozen=True)
class ExampleMaker:
    """From instructions to batches.

    Attributes:
        corpus: Records and features.
        preset: Of the system.
        shapes: Of the features.
        codec: Of the language model.
        soft_tokens: How many a prompt has.
    """

    corpus: Corpus
    preset: Preset
    shapes: Shapes
    codec: TextCodec
    soft_tokens: int

    @property
    def template(self) -> Template:
        """Of the prompts."""
        return TEMPLATES[self.preset.language.template]

    def batches(self, stage: StagePreset, first: int, process: int, processes: int) -> Iterator[Batch]:
        """Batches of one process, for ever.

        A step has ``accumulate`` batches a process. Batch number b of the stage holds the positions from
        b * batch on, and belongs to process b modulo ``processes``.

        What only other stages weigh is left out.

        Args:
            stage: Of the curriculum.
            first: Number of the batch of the whole stage to go on from.
            process: Index of this process.
            processes: How many there are.

        Raises:
            ConfigError: Nothing is left; when the first batch is asked for.
        """
        sources = sources_of(stage)
        instructions = joint_stream(
            [record for record in self.corpus.records if record.source in sources],
            [sample for sample in self.corpus.replay if sample.source in sources],
            stages=stage.mixes,
            seed=self.preset.seed,
            start=first * stage.batch,
            weights=stage.weights or None,
            template=self.template,
        )
        further = self._further(stage, first)
        number = first
        while True:
            drawn, more = list(islice(instructions, stage.batch)), list(islice(further, stage.head_clips))
            if number % processes == process:
                batch = self.batch(drawn, stage.modality_dropout, number)
                yield replace(batch, further=self._labelled(more, stage, number)) if more else batch
            number += 1

    def _further(self, stage: StagePreset, first: int) -> Iterator[Record]:
        """Labelled records for ever, in the proportions of the stage; none where it wants none."""
        sources = sources_of(stage)
        records = [r for r in self.corpus.records if r.source in sources and self.label_of(r) != IGNORED]
        if not stage.head_clips or not records:
            return iter(())
        return record_stream(
            records,
            stage=stage.mixes[0],
            seed=int(chance.fraction(self.preset.seed, "head_clips") * 2**53),
            start=first * stage.head_clips,
            weights=stage.weights or None,
        )

    def _labelled(self, records: Sequence[Record], stage: StagePreset, number: int) -> LabelledClips:
        clips = [
            self._heard_or_seen(
                self.corpus.features(record.key),
                record.key,
                stage.modality_dropout,
                (number, "head", place),
            )
            for place, record in enumerate(records)
        ]
        return LabelledClips(
            Features(**batch_of(clips, self.shapes)),
            torch.tensor([self.label_of(record) for record in records]),
            torch.tensor([affect_of(record) for record in records]),
            tuple("/".join(record.key) for record in records),
        )

    def batch(self, instructions: Sequence[Instruction], dropout: float = 0.0, draw: object = None) -> Batch:
        """Put instructions together; ``draw`` decides which of them lose a modality."""
        clips = [self._seen(item, dropout, (draw, place)) for place, item in enumerate(instructions)]
        texts = [self.tokens(item) for item in instructions]
        length = max(len(prompt) + len(answer) for prompt, answer in texts)
        ids, targets = (
            torch.zeros(len(texts), length, dtype=torch.long),
            torch.full((len(texts), length), IGNORED),
        )
        mask = torch.zeros(len(texts), length, dtype=torch.bool)
        for row, (prompt, answer) in enumerate(texts):
            end = len(prompt) + len(answer)
            ids[row, :end] = torch.tensor(prompt + answer)
            mask[row, :end] = True
            targets[row, len(prompt) : end] = torch.tensor(answer)
        records = [self.corpus.record(item.key) for item in instructions]
        return Batch(
            features=Features(**batch_of(clips, self.shapes)),
            ids=ids,
            mask=mask,
            targets=targets,
            labels=torch.tensor([self.label_of(record) for record in records]),
            affect=torch.tensor([affect_of(record) for record in records]),
            keys=tuple("/".join(item.key) for item in instructions),
        )

    def tokens(self, item: Instruction) -> tuple[list[int], list[int]]:
        """Token ids of prompt and answer; an answer that is too long is cut, its stop token kept."""
        before, _, after = item.prompt.partition(PLACEHOLDER)
        encode, longest = self.codec.encode, self.preset.language.longest
        prompt = [*self.codec.start, *encode(before), *[SOFT] * self.soft_tokens, *encode(after)]
        answer, stop = encode(item.target), encode(self.template.stop)
        room = max(0, longest + self.soft_tokens - len(prompt) - len(stop))
        return prompt, answer[:room] + stop

    def _seen(self, item: Instruction, dropout: float, draw: tuple[object, ...]) -> ClipFeatures:
        """Features that the instruction lets be looked at; at random without sound, or without pictures."""
        found = self.corpus.features(item.key)
        kept = {name: value for name, value in found.items() if _STREAMS[name] in item.streams}
        return self._heard_or_seen(kept, item.key, dropout, draw)

    def _heard_or_seen(
        self, clip: ClipFeatures, key: tuple[str, str, str], dropout: float, draw: tuple[object, ...]
    ) -> ClipFeatures:
        """A clip with both senses; at random without sound, or without pictures."""
        hears, sees = "audio" in clip, "image" in clip or "video" in clip
        chosen = chance.fraction(self.preset.seed, key, *draw, "modality")
        if not (hears and sees and chosen < dropout):
            return clip
        is_deaf = chosen < dropout / 2
        return {name: value for name, value in clip.items() if (name == "audio") != is_deaf}

    def label_of(self, record: Record | None) -> int:
        """Index of the default label that a record stands for; `IGNORED` where it has none."""
        return label_index(record, self.preset.head.labels)


def label_index(record: Record | None, labels: Sequence[str]) -> int:
    """Index of the default label that a record stands for; `IGNORED` where it has none."""
    if record is None or record.task is not Task.EMOTION or record.label is None:
        return IGNORED
    label = to_default(record.label)
    return labels.index(label) if label in labels else IGNORED


def affect_of(record: Record | None) -> tuple[float, float]:
    """Valence and arousal as annotated; else those of the label's place in the circumplex; else NaN."""
    nothing = (float("nan"), float("nan"))
    if record is None:
        return nothing
    if record.valence is not None and record.arousal is not None:
        return record.valence, record.arousal
    label = to_default(record.label) if record.task is Task.EMOTION and record.label else None
    return CIRCUMPLEX[label] if label else nothing
