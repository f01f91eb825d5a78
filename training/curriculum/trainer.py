"""The curriculum: perception, then cognition, on one process or many, resumable to the last bit.

What a step learns, and every draw of dropout in it, is a function of the seed and the numbers of the step and
the batch. So nothing of a random generator has to be saved, two processes draw what one process with twice
the accumulation draws, and a run that was killed ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.errors import EmollamaError
from training.curriculum.checkpoints import Checkpoints, Cost, Progress
from training.curriculum.examples import Batch, ExampleMaker
from training.curriculum.network import load_start, load_trained
from training.curriculum.processes import (
    accumulating,
    is_sharding_asked,
    number,
    peak_bytes,
    shard,
    unshard_outside_blocks,
)
from training.curriculum.run_log import RunLog, plot_losses
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
        further = batch.further.features if batch.further else None
        perceived, answer = self.net(batch.features, batch.ids, batch.mask, batch.targets, further)
        label, affect = head_losses(perceived, *batch.known, self.head.smoothing)
        total = answer + self.head.weight * (label + self.head.affect_weight * affect)
        return Losses(total, answer.detach(), label.detach(), affect.detach())


def head_losses(
    perceived: Perceived, labels: Tensor, affect: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Cross entropy of labels and squared error of valence and arousal, over the clips that have them.

    ``labels`` (B,) hold `IGNORED` and ``affect`` (B, 2) NaN where nothing is known. Both losses hang on the
    head even where no clip has any, as wrappers of many processes want.
    """
    labelled, felt = labels != IGNORED, ~affect.isnan().any(-1)
    of_labels, of_affect = perceived.logits.sum() * 0, perceived.affect.sum() * 0
    if labelled.any():
        logits = perceived.logits[labelled].float()
        of_labels = F.cross_entropy(logits, labels[labelled], label_smoothing=smoothing)
    if felt.any():
        of_affect = (perceived.affect[felt] - affect[felt]).square().mean()
    return of_labels, of_affect


def rate_at(stage: StagePreset, step: int) -> float:
    """Learning rate of a step: linear warm-up from the least, then a cosine back to it."""
    if step < stage.warmup:
        return stage.least_rate + (stage.rate - stage.least_rate) * step / stage.warmup
    share = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.least_rate + (stage.rate - stage.least_rate) * 0.5 * (1 + math.cos(math.pi * share))


