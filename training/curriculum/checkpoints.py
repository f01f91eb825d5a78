"""Checkpoints of a run: written beside the last one, then put in its place; read back to the last bit."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from emollama_ros.errors import BundleError
from training.curriculum.network import save_trained
from training.presets import Preset

#: What `training.curriculum.trainer.LearningNetwork` puts before the names of the network's weights.
_PREFIX = "net."


@dataclass(frozen=True)
class Progress:
    """Where a run is: the stage, from 0, and the steps done in it."""

    stage: int = 0
    step: int = 0


@dataclass(frozen=True)
class Cost:
    """What a run took so far, in all its pieces; steps that a kill made it do again count once.

    Attributes:
        steps: Done.
        seconds: Of training.
        peak_bytes: Most memory of the main process.
    """

    steps: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0


class Checkpoints:
    """The checkpoint of a run, in its folder."""

    def __init__(self, out: Path, preset: Preset, accelerator: Accelerator) -> None:
        self._out, self._accelerator = out, accelerator
        self._preset = preset.model_dump(mode="json")

    @property
    def folder(self) -> Path:
        """Of the last checkpoint."""
        return self._out / "checkpoint"

    @property
    def weights(self) -> Path:
        """Trained weights of the last checkpoint."""
        return self.folder / "weights.safetensors"

    def read(self) -> tuple[Progress, Cost] | None:
        """Where the run was; None if it was nowhere yet.

        Raises:
            BundleError: The checkpoint is damaged, or of another preset.
        """
        self._settle()
        if not self.folder.is_dir():
            return None
        try:
            told = json.loads((self.folder / "progress.json").read_text())
            if told["preset"] != self._preset:
                raise BundleError(
                    f"{self.folder}: was made with another preset; use another --out, or delete it"
                )
            return Progress(told["stage"], told["step"]), Cost(**told.get("cost", {}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{self.folder}: damaged ({error}); delete it to start anew") from None

    def load_optimizer(self, optimizer: Any, module: nn.Module) -> None:
        """Give an optimiser its moments back.

        Raises:
            BundleError: The file is damaged.
        """
        path = self.folder / "optimizer.safetensors"
        try:
            stored = load_file(path)
        except Exception as error:  # whatever safetensors finds wrong
            raise BundleError(f"{path}: damaged ({error}); delete {self.folder} to start anew") from None
        state: dict[str, dict[str, Tensor]] = {}
        for name, value in stored.items():
            slot, _, parameter = name.partition("/")
            state.setdefault(parameter, {})[slot] = value
        inner = getattr(optimizer, "optimizer", optimizer)
        settings = {k: v for k, v in inner.param_groups[0].items() if k != "params"}
        groups = [{**settings, "params": list(state)}]
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        set_optimizer_state_dict(module, inner, {"state": state, "param_groups": groups}, options=options)

    def save(self, module: nn.Module, optimizer: Any, progress: Progress, cost: Cost) -> None:
        """Write a checkpoint beside the last one, then take its place; all processes have to call it."""
        weights, moments = _gathered(module, optimizer)
        if self._accelerator.is_main_process:
            part = self._out / "checkpoint.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            save_trained(weights, part / "weights.safetensors")
            save_file(moments, part / "optimizer.safetensors")
            told = {**asdict(progress), "cost": asdict(cost), "preset": self._preset}
            (part / "progress.json").write_text(json.dumps(told))
            if self.folder.is_dir():
                self.folder.rename(self._out / "checkpoint.old")
            part.rename(self.folder)
            shutil.rmtree(self._out / "checkpoint.old", ignore_errors=True)
        self._accelerator.wait_for_everyone()

    def _settle(self) -> None:
        """Bring a save that was killed between two renames to its end."""
        if self._accelerator.is_main_process:
            old = self._out / "checkpoint.old"
            if old.is_dir() and not self.folder.is_dir():
                old.rename(self.folder)
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(self._out / "checkpoint.part", ignore_errors=True)
        self._accelerator.wait_for_everyone()


def _gathered(module: nn.Module, optimizer: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Trained weights and the optimiser's moments, whole, wherever their parts are; on the main process."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    weights = get_model_state_dict(module, options=options)
    inner = getattr(optimizer, "optimizer", optimizer)
    state = get_optimizer_state_dict(module, inner, options=options).get("state", {})
    moments = {
        f"{slot}/{name}": torch.as_tensor(value).contiguous()
        for name, slots in state.items()
        for slot, value in slots.items()
    }
    names = [name for name, value in module.named_parameters() if value.requires_grad]
    trained = [name.removeprefix("module.") for name in names]  # which DDP puts before them
    return {name.removeprefix(_PREFIX): weights[name] for name in trained if name in weights}, moments
