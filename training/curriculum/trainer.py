"""The curriculum: perception, then cognition, on one process or many, resumable to the last bit.

What a step learns, and every draw of dropout in it, is a function of the seed and the numbers of the step and
the batch. So nothing of a random generator has to be saved, two processes draw what one process with twice
the accumulation draws, and a run that was killed ends with the weights of one that was not.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.errors import BundleError, EmollamaError
from training.curriculum.examples import Batch, ExampleMaker
from training.curriculum.network import load_trained, save_trained, trained_state
from training.mmeverse.instructions import chance
from training.networks.emotion_llama import IGNORED, EmotionLlama, Perceived
from training.networks.language import suit_attention
from training.presets import HeadPreset, Preset, StagePreset


class DivergedError(EmollamaError):
    """The loss is no number any more; the text names the step and the samples."""


@dataclass(frozen=True)
class Losses:
    """Of one batch: all together, and its parts."""

    total: Tensor
    answer: Tensor
    label: Tensor
    affect: Tensor


class LearningNetwork(nn.Module):
    """The network with its losses inside, so that wrappers of many processes see one forward."""

    def __init__(self, net: EmotionLlama, head: HeadPreset) -> None:
        super().__init__()
        self.net, self.head = net, head

    def forward(self, batch: Batch) -> Losses:
        """Perceive, answer, and compare."""
        perceived, answer = self.net(batch.features, batch.ids, batch.mask, batch.targets)
        label, affect = head_losses(perceived, batch, self.head.smoothing)
        total = answer + self.head.weight * (label + self.head.affect_weight * affect)
        return Losses(total, answer.detach(), label.detach(), affect.detach())


def head_losses(perceived: Perceived, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
    """Cross entropy of labels and squared error of valence and arousal, over the clips that have them.

    Both hang on the head even where no clip has any, as wrappers of many processes want.
    """
    labelled, felt = batch.labels != IGNORED, ~batch.affect.isnan().any(-1)
    label, affect = perceived.logits.sum() * 0, perceived.affect.sum() * 0
    if labelled.any():
        logits = perceived.logits[labelled].float()
        label = F.cross_entropy(logits, batch.labels[labelled], label_smoothing=smoothing)
    if felt.any():
        affect = (perceived.affect[felt] - batch.affect[felt]).square().mean()
    return label, affect


def rate_at(stage: StagePreset, step: int) -> float:
    """Learning rate of a step: linear warm-up from the least, then a cosine back to it."""
    if step < stage.warmup:
        return stage.least_rate + (stage.rate - stage.least_rate) * step / stage.warmup
    share = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.least_rate + (stage.rate - stage.least_rate) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Progress:
    """Where a run is: the stage, from 0, and the steps done in it."""

    stage: int = 0
    step: int = 0


class Trainer:
    """Trains one network through its curriculum; `run` goes on from the last checkpoint in ``out``."""

    def __init__(
        self, preset: Preset, net: EmotionLlama, examples: ExampleMaker, out: Path, accelerator: Accelerator
    ) -> None:
        """Prepare; nothing is trained yet."""
        self.preset, self.examples, self.out, self.accelerator = preset, examples, out, accelerator
        out.mkdir(parents=True, exist_ok=True)
        if net.llama_model is not None:
            suit_attention(net.llama_model, accelerator.device)
        self._module = LearningNetwork(net, preset.head)
        self._log = _Log(out / "log.jsonl") if accelerator.is_main_process else None

    def run(self, stop_after: int | None = None) -> Path:
        """Train what is left of the curriculum.

        Args:
            stop_after: End after so many more steps, as if interrupted; None for the whole curriculum.

        Returns:
            The file of the trained weights.

        Raises:
            DivergedError: The loss is no number any more.
            BundleError: The checkpoint is damaged, or of another network.
        """
        progress = self._resume_weights()
        module = self.accelerator.prepare_model(self._module)
        done = 0
        for index in range(progress.stage, len(self.preset.curriculum)):
            stage = self.preset.curriculum[index]
            optimizer = self._optimizer(module, stage)
            first = progress.step if index == progress.stage else 0
            if first:
                self._resume_optimizer(optimizer, module)
            for step in self._steps(index, stage, first, module, optimizer):
                done += 1
                is_last = step + 1 == stage.steps
                if (step + 1) % stage.save_every == 0 or is_last or done == stop_after:
                    self._save(module, optimizer, Progress(index + is_last, 0 if is_last else step + 1))
                if done == stop_after:
                    return self.out / "checkpoint" / "weights.safetensors"
        return self._finish(module)

    def _steps(
        self, index: int, stage: StagePreset, first: int, module: nn.Module, optimizer: Any
    ) -> Iterator[int]:
        """Train step after step; yields the number of each when it is done."""
        processes, process = self.accelerator.num_processes, self.accelerator.process_index
        batches = self.examples.batches(stage, first * stage.accumulate * processes, process, processes)
        bar = tqdm(range(first, stage.steps), f"stage {stage.stage}", stage.steps, initial=first)
        module.train()
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(stage, step)
            losses = [
                self._backward(module, next(batches), stage, (index, step, part * processes + process))
                for part in range(stage.accumulate)
            ]
            norm = self._clip(module, stage)
            optimizer.step()
            optimizer.zero_grad()
            self._tell(index, step, losses, norm, rate_at(stage, step), bar)
            yield step

    def _backward(
        self, module: nn.Module, batch: Batch, stage: StagePreset, draw: tuple[int, int, int]
    ) -> Losses:
        is_last = draw[2] // self.accelerator.num_processes == stage.accumulate - 1
        batch = batch.to(self.accelerator.device)
        torch.manual_seed(int(chance.fraction(self.preset.seed, *draw, "dropout") * 2**53))
        with nullcontext() if is_last else self.accelerator.no_sync(module):
            with self.accelerator.autocast():
                losses = module(batch)
            if not torch.isfinite(losses.total):
                raise DivergedError(_diagnosis(self._module, batch, draw))
            self.accelerator.backward(losses.total / stage.accumulate)
        return losses

    def _clip(self, module: nn.Module, stage: StagePreset) -> float:
        largest = stage.clip_norm if stage.clip_norm is not None else math.inf
        trained = [p for p in module.parameters() if p.requires_grad]
        return float(self.accelerator.clip_grad_norm_(trained, largest))

    def _optimizer(self, module: nn.Module, stage: StagePreset) -> Any:
        trained = [p for p in module.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(
            trained, stage.least_rate, betas=stage.betas, weight_decay=stage.weight_decay
        )
        return self.accelerator.prepare_optimizer(adam)

    # --- what is written, and read again ----------------------------------------------------------------

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint"

    def _resume_weights(self) -> Progress:
        """Load the weights of the last checkpoint, and say where it was."""
        self._settle()
        if not self._checkpoint.is_dir():
            return Progress()
        try:
            told = json.loads((self._checkpoint / "progress.json").read_text())
            if told["preset"] != self.preset.model_dump(mode="json"):
                raise BundleError(
                    f"{self._checkpoint}: was made with another preset; use another --out, or delete it"
                )
            progress = Progress(told["stage"], told["step"])
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(f"{self._checkpoint}: damaged ({error}); delete it to start anew") from None
        load_trained(self._module.net, self._checkpoint / "weights.safetensors")
        if self._log:
            self._log.cut(progress)
        return progress

    def _resume_optimizer(self, optimizer: Any, module: nn.Module) -> None:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

        stored = load_file(self._checkpoint / "optimizer.safetensors")
        state: dict[str, dict[str, Tensor]] = {}
        for name, value in stored.items():
            slot, _, parameter = name.partition("/")
            state.setdefault(parameter, {})[slot] = value
        inner = getattr(optimizer, "optimizer", optimizer)
        settings = {k: v for k, v in inner.param_groups[0].items() if k != "params"}
        groups = [{**settings, "params": list(state)}]
        set_optimizer_state_dict(
            module,
            inner,
            {"state": state, "param_groups": groups},
            options=StateDictOptions(full_state_dict=True, cpu_offload=True),
        )

    def _save(self, module: nn.Module, optimizer: Any, progress: Progress) -> None:
        """Write a checkpoint beside the last one, then take its place."""
        weights, moments = self._gathered(module, optimizer)
        if self.accelerator.is_main_process:
            part = self.out / "checkpoint.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            save_trained(weights, part / "weights.safetensors")
            save_file(moments, part / "optimizer.safetensors")
            told = {**vars(progress), "preset": self.preset.model_dump(mode="json")}
            (part / "progress.json").write_text(json.dumps(told))
            if self._checkpoint.is_dir():
                self._checkpoint.rename(self.out / "checkpoint.old")
            part.rename(self._checkpoint)
            shutil.rmtree(self.out / "checkpoint.old", ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _settle(self) -> None:
        """Bring a save that was killed between two renames to its end."""
        if self.accelerator.is_main_process:
            old = self.out / "checkpoint.old"
            if old.is_dir() and not self._checkpoint.is_dir():
                old.rename(self._checkpoint)
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(self.out / "checkpoint.part", ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _gathered(self, module: nn.Module, optimizer: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Trained weights and the optimiser's moments, whole, wherever their parts are."""
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_model_state_dict,
            get_optimizer_state_dict,
        )

        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        weights = get_model_state_dict(module, options=options)
        inner = getattr(optimizer, "optimizer", optimizer)
        state = get_optimizer_state_dict(module, inner, options=options).get("state", {})  # main process only
        moments = {
            f"{slot}/{name}": torch.as_tensor(value).contiguous()
            for name, slots in state.items()
            for slot, value in slots.items()
        }
        trained = trained_state(self._module.net)
        return {name: weights[f"net.{name}"] for name in trained if f"net.{name}" in weights}, moments

    def _finish(self, module: nn.Module) -> Path:
        path = self.out / "weights.safetensors"
        if self.accelerator.is_main_process:
            shutil.copy(self._checkpoint / "weights.safetensors", path)
            if self._log:
                plot_losses(self._log.path, self.out / "loss.png")
        self.accelerator.wait_for_everyone()
        return path

    def _tell(self, index: int, step: int, losses: list[Losses], norm: float, rate: float, bar: Any) -> None:
        names = ("total", "answer", "label", "affect")
        sums = torch.stack([torch.stack([getattr(x, name).detach() for name in names]) for x in losses])
        means = dict(zip(names, self.accelerator.reduce(sums.mean(0), "mean").tolist(), strict=True))
        if self._log:
            self._log.add({"stage": index, "step": step, **means, "norm": norm, "rate": rate})
            bar.set_postfix(loss=f"{means['total']:.3f}")


