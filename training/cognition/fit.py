"""Stage 2 for the default bundle: soft tokens and LoRA learn to say what is true of a scene.

Perception is finished and stays as it is; adapters of its streams and LoRA on SmolLM2 are trained together,
as in stage 2 of Emotion-LLaMAv2. What a step learns is a function of the seed and its number, so that a run
that was killed goes on from its last checkpoint as if it had not been.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from emollama_ros.estimate import Modality
from emollama_ros.language.templates import PLACEHOLDER, TEMPLATES
from training.cognition.scenes import Scene
from training.cognition.texts import Lesson, draw_lesson
from training.networks.emotion_llama import IGNORED, SOFT, SoftTokens, answer_losses
from training.networks.language import LanguageModel, TextCodec, suit_attention
from training.networks.perception_net import PerceptionNet
from training.networks.soft_tokens import SoftTokenAdapters
from training.presets import LoraPreset
from training.whole_files import write_whole

#: SmolLM2's form of a prompt.
TEMPLATE = TEMPLATES["smollm2"]
#: What a run keeps in its folder.
CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class CognitionConfig:
    """How it is trained.

    Attributes:
        steps: Of the optimiser.
        batch: Lessons a step.
        rate: Highest learning rate of LoRA.
        adapter_rate: Highest learning rate of the adapters.
        warmup: Steps until then; afterwards it falls to nothing along a cosine.
        lora: Rank, alpha, dropout and targets.
        save_every: Steps between checkpoints.
        seed: Of everything random.
    """

    steps: int = 600
    batch: int = 8
    rate: float = 5e-4
    adapter_rate: float = 1e-4
    warmup: int = 30
    lora: LoraPreset = LoraPreset(rank=16, alpha=32.0, dropout=0.05, targets=("q_proj", "v_proj"))
    save_every: int = 50
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The settings as plain data."""
        return {**vars(self), "lora": self.lora.model_dump(mode="json")}