class Trainer:
    """Trains one network through its curriculum; `run` goes on from the last checkpoint in ``out``."""

    def __init__(
        self,
        preset: Preset,
        net: EmotionLlama,
        examples: ExampleMaker,
        out: Path,
        accelerator: Accelerator,
        *,
        sharded: bool = False,
    ) -> None:
        """Prepare; nothing is trained yet.

        Args:
            preset: Of the network, with its curriculum.
            net: As built; what is trained of it is changed in place.
            examples: To learn from.
            out: Folder of checkpoints, log and weights; made if it is not there.
            accelerator: Of this process; `training.curriculum.processes.start`.
            sharded: Leave every process a part of each weight (FSDP2), as settings of accelerate also can.
        """
        self.preset, self.examples, self.out, self.accelerator = preset, examples, out, accelerator
        self.cost = Cost()
        out.mkdir(parents=True, exist_ok=True)
        if net.llama_model is not None:
            suit_attention(net.llama_model, accelerator.device)
        self._module = LearningNetwork(net, preset.head)
        self._sharded = sharded or is_sharding_asked()
        self._checkpoints = Checkpoints(out, preset, accelerator)
        self._log = RunLog(out / "log.jsonl") if accelerator.is_main_process else None

    def run(self, stop_after: int | None = None) -> Path:
        """Train what is left of the curriculum.

        Args:
            stop_after: End after so many more steps, as if interrupted; None for the whole curriculum.

        Returns:
            The file of the trained weights.

        Raises:
            DivergedError: The loss is no number any more.
            BundleError: The checkpoint, or what the preset starts from, is damaged or of another network.
            ConfigError: A stage has nothing to learn from; or weights are to be sharded without processes.
        """
        for stage in self.preset.curriculum[1:]:  # before hours are spent on the first
            next(self.examples.batches(stage, 0, 0, 1))
        progress = self._begin()
        module = self._prepared()
        began, before, done = time.monotonic(), self.cost, 0
        with self._bar(before.steps) as bar:
            for index in range(progress.stage, len(self.preset.curriculum)):
                stage = self.preset.curriculum[index]
                optimizer = self._optimizer(module, stage)
                first = progress.step if index == progress.stage else 0
                if first:
                    self._checkpoints.load_optimizer(optimizer, module)
                for step in self._steps(index, stage, first, module, optimizer, bar):
                    done += 1
                    self.cost = self._added(before, done, time.monotonic() - began)
                    is_last = step + 1 == stage.steps
                    if (step + 1) % stage.save_every == 0 or is_last or done == stop_after:
                        reached = Progress(index + is_last, 0 if is_last else step + 1)
                        self._checkpoints.save(module, optimizer, reached, self.cost)
                    if done == stop_after:
                        return self._checkpoints.weights
        unshard_outside_blocks(module)
        return self._finish()

    def _begin(self) -> Progress:
        """Load the weights of the last checkpoint, or those that the preset starts from."""
        found = self._checkpoints.read()
        if found is not None:
            load_trained(self._module.net, self._checkpoints.weights)
            progress, self.cost = found
        else:
            progress = Progress()
            if self.preset.start is not None:
                self._start(Path(self.preset.start))
        if self._log:
            self._log.cut(progress)
        return progress

    def _start(self, path: Path) -> None:
        new = load_start(self._module.net, path)
        if new and self.accelerator.is_main_process:
            tqdm.write(f"{path}: lacks {', '.join(new)}; trained from their random beginnings")

    def _prepared(self) -> nn.Module:
        if not self._sharded:
            return self.accelerator.prepare_model(self._module)
        shard(self._module, self._module.net, self.accelerator.device)
        return self._module

    def _bar(self, done: int) -> Any:
        """Over the steps of all stages, so that the time that is left is that of the run."""
        total = sum(stage.steps for stage in self.preset.curriculum)
        silent = {} if self.accelerator.is_main_process else {"disable": True}
        return tqdm(total=total, initial=done, unit="step", **silent)

    def _added(self, before: Cost, steps: int, seconds: float) -> Cost:
        peak = max(before.peak_bytes, peak_bytes(self.accelerator.device))
        return Cost(before.steps + steps, before.seconds + seconds, peak)

    def _steps(
        self, index: int, stage: StagePreset, first: int, module: nn.Module, optimizer: Any, bar: Any
    ) -> Iterator[int]:
        """Train step after step; yields the number of each when it is done."""
        processes, process = self.accelerator.num_processes, self.accelerator.process_index
        batches = self.examples.batches(stage, first * stage.accumulate * processes, process, processes)
        bar.set_description(f"stage {stage.stage}")
        module.train()
        for step in range(first, stage.steps):
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
        with nullcontext() if is_last else accumulating(module, self.accelerator):
            with self.accelerator.autocast():
                losses = module(batch)
            if not torch.isfinite(losses.total):
                raise DivergedError(_diagnosis(self._module, batch, draw, alone=not self._sharded))
            self.accelerator.backward(losses.total / stage.accumulate)
        return losses

    def _clip(self, module: nn.Module, stage: StagePreset) -> float:
        largest = stage.clip_norm if stage.clip_norm is not None else math.inf
        trained = [p for p in module.parameters() if p.requires_grad]
        return number(self.accelerator.clip_grad_norm_(trained, largest))

    def _optimizer(self, module: nn.Module, stage: StagePreset) -> Any:
        """AdamW, newly begun; of sharded weights it holds the moments of this process's part."""
        trained = [p for p in module.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(
            trained, stage.least_rate, betas=stage.betas, weight_decay=stage.weight_decay
        )
        return self.accelerator.prepare_optimizer(adam)

    def _finish(self) -> Path:
        path = self.out / "weights.safetensors"
        if self.accelerator.is_main_process:
            shutil.copy(self._checkpoints.weights, path)
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
            bar.set_postfix(loss=f"{means['total']:.3f}", refresh=False)
        bar.update()


def _diagnosis(module: LearningNetwork, batch: Batch, draw: tuple[int, int, int], *, alone: bool) -> str:
    """Which clips of a batch give a loss that is no number.

    Args:
        module: The network, without what processes wrap around it.
        batch: Of this process.
        draw: Numbers of the stage, the step and the batch.
        alone: Whether clips can be looked at one by one; sharded weights need all processes for that.
    """
    stage, step, _ = draw
    everyone = batch.keys + (batch.further.keys if batch.further else ())
    names = f"among {', '.join(everyone)}"
    if alone:
        bad = dict.fromkeys(_bad(module, batch))
        names = ", ".join(bad) if bad else f"none alone; together: {', '.join(everyone)}"
    return (
        f"stage {stage + 1}, step {step}: the loss is no number; clips: {names}. "
        "The last checkpoint is from before; lower the rate, or leave these clips out"
    )


@torch.no_grad()
def _bad(module: LearningNetwork, batch: Batch) -> Iterator[str]:
    """Clips of a batch that give a loss which is no number, each on its own."""
    for index, key in enumerate(batch.keys):
        if not torch.isfinite(module(batch.row(index)).total):
            yield key
    if batch.further:
        logits = module.net.perceive(batch.further.features)[0].logits
        yield from (batch.further.keys[row] for row in (~logits.isfinite().all(-1)).nonzero()[:, 0].tolist())