def _diagnosis(module: nn.Module, batch: Batch, draw: tuple[int, int, int]) -> str:
    """Which clips of a batch give a loss that is no number."""
    with torch.no_grad():
        bad = [key for i, key in enumerate(batch.keys) if not torch.isfinite(module(batch.row(i)).total)]
    stage, step, _ = draw
    names = ", ".join(bad) if bad else f"none alone; together: {', '.join(batch.keys)}"
    return (
        f"stage {stage + 1}, step {step}: the loss is no number; clips: {names}. "
        "The last checkpoint is from before; lower the rate, or leave these clips out"
    )


class _Log:
    """One line of JSON a step, and TensorBoard's events where it is installed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = _tensorboard(path.parent / "tensorboard")

    def add(self, entry: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            for name in ("total", "answer", "label", "affect", "norm", "rate"):
                self._writer.add_scalar(f"stage{entry['stage'] + 1}/{name}", entry[name], entry["step"])

    def cut(self, progress: Progress) -> None:
        """Take away what a killed run wrote after its last checkpoint."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # the killed run's last line
            if (entry["stage"], entry["step"]) < (progress.stage, progress.step):
                kept.append(line)
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def plot_losses(log: Path, out: Path) -> None:
    """Draw the losses of a run over its steps, one panel a stage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    stages = sorted({entry["stage"] for entry in entries})
    figure, axes = plt.subplots(1, len(stages), figsize=(5 * len(stages), 3.2), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        rows = [entry for entry in entries if entry["stage"] == stage]
        for name in ("answer", "label", "affect"):
            axis.plot([row["step"] for row in rows], [row[name] for row in rows], label=name, linewidth=0.8)
        axis.set(title=f"stage {stage + 1}", xlabel="step", ylabel="loss")
        axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    plt.close(figure)