class Cognition(nn.Module):
    """Finished perception, adapters of its streams, and a language model with LoRA."""

    def __init__(self, net: PerceptionNet, adapters: SoftTokenAdapters, language: LanguageModel) -> None:
        super().__init__()
        self.net, self.adapters = net.eval().requires_grad_(False), adapters
        self.llama_model, self.codec = language.model, language.codec

    def forward(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
        """Cross entropy of each token of the answers (N,), and the lesson that it is of (N,)."""
        return self.losses(lessons, self.soft(lessons))

    def losses(self, lessons: Sequence[Lesson], soft: SoftTokens) -> tuple[Tensor, Tensor]:
        """The same with soft tokens of one's own choice."""
        ids, mask, targets = collate(lessons, self.codec, soft.tokens.shape[1])
        return answer_losses(self.llama_model, ids, mask, soft, targets)

    def soft(self, lessons: Sequence[Lesson]) -> SoftTokens:
        """Soft tokens of what is shown."""
        audio, image, video, present = shown(lessons)
        with torch.no_grad():
            fused = self.net(audio, image, video, present)[2]
        return self.adapters(audio, image, video, fused, present)

    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def measured(self) -> dict[str, Tensor]:
        """What is usual in the adapters' streams, by name."""
        return {f"adapters.{name}": value for name, value in self.adapters.named_buffers()}


def shown(lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Audio, image, video and present of lessons, as `PerceptionNet` takes them."""
    columns = (np.stack([getattr(x.scene, name) for x in lessons]) for name in ("audio", "image", "video"))
    present = [[Modality.AUDIO in x.given, Modality.VIDEO in x.given] for x in lessons]
    return *(torch.from_numpy(c.astype(np.float32)) for c in columns), torch.tensor(present).float()  # type: ignore[return-value]


def collate(lessons: Sequence[Lesson], codec: TextCodec, soft_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids (B, S) with `SOFT` in the places of soft tokens, which of them count, and targets."""
    rows = [_tokens(lesson, codec, soft_tokens) for lesson in lessons]
    size = (len(rows), max(len(prompt) + len(answer) for prompt, answer in rows))
    ids, targets = torch.zeros(size, dtype=torch.long), torch.full(size, IGNORED)
    mask = torch.zeros(size, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        mask[row, :end] = True
        targets[row, len(prompt) : end] = torch.tensor(answer)
    return ids, mask, targets


def _tokens(lesson: Lesson, codec: TextCodec, soft_tokens: int) -> tuple[list[int], list[int]]:
    prompt = TEMPLATE.prompt(lesson.task, lesson.question, lesson.transcript)
    before, _, after = prompt.partition(PLACEHOLDER)
    asked = [*codec.start, *codec.encode(before), *[SOFT] * soft_tokens, *codec.encode(after)]
    return asked, codec.encode(lesson.answer + TEMPLATE.stop)


def fit(model: Cognition, scenes: Sequence[Scene], config: CognitionConfig, out: Path) -> None:
    """Train adapters and LoRA in place; goes on from the checkpoint in ``out`` where there is one.

    Args:
        model: As built.
        scenes: To learn from; each source is drawn as often as the root of its size says.
        config: How.
        out: Folder of checkpoint and log.

    Raises:
        FloatingPointError: The loss is no number; names the clips.
    """
    out.mkdir(parents=True, exist_ok=True)
    learning = model.trained()
    adapters = [v for n, v in learning.items() if n.startswith("adapters.")]
    lora = [v for n, v in learning.items() if not n.startswith("adapters.")]
    rates = [config.adapter_rate, config.rate]
    optimiser = torch.optim.AdamW(
        [{"params": p, "lr": r} for p, r in zip((adapters, lora), rates, strict=True)], weight_decay=0.01
    )
    first = _restore(out / CHECKPOINT, model, optimiser)
    suit_attention(model.llama_model, torch.device("cpu"))
    model.train()
    model.net.eval()
    for step in tqdm(range(first, config.steps), initial=first, total=config.steps, desc="cognition"):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share_of_rate(step, config)
        torch.manual_seed(config.seed * 1_000_003 + step)
        loss = _step(model, draw(scenes, model.codec, config, step), optimiser)
        with (out / LOG).open("a") as log:
            log.write(json.dumps({"step": step, "loss": round(loss, 4)}) + "\n")
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _keep(out / CHECKPOINT, model, optimiser, step + 1)
    model.eval()


def _step(model: Cognition, lessons: Sequence[Lesson], optimiser: torch.optim.Optimizer) -> float:
    loss = model(lessons)[0].mean()
    if not torch.isfinite(loss):
        names = ", ".join(lesson.scene.name for lesson in lessons)
        raise FloatingPointError(f"loss is {loss.item()} on {names}")
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 1.0)
    optimiser.step()
    return float(loss.item())


def share_of_rate(step: int, config: CognitionConfig) -> float:
    """Linear warm-up, then a cosine to nothing."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 * (1 + float(np.cos(np.pi * (step - config.warmup) / max(1, config.steps - config.warmup))))


def draw(scenes: Sequence[Scene], tokens: TextCodec, config: CognitionConfig, step: int) -> list[Lesson]:
    """The lessons of a step."""
    rng = np.random.default_rng([config.seed, step])
    sources = np.array([scene.person.split(":")[0] for scene in scenes])
    sizes = {source: (sources == source).sum() for source in np.unique(sources)}
    weights = np.array([sizes[source] ** -0.5 for source in sources])
    rows = rng.choice(len(scenes), config.batch, replace=False, p=weights / weights.sum())
    return [draw_lesson(scenes[row], tokens, rng) for row in rows]


def _keep(path: Path, model: Cognition, optimiser: torch.optim.Optimizer, step: int) -> None:
    learning = model.trained()
    held = {name: value.detach().contiguous() for name, value in (learning | model.measured()).items()}
    for name, value in learning.items():
        held |= {f"{part}/{name}": optimiser.state[value][part] for part in _MOMENTS}
    write_whole(path, lambda part: save_file(held, part, metadata={"step": str(step)}))


def _restore(path: Path, model: Cognition, optimiser: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    held, step, learning = load_file(path), step_of(path), model.trained()
    with torch.no_grad():
        for name, value in (learning | model.measured()).items():
            value.copy_(held[name])
        for name, value in learning.items():
            moments = {part: held[f"{part}/{name}"] for part in _MOMENTS}
            optimiser.state[value] = {"step": torch.tensor(float(step)), **moments}
    return step


def step_of(path: Path) -> int:
    """The number of steps of a checkpoint."""
    from safetensors import safe_open

    with safe_open(path, "pt") as held:
        return int(held.metadata()["step"])
