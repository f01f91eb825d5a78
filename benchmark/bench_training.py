"""Compare training here with a straightforward loop: samples a second and memory, epoch by epoch.

    python -m benchmark training [--quick] [--out DIR]        # make bench-training

Both train the same network (the ``tiny`` preset, its language model with random weights) on the same made-
up clips and the same questions in the same order, to the same effective batch. The loop is written as the
released code of Emotion-LLaMAv2 trains: a clip is decoded at every visit, all its frames; its sound is
padded to 30 s; the vocabulary is computed for every token; one sample goes through the network at a time,
with gradient checkpointing as the released configuration has it, and gradients are accumulated. The loop
computes in single precision, because the released code's mixed precision is CUDA's and does nothing on a
CPU; ours keeps the frozen weights as the preset says, in bfloat16. What the released code does worse is
left out: two copies of the picture encoder, and Whisper's decoder.

Each side has a process of its own, and they take turns, epoch by epoch, so that both meet the same
disturbances while memory is told apart.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmark.processes import memory_mb
from benchmark.record import ROOT, document, significant, summary, write

SIDES = ("ours", "loop")
RATE = 16_000


@dataclass(frozen=True)
class Plan:
    """How much is trained, on what.

    Attributes:
        clips: Samples an epoch; a multiple of ``batch``.
        batch: Samples a step.
        epochs: The first computes features, the others find them.
        seconds: Length of a clip.
        size: Width and height of its pictures.
        fps: Pictures a second.
        threads: Of PyTorch. One, because on cores that others use its threads wait for each other.
        layers: Blocks of the language model; None for all of SmolLM2-135M.
        quick: Figures are for nothing but to see that everything runs.
    """

    clips: int = 16
    batch: int = 8
    epochs: int = 2
    seconds: float = 4.0
    size: tuple[int, int] = (1280, 720)
    fps: int = 25
    threads: int = 1
    layers: int | None = None
    quick: bool = False


QUICK = Plan(clips=2, batch=2, seconds=1.0, size=(160, 120), layers=2, quick=True)


def measure(plan: Plan) -> dict[str, Any]:
    """Train on both sides in turn.

    Returns:
        For each side and epoch seconds, samples a second, and losses; peak memory; and the ratios.

    Raises:
        RuntimeError: One side failed, or they learnt from different samples.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_clips(folder / "clips", plan)
        (folder / "plan.json").write_text(json.dumps(asdict(plan)))
        workers = {side: _start(side, folder) for side in SIDES}
        try:
            found = {side: _ask(worker) for side, worker in workers.items()}
            epochs = [{side: _ask(workers[side]) for side in SIDES} for _ in range(plan.epochs)]
        finally:
            for worker in workers.values():
                worker.stdin.close()
                worker.wait()
    return _result(plan, found, epochs)


