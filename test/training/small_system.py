"""A system small enough to train in a second: a language model of letters, clips of random features."""

from __future__ import annotations

import hashlib
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import transformers
import yaml

from training.curriculum.encoders import Shapes
from training.curriculum.examples import Corpus, ExampleMaker
from training.curriculum.feature_cache import FeatureCache
from training.curriculum.network import build
from training.curriculum.processes import start
from training.curriculum.trainer import Trainer
from training.mmeverse.schema import Media, Record
from training.networks.language import LanguageModel, with_lora
from training.presets import CONFIGS, Preset, parse_preset

SHAPES = Shapes(audio=(2, 4, 6), image=(1, 10), video=(5, 10))
LABELS = ("happiness", "sadness", "anger")


class Letters:
    """Every byte is a token."""

    start: tuple[int, ...] = ()

    def encode(self, text: str) -> list[int]:
        return [byte % 128 for byte in text.encode()]

    def decode(self, ids) -> str:
        return bytes(ids).decode(errors="replace")


def small_preset(**stage: object) -> Preset:
    data = yaml.safe_load((CONFIGS / "tiny.yaml").read_text())
    data["tokens"] = {"fusion": 4, "image": 1, "video": 2, "audio": 2}
    data["fusion"].update(hidden=16, width=8, output=8, blocks=1, dropout=0.1)
    data["head"]["smoothing"] = 0.0
    data["language"]["lora"].update(rank=2)
    data["language"]["longest"] = 60
    for row in data["curriculum"]:
        row.update(steps=6, batch=2, warmup=2, save_every=2, weights={"javanese_av": 1}, head_clips=3)
        row.update(stage)
    return parse_preset(data)


def small_language(precision: torch.dtype = torch.float32) -> LanguageModel:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).to(precision)
    return LanguageModel(with_lora(model, small_preset().language.lora), Letters())


def small_corpus(folder: Path, count: int = 12, poisoned: int | None = None) -> Corpus:
    cache = FeatureCache(folder, "small")
    records = [
        Record(
            id=f"clip{i}",
            source="javanese_av",
            split="train",
            person=f"javanese_av:{i % 4}",
            media=Media(video=f"clip{i}.mp4"),
            transcript="hello" if i % 2 else "",
            task="emotion",
            label_space=LABELS,
            label=LABELS[i % 3],
        )
        for i in range(count)
    ]
    for i in range(count):
        draw = torch.Generator().manual_seed(i % 3)
        shapes = {"audio": SHAPES.audio, "image": SHAPES.image, "glance": (10,), "video": SHAPES.video}
        features = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        if i == poisoned:
            features["audio"] += torch.nan
        cache.add(f"key{i}", features)
    cache.flush()
    return Corpus(records, {("javanese_av", f"clip{i}"): f"key{i}" for i in range(count)}, cache)


def small_trainer(
    folder: Path,
    out: Path,
    poisoned: int | None = None,
    precision: torch.dtype = torch.float32,
    sharded: bool = False,
    begin: Path | None = None,
    **stage: object,
) -> Trainer:
    preset, language = small_preset(**stage), small_language(precision)
    if begin is not None:
        preset = preset.model_copy(update={"start": str(begin)})
    net = build(preset, SHAPES, language)
    corpus = small_corpus(folder, poisoned=poisoned)
    examples = ExampleMaker(corpus, preset, SHAPES, language.codec, net.config.soft_tokens)
    return Trainer(preset, net, examples, out, start("cpu"), sharded=sharded)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def train_and_tell(out: Path, told: Connection) -> None:
    """What a process does that tests kill: it trains and tells each step."""
    torch.set_num_threads(1)
    trainer = small_trainer(out.parent / f"{out.name}-features", out)
    tell = trainer._tell

    def tell_aloud(*args: object) -> None:
        tell(*args)
        told.send(("step", *args[:2]))

    trainer._tell = tell_aloud
    told.send(("done", digest(trainer.run())))
