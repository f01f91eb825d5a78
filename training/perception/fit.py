"""Training and leave-one-person-out evaluation of the perception network on extracted features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.labels import CIRCUMPLEX, DEFAULT_LABELS
from training.networks.perception_net import PerceptionNet, PerceptionNetConfig
from training.perception.features import FeatureSet

#: Chance that a window with sound and picture is trained with both, with sound alone, with picture alone.
MODALITY_DROPOUT = (0.5, 0.25, 0.25)


@dataclass(frozen=True)
class FitConfig:
    """Schedule of the perception network.

    Attributes:
        epochs: Passes over the windows.
        batch: Windows a step.
        rate: Peak learning rate.
        weight_decay: AdamW's.
        smoothing: Label smoothing.
        affect_weight: Weight of the valence and arousal error.
        seed: Of initialisation, order and dropout.
    """

    epochs: int = 20
    batch: int = 64
    rate: float = 1e-3
    weight_decay: float = 0.05
    smoothing: float = 0.1
    affect_weight: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Prediction:
    """Logits (N, labels) and affect (N, 2) of N windows."""

    logits: NDArray[np.float32]
    affect: NDArray[np.float32]


def fit(
    data: FeatureSet, config: FitConfig, net_config: PerceptionNetConfig | None = None, device: str = "cpu"
) -> PerceptionNet:
    """Train a network on windows; missing modalities are masked, present ones sometimes dropped."""
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    net = PerceptionNet(net_config).to(device).train()
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.weight_decay)
    steps = -(-len(data) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps * config.epochs)
    inputs, labels = tensors(data, device), torch.from_numpy(data.labels).to(device)
    affect = torch.tensor([CIRCUMPLEX[name] for name in DEFAULT_LABELS], device=device)[labels]
    weights = balance(data).to(device)
    for _ in tqdm(range(config.epochs), desc="perception", leave=False):
        for rows in torch.randperm(len(data), generator=generator).to(device).split(config.batch):
            audio, image, video, present = (column[rows].float() for column in inputs)
            logits, felt, _ = net(audio, image, video, drop_modalities(present, generator))
            errors = F.cross_entropy(logits, labels[rows], label_smoothing=config.smoothing, reduction="none")
            errors = errors + config.affect_weight * (felt - affect[rows]).square().mean(-1)
            loss = (errors * weights[rows]).mean()
            if not torch.isfinite(loss):
                raise FloatingPointError(f"loss is {loss.item()}; windows {rows.tolist()[:8]}...")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(net)
    return average.module.eval()


def balance(data: FeatureSet) -> Tensor:
    """Weight of each window, mean 1: every source counts by the root of its size, every label of it alike."""
    sources = np.array([p.split(":")[0] for p in data.persons])
    weights = np.zeros(len(data))
    for source in np.unique(sources):
        inside = sources == source
        for label in np.unique(data.labels[inside]):
            rows = inside & (data.labels == label)
            weights[rows] = np.sqrt(inside.sum()) / rows.sum()
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def tensors(data: FeatureSet, device: str) -> tuple[Tensor, ...]:
    """Inputs of the network (audio, image, video, present) on a device, still in half precision."""
    columns = (data.audio, data.image, data.video, data.present)
    return tuple(torch.from_numpy(column).to(device) for column in columns)


def drop_modalities(present: Tensor, generator: torch.Generator) -> Tensor:
    """Take sound or picture away at random where both are there."""
    draw = torch.rand(len(present), generator=generator).to(present.device)
    both = present.sum(-1) == 2
    only_audio = both & (draw < MODALITY_DROPOUT[1])
    only_vision = both & (draw > 1 - MODALITY_DROPOUT[2])
    present = present.clone()
    present[only_audio, 1] = 0
    present[only_vision, 0] = 0
    return present


@torch.no_grad()
def predict(net: PerceptionNet, data: FeatureSet, use: tuple[bool, bool] = (True, True)) -> Prediction:
    """Run the network; ``use`` masks audio, vision."""
    device = net.absent.device
    mask = torch.tensor(use, dtype=torch.float32, device=device)
    parts = []
    for columns in zip(*(column.split(128) for column in tensors(data, str(device))), strict=True):
        audio, image, video, present = (column.float() for column in columns)
        parts.append(net(audio, image, video, present * mask)[:2])
    return Prediction(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))