def _result(plan: Plan, found: dict[str, Any], epochs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for side in SIDES:
        parts = [epoch[side] for epoch in epochs]
        result[side] = {
            f"epoch_{i}": {
                "seconds": significant(part["seconds"]),
                "samples_s": significant(plan.clips / part["seconds"]),
                "cpu_s": significant(part["cpu_s"]),
                "step_ms": summary(part["step_ms"]),
                "loss": significant(part["loss"]),
            }
            for i, part in enumerate(parts, 1)
        }
        result[side]["peak_mb"] = significant(parts[-1]["peak_mb"])
        result[side]["built_mb"] = significant(found[side]["peak_mb"])
    for i, epoch in enumerate(epochs, 1):
        if epoch["ours"]["samples"] != epoch["loop"]["samples"]:
            raise RuntimeError(f"epoch {i}: the two sides did not train on the same samples")
        for of in ("seconds", "cpu_s"):
            name = "ratio" if of == "seconds" else "ratio_cpu"
            result[f"{name}_epoch_{i}"] = significant(epoch["loop"][of] / epoch["ours"][of], 3)
    result["memory_ratio"] = significant(result["ours"]["peak_mb"] / result["loop"]["peak_mb"], 3)
    return result


def _start(side: str, folder: Path) -> Any:
    command = [sys.executable, "-m", "benchmark.bench_training", "--worker", side, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True)


def _ask(worker: Any) -> dict[str, Any]:
    """Let a worker go on; what it answers."""
    worker.stdin.write("go\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("a side failed; its error is above")
    return dict(json.loads(line))


# --- clips ------------------------------------------------------------------------------------------------


def make_clips(folder: Path, plan: Plan) -> None:
    """Write the clips: a textured background that moves, with noise as of a camera, and a changing tone."""
    folder.mkdir(parents=True)
    for index in range(plan.clips):
        _write_clip(folder / f"{index}.mp4", plan, np.random.default_rng(index))


def _write_clip(path: Path, plan: Plan, random: np.random.Generator) -> None:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=plan.fps, options={"preset": "ultrafast", "crf": "26"})
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        video.width, video.height = plan.size
        video.pix_fmt = "yuv420p"
        for number, picture in enumerate(_pictures(plan, random)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, plan.fps)
            out.mux(video.encode(frame))
        sound = av.AudioFrame.from_ndarray(_sound(plan, random)[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = RATE, 0
        out.mux([*video.encode(None), *audio.encode(sound), *audio.encode(None)])


def _pictures(plan: Plan, random: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    width, height = plan.size
    scene = np.kron(random.integers(30, 220, (height // 8, width // 8, 3)), np.ones((8, 8, 1)))
    noise = random.integers(-6, 7, scene.shape)
    for number in range(round(plan.seconds * plan.fps)):
        moved = np.roll(scene, 2 * number, 1) + np.roll(noise, 37 * number, 0)
        yield moved.clip(0, 255).astype(np.uint8)


def _sound(plan: Plan, random: np.random.Generator) -> NDArray[np.int16]:
    times = np.arange(round(plan.seconds * RATE)) / RATE
    loud = np.interp(times, np.linspace(0, plan.seconds, 12), random.uniform(500, 8000, 12))
    return (loud * np.sin(2 * np.pi * random.uniform(100, 300) * times)).astype(np.int16)


# --- what is trained: the same on both sides --------------------------------------------------------------


class _Words:
    """A word, a mark or a space is a token: about as many as a trained tokenizer makes, without its file."""

    start: tuple[int, ...] = ()

    def encode(self, text: str) -> list[int]:
        return [3 + zlib.crc32(word.encode()) % 49_000 for word in re.findall(r" ?\w+|[^\w ]|\s", text)]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


def _preset(plan: Plan) -> Any:
    from training.presets import load_preset

    tiny = load_preset("tiny")
    changes = {"batch": plan.batch, "modality_dropout": 0.0, "weights": {"javanese_av": 1.0}, "head_clips": 0}
    steps = {"steps": plan.epochs * plan.clips // plan.batch + 1, "warmup": 1, "save_every": 10**6}
    stage = tiny.curriculum[0].model_copy(update=changes | steps)
    return tiny.model_copy(update={"curriculum": (stage,)})


def _language(plan: Plan, preset: Any, *, checkpointing: bool, precision: str) -> Any:
    """SmolLM2's shapes with random weights, the frozen ones in some precision, and LoRA."""
    import torch
    from transformers import LlamaForCausalLM

    from training.networks.language import LanguageModel, smollm2_config, with_lora

    config = smollm2_config()
    config.num_hidden_layers = plan.layers or config.num_hidden_layers
    torch.manual_seed(0)
    frozen = LlamaForCausalLM(config).to(getattr(torch, precision))
    return LanguageModel(with_lora(frozen, preset.language.lora, checkpointing=checkpointing), _Words())


def _records(plan: Plan) -> list[Any]:
    from training.mmeverse.schema import Media, Record

    labels = ("happiness", "sadness", "anger", "surprise", "fear", "disgust", "neutral")
    words = "well I did not think that you would come back here so soon after all that was said"
    return [
        Record(
            id=f"clip{i}",
            source="javanese_av",
            split="train",
            person=f"javanese_av:{i % 4}",
            media=Media(video=f"{i}.mp4"),
            transcript=words,
            task="emotion",
            label_space=labels,
            label=labels[i % len(labels)],
        )
        for i in range(plan.clips)
    ]


# --- the two sides ----------------------------------------------------------------------------------------


class Ours:
    """Features once, into the cache; then the trainer, as ``python -m training train`` runs it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Load the encoders and build the network."""
        from training.curriculum.encoders import Encoders
        from training.curriculum.network import build

        self.plan, self.folder, self.preset = plan, folder, _preset(plan)
        roots = folder / "roots"
        roots.mkdir(exist_ok=True)
        (roots / "javanese_av").symlink_to(folder / "clips")
        self.encoders = Encoders(self.preset)
        self.shapes = self.encoders.shapes
        self.language = _language(
            plan, self.preset, checkpointing=False, precision=self.preset.language.precision
        )
        self.net = build(self.preset, self.shapes, self.language)
        self.corpus: Any = None

    def epoch(self) -> dict[str, Any]:
        """Train for an epoch; the first computes the features."""
        from accelerate import Accelerator

        from training.curriculum.examples import ExampleMaker, gather
        from training.curriculum.trainer import Trainer

        if self.corpus is None:
            self.corpus = gather(
                _records(self.plan), self.folder / "roots", self.folder / "features", self.encoders
            )
        examples = ExampleMaker(
            self.corpus, self.preset, self.shapes, self.language.codec, self.net.config.soft_tokens
        )
        told: list[tuple[float, float, tuple[str, ...]]] = []
        out = self.folder / "out"
        trainer = Trainer(self.preset, self.net, examples, out, Accelerator(cpu=True))
        backward = trainer._backward

        def noted(module: Any, batch: Any, *rest: Any) -> Any:
            began = time.perf_counter()
            losses = backward(module, batch, *rest)
            told.append((1e3 * (time.perf_counter() - began), float(losses.total.detach()), batch.keys))
            return losses

        trainer._backward = noted  # type: ignore[method-assign]
        trainer.run(stop_after=self.plan.clips // self.plan.batch)
        return _told(told)


class Loop:
    """A straightforward loop, one sample at a time, nothing kept from one visit to the next."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Load the encoders and build the network."""
        import torch

        from training.curriculum.encoders import Encoders
        from training.curriculum.network import build

        self.plan, self.folder, self.preset = plan, folder, _preset(plan)
        padded = self.preset.audio.model_copy(update={"pad_to_s": 30.0})
        self.encoders = Encoders(self.preset.model_copy(update={"audio": padded}))
        self.language = _language(plan, self.preset, checkpointing=True, precision="float32")
        self.net = build(self.preset, self.encoders.shapes, self.language).train()
        self.optimiser = torch.optim.AdamW([p for p in self.net.parameters() if p.requires_grad], 1e-4)
        self.visits = self._visits()

    def _visits(self) -> Iterator[Any]:
        from training.mmeverse.instructions.sampling import instruction_stream
        from training.mmeverse.instructions.template import TEMPLATES

        stage, template = self.preset.curriculum[0], TEMPLATES[self.preset.language.template]
        options = {"seed": self.preset.seed, "weights": stage.weights, "template": template}
        return instruction_stream(_records(self.plan), stage=stage.stage, **options)

    def epoch(self) -> dict[str, Any]:
        """Train for an epoch."""
        told = []
        for number, item in enumerate(islice(self.visits, self.plan.clips), 1):
            began = time.perf_counter()
            loss = self._learn(item)
            if number % self.plan.batch == 0:
                self.optimiser.step()
                self.optimiser.zero_grad()
            told.append((1e3 * (time.perf_counter() - began), loss, ("/".join(item.key),)))
        return _told(told)

    def _learn(self, item: Any) -> float:
        from training.curriculum.trainer import head_losses

        batch = self._batch(item)
        perceived, soft = self.net.perceive(batch.features)
        prompt = self.net.prompt(batch.ids, batch.mask, soft)
        answer = self._answer_loss(prompt, batch.targets)
        head = self.preset.head
        label, affect = head_losses(perceived, batch.labels, batch.affect, head.smoothing)
        loss = answer + head.weight * (label + head.affect_weight * affect)
        (loss / self.plan.batch).backward()
        return float(loss.detach())

    def _answer_loss(self, prompt: dict[str, Any], targets: Any) -> Any:
        """All logits, as the loss of transformers' causal models takes them."""
        from torch.nn import functional as F

        logits = self.net.llama_model(**prompt, use_cache=False).logits[:, :-1].float()
        return F.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100)

    def _batch(self, item: Any) -> Any:
        """One sample, from its file."""
        from training.curriculum.examples import ExampleMaker
        from training.mmeverse.decoding import DecodedClip

        samples, pictures = decode_whole(self.folder / "clips" / item.media.video)
        features = self.encoders.encode(DecodedClip(samples, pictures))
        soft = self.net.config.soft_tokens
        one = _One(_records(self.plan), features)
        maker = ExampleMaker(one, self.preset, self.encoders.shapes, self.language.codec, soft)  # type: ignore[arg-type]
        return maker.batch([item])


class _One:
    """Stands for a corpus: features that were just computed."""

    def __init__(self, records: Sequence[Any], features: Any) -> None:
        self._by_key, self._features = {record.key: record for record in records}, features

    def record(self, key: tuple[str, str, str]) -> Any:
        return self._by_key.get(key)

    def features(self, key: tuple[str, str, str]) -> Any:
        return self._features


def decode_whole(path: Path) -> tuple[NDArray[np.float32], tuple[NDArray[np.uint8], ...]]:
    """Every picture of a clip in RGB, and its sound at 16 kHz."""
    with av.open(str(path)) as container:
        pictures = tuple(frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in parts]), pictures


def _told(told: Sequence[tuple[float, float, tuple[str, ...]]]) -> dict[str, Any]:
    losses = [loss for _, loss, _ in told]
    return {
        "step_ms": [taken for taken, _, _ in told],
        "loss": sum(losses) / len(losses),
        "samples": sorted(key for _, _, keys in told for key in keys),
    }


def work(side: str, folder: Path) -> None:
    """Be one side: build, then an epoch for every line of standard input."""
    import torch

    data = json.loads((folder / "plan.json").read_text())
    plan = Plan(**data | {"size": tuple(data["size"])})
    torch.set_num_threads(plan.threads)
    answer, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    sys.stdin.readline()
    made: Ours | Loop = {"ours": Ours, "loop": Loop}[side](plan, folder)
    _say(answer, {})
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        told = made.epoch()
        taken = {"seconds": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        _say(answer, told | taken)


def _say(to: Any, told: dict[str, Any]) -> None:
    peak = memory_mb(Path("/proc/self"))[1]
    to.write(json.dumps(told | {"peak_mb": peak}) + "\n")
    to.flush()


def run(plan: Plan, out: Path) -> Path:
    """Measure, print, and write one JSON; returns its path."""
    found = document(
        "training", asdict(plan) | {"seed": 0}, [], {}
    )  # first: it notes how busy the machine is
    found["results"] = results = measure(plan)
    for name, value in results.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
    return write(found, out)


if __name__ == "__main__":
    if sys.argv[1:2] != ["--worker"]:
        raise SystemExit("error: run python -m benchmark training")
    work(sys.argv[2], Path(sys.argv[3]))
