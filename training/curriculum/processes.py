"""Processes that train together: how they start, what each does of shared work, how they share weights.

Plain data parallelism (DDP) is accelerate's. Weights are sharded (FSDP2) by PyTorch's `fully_shard` itself,
which accelerate calls too: accelerate does so on GPUs only, and what the tests run on CPUs shall be what runs
on GPUs.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin, InitProcessGroupKwargs, gather_object
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from emollama_ros.errors import ConfigError
from training.curriculum.team import Team
from training.networks.emotion_llama import EmotionLlama

#: While one process encodes the last of its clips, or scores, the others wait.
PATIENCE = timedelta(days=1)


def start(device: str) -> Accelerator:
    """Join the processes that torchrun or ``accelerate launch`` started; alone without them.

    Args:
        device: cpu or cuda. From here on, ``cuda`` is this process's own GPU.
    """
    return Accelerator(cpu=device == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])


def team_of(accelerator: Accelerator) -> Team:
    """The processes of an accelerator."""
    return Team(accelerator.process_index, accelerator.num_processes, gather_object)


# --- sharded weights ----------------------------------------------------------------------------------------


def is_sharding_asked() -> bool:
    """Whether ``accelerate launch`` was given settings of FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def shard(module: nn.Module, net: EmotionLlama, device: torch.device) -> None:
    """Leave every process a part of each weight (FSDP2; Zhao et al., arXiv 2304.11277).

    The blocks of the language model are gathered one at a time, everything else together. Weights keep their
    types: of a block, frozen weights in bfloat16 and LoRA's in single precision. Gradients, and so the
    optimiser's moments, are LoRA's alone.

    Args:
        module: Holds the network; is changed in place. Optimisers are made afterwards.
        net: The network.
        device: Of this process.

    Raises:
        ConfigError: The process was not started by torchrun or accelerate; or the settings ask for what is
            not done here.
    """
    reshards = checked_settings().reshard_after_forward
    mesh = torch.distributed.init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for block in _blocks(net):
        fully_shard(block, mesh=mesh, reshard_after_forward=bool(reshards))
    fully_shard(module, mesh=mesh)


def checked_settings() -> FullyShardedDataParallelPlugin:
    """Settings of sharding that ``accelerate launch`` put into the environment, else the usual ones.

    Raises:
        ConfigError: As `shard`.
    """
    if not torch.distributed.is_initialized():
        raise ConfigError(
            "sharded weights need processes to share them: torchrun --nproc-per-node N -m training train ..."
        )
    version = os.environ.get("FSDP_VERSION", "2")
    if version != "2":
        raise ConfigError(f"fsdp_version: {version} cannot join weights of several types; set it to 2")
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    for name, instead in (
        ("OFFLOAD_PARAMS", "more processes"),
        ("ACTIVATION_CHECKPOINTING", "language.checkpointing of the preset"),
    ):
        if os.environ.get(f"FSDP_{name}", "false").lower() == "true":
            raise ConfigError(f"fsdp_{name.lower()}: true is not done here; set it to false, use {instead}")
    return plugin


def _blocks(net: EmotionLlama) -> list[nn.Module]:
    """The language model's blocks, by the names that its class gives them in transformers."""
    if net.llama_model is None:
        return []
    base = getattr(net.llama_model, "get_base_model", lambda: net.llama_model)()
    names = set(getattr(base, "_no_split_modules", None) or ())
    return [module for module in base.modules() if type(module).__name__ in names]


def unshard_outside_blocks(module: nn.Module) -> None:
    """Gather what is not in a block for good, so that parts of the network can be called by themselves.

    Blocks go on gathering their own. All processes have to make the same calls.
    """
    if isinstance(module, FSDPModule):
        module.unshard()


def accumulating(module: nn.Module, accelerator: Accelerator) -> AbstractContextManager[None]:
    """Within it, gradients stay with each process."""
    return _accumulating_shards(module) if isinstance(module, FSDPModule) else accelerator.no_sync(module)


@contextmanager
def _accumulating_shards(module: FSDPModule) -> Iterator[None]:
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def number(value: Tensor) -> float:
    """A scalar, whole where its parts are on several processes."""
    return float(value.full_tensor() if isinstance(value, DTensor) else value)


def peak_bytes(device: torch.device) -> int:
    """Most memory that this process had so far: of its GPU, or without one of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
