"""The whole network: trained through a curriculum, asked for labels, and what known answers cost it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.ablation.head import device_of
from training.ablation.material import LimitedCorpus, Material, weighed
from training.ablation.plan import AnswerGrid
from training.ablation.results import Costs, Told, told_of
from training.ablation.views import SEEN, View
from training.curriculum.examples import Batch, Corpus, ExampleMaker
from training.curriculum.network import build
from training.curriculum.trainer import Trainer
from training.curriculum.validation import about_others, spread
from training.mmeverse.instructions import instructions_of, read_answer
from training.mmeverse.instructions.samples import Instruction
from training.mmeverse.schema import Task
from training.networks.emotion_llama import IGNORED, EmotionLlama
from training.networks.language import LanguageModel, load_base, with_lora
from training.presets import LanguagePreset, Preset

#: Most tokens of an answer that is a label.
LONGEST_ANSWER = 12
#: Questions that are answered at once.
BATCH = 32
#: Stages of instructions, by what their tasks are called in results.
TASKS: Mapping[str, int] = {"perception": 1, "cognition": 2}


@dataclass(frozen=True)
class Answered:
    """A network trained through a curriculum, what it answered, and what known answers cost it, by task."""

    net: EmotionLlama
    told: Told | None
    costs: Mapping[str, Costs]


def train_and_ask(
    grid: AnswerGrid, material: Material, view: View, preset: Preset, train: Corpus, folder: Path
) -> Answered:
    """Train the whole network on a corpus, with checkpoints in a folder, and ask it about held-out clips."""
    from accelerate import Accelerator

    torch.manual_seed(preset.seed)  # LoRA's beginnings, too, are the run's own
    language = with_first_blocks(material.language(preset.language), grid.blocks)
    net = build(preset, material.shapes, language)
    tokens = net.config.soft_tokens
    learnt = ExampleMaker(weighed(train, preset), preset, material.shapes, language.codec, tokens)
    Trainer(preset, net, learnt, folder, Accelerator(cpu=material.device == "cpu")).run()
    net.eval()
    held_out = weighed(LimitedCorpus(material.held_out, SEEN[view]), preset)
    asked = ExampleMaker(held_out, preset, material.shapes, language.codec, tokens)
    costs = {task: costs_of(net, asked, stage, grid.asked) for task, stage in TASKS.items()}
    return Answered(net, ask(net, asked, grid.asked), costs)


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


# --- asking for labels --------------------------------------------------------------------------------------


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
    records = spread(labelled, most)
    seed, template = examples.preset.seed, examples.template
    asked = [instructions_of(record, 1, seed, template=template)[0] for record in records]
    chosen = [label for part in _parts(asked) for label in answered(net, examples, part)]
    return told_of(records, [str(record.label) for record in records], chosen)


@torch.no_grad()
def answered(net: EmotionLlama, examples: ExampleMaker, items: Sequence[Instruction]) -> list[str]:
    """The label that each question is answered with; "" where none can be read."""
    stop = examples.codec.encode(examples.template.stop)[-1]
    said = generated(net, examples, items)
    texts = [examples.codec.decode(row[: row.index(stop)] if stop in row else row) for row in said]
    read = [read_answer(text, item.tag, item.label_space) for text, item in zip(texts, items, strict=True)]
    return [found.labels[0] if found.labels else "" for found in read]


@torch.no_grad()
def generated(net: EmotionLlama, examples: ExampleMaker, items: Sequence[Instruction]) -> list[list[int]]:
    """Token ids of greedy answers to questions, all of one length: stop tokens follow what ended before."""
    batch = examples.batch([replace(item, target="") for item in items]).to(device_of(net))
    stop = examples.codec.encode(examples.template.stop)
    ids, mask = _prompts_at_the_end(batch, len(stop))
    prompt = net.prompt(ids, mask, net.perceive(batch.features)[1])
    del prompt["position_ids"]  # counted from the mask, as ours are
    assert net.llama_model is not None
    found: Tensor = net.llama_model.generate(
        **prompt, do_sample=False, max_new_tokens=LONGEST_ANSWER, eos_token_id=stop[-1], pad_token_id=stop[-1]
    )
    return found.tolist()


def _prompts_at_the_end(batch: Batch, stop: int) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, S) of prompts, less the stop tokens behind them, padded in front instead of behind."""
    lengths = batch.mask.sum(-1, keepdim=True) - stop
    size = int(lengths.max())
    place = torch.arange(size, device=lengths.device) - (size - lengths)
    source = place.clamp(min=0)
    is_prompt = place >= 0
    return batch.ids.gather(1, source).where(is_prompt, 0), is_prompt


# --- what known answers cost --------------------------------------------------------------------------------


def costs_of(net: EmotionLlama, examples: ExampleMaker, stage: int, most: int) -> Costs:
    """What the answers to the tasks of a stage cost, given the clip itself, and given another one.

    The other one is of the same source, so that it has the same streams.

    Args:
        net: With a language model.
        examples: Of people it was not trained on.
        stage: Whose tasks are asked.
        most: Answers at most, spread over the records.
    """
    seed, template = examples.preset.seed, examples.template
    asked = [
        (record, item)
        for record in examples.corpus.records
        for item in instructions_of(record, stage, seed, template=template)
    ]
    chosen = spread(asked, most)
    items = [item for _, item in chosen]
    own, foreign = (_nats(net, examples, them) for them in (items, about_others(items)))
    return Costs(
        clips=tuple(f"{'/'.join(item.key)}/{item.tag.value}" for item in items),
        persons=tuple(record.person or "/".join(record.key[:2]) for record, _ in chosen),
        tokens=tuple(len(examples.tokens(item)[1]) for item in items),
        own=tuple(own),
        foreign=tuple(foreign),
    )


@torch.no_grad()
def _nats(net: EmotionLlama, examples: ExampleMaker, items: Sequence[Instruction]) -> list[float]:
    """Sum of the cross entropy of each answer's tokens."""
    sums: list[float] = []
    for part in _parts(items):
        sums += _row_sums(net, examples.batch(part).to(device_of(net))).tolist()
    return sums


def _row_sums(net: EmotionLlama, batch: Batch) -> Tensor:
    whole: Any = net.llama_model
    llama = whole.get_base_model()
    prompt = net.prompt(batch.ids, batch.mask, net.perceive(batch.features)[1])
    hidden = llama.model(**prompt, use_cache=False).last_hidden_state[:, :-1]
    targets = batch.targets[:, 1:]
    wanted = targets != IGNORED
    each = F.cross_entropy(llama.lm_head(hidden[wanted]).float(), targets[wanted], reduction="none")
    return each.new_zeros(len(targets)).index_add(0, wanted.nonzero()[:, 0], each)


def _parts(items: Sequence[Instruction]) -> Iterator[Sequence[Instruction]]:
    return (items[i : i + BATCH] for i in range(0, len(items), BATCH))
