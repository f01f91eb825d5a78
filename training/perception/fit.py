"""Training of the perception network on extracted features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.labels import CIRCUMPLEX, DEFAULT_LABELS
from training.networks.perception_net import DirectPath, PerceptionNet, PerceptionNetConfig, statistics
from training.perception.features import NOBODY, FeatureSet

#: Generated people teach what recordings lack (faces afar, disgust on video), and count half: nobody is like
#: them.
SOURCE_WEIGHTS = {"synthesis": 0.5}
#: Chance that a window with sound and picture is trained with both, with sound alone, with picture alone.
MODALITY_DROPOUT = (0.5, 0.25, 0.25)


@dataclass(frozen=True)
class FitConfig:
    """Schedule of the perception network.

    Attributes:
        epochs: Passes over the windows, of the fused path.
        batch: Windows a step.
        rate: Peak learning rate.
        weight_decay: AdamW's.
        smoothing: Label smoothing of the fused path.
        affect_weight: Weight of the valence and arousal error.
        voice_penalty: Half of it times the squared weights of the voice's direct path is added to its loss.
        face_penalty: The same of the face's.
        nobody_weight: Weight of all windows in which nobody is, as a share of all others.
        seed: Of initialisation, order and dropout.
    """

    epochs: int = 2
    batch: int = 128
    rate: float = 5e-4
    weight_decay: float = 0.05
    smoothing: float = 0.1
    affect_weight: float = 0.5
    voice_penalty: float = 0.05
    face_penalty: float = 0.1
    nobody_weight: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Prediction:
    """Logits (N, labels) and affect (N, 2) of N windows."""

    logits: NDArray[np.float32]
    affect: NDArray[np.float32]


def fit(
    data: FeatureSet, config: FitConfig, net_config: PerceptionNetConfig | None = None, device: str = "cpu"
) -> PerceptionNet:
    """Train a network on windows: each sense's direct path by itself, then what the senses say together.

    The direct paths are regularised linear models, found to the end; nothing of them depends on a seed. They
    stay as they are while the fused path learns what they leave, missing modalities masked and present ones
    sometimes dropped: so a weak sense cannot pull down a strong one.
    """
    torch.manual_seed(config.seed)
    net = PerceptionNet(net_config).to(device)
    inputs = tensors(data, device)
    weights = balance(data, config.nobody_weight).to(device)
    wanted, affect = (t.to(device) for t in targets(data.labels, 0.0))
    for path, penalty, (found, rows) in (
        (net.voice, config.voice_penalty, _statistics(inputs[0], net.voice_statistics, data.present[:, 0])),
        (net.face, config.face_penalty, _statistics(inputs[2], statistics, data.present[:, 1])),
    ):
        if len(rows):
            fit_direct(
                path, found, (wanted[rows], affect[rows], weights[rows]), penalty, config.affect_weight
            )
    return fit_fused(net, data, inputs, weights, config)


@torch.no_grad()
def _statistics(
    tokens: Tensor, read: Callable[[Tensor], Tensor], present: NDArray[np.float32]
) -> tuple[Tensor, Tensor]:
    """What a direct path reads of the windows that have its sense, and which these are."""
    rows = torch.from_numpy(np.flatnonzero(present > 0)).to(tokens.device)
    parts = [read(tokens[some].float()) for some in rows.split(256)]
    return (torch.cat(parts) if parts else tokens.new_zeros(0)), rows


def fit_direct(
    path: DirectPath,
    found: Tensor,
    wanted: tuple[Tensor, Tensor, Tensor],
    penalty: float,
    affect_weight: float,
) -> None:
    """Find the linear map of least penalised error, by L-BFGS.

    Args:
        path: Is set.
        found: (N, size) statistics.
        wanted: Probabilities (N, labels), valence and arousal (N, 2), weights (N,).
        penalty: Half of it times the squared weights is added.
        affect_weight: Of the error of valence and arousal.
    """
    path.standardise(found)
    path.eval()
    probabilities, affect, weights = wanted
    weights = weights / weights.mean()
    optimiser = torch.optim.LBFGS(
        path.linear.parameters(), max_iter=80, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        out = path(found)
        errors = F.cross_entropy(out[:, :-2], probabilities, reduction="none")
        errors = errors + affect_weight * (torch.tanh(out[:, -2:]) - affect).square().mean(-1)
        total = (errors * weights).mean() + penalty / 2 * path.linear.weight.square().sum()
        total.backward()
        return total

    value = optimiser.step(loss).item()
    if not np.isfinite(value):
        raise FloatingPointError(f"loss is {value}: are the features finite?")


def fit_fused(
    net: PerceptionNet, data: FeatureSet, inputs: tuple[Tensor, ...], weights: Tensor, config: FitConfig
) -> PerceptionNet:
    """Train Conv-Attention and its head on what the direct paths leave; these stay as they are."""
    device = str(weights.device)
    generator = torch.Generator().manual_seed(config.seed)
    net.train()
    for path in (net.voice, net.face):
        path.eval().requires_grad_(False)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98), use_buffers=True
    )
    learning = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, config.rate, weight_decay=config.weight_decay)
    steps = -(-len(data) // config.batch) * config.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=max(steps, 20))
    wanted, affect = (t.to(device) for t in targets(data.labels, config.smoothing))
    for _ in tqdm(range(config.epochs), desc="perception", leave=False):
        for rows in torch.randperm(len(data), generator=generator).to(device).split(config.batch):
            audio, image, video, present = (column[rows].float() for column in inputs)
            logits, felt, _ = net(audio, image, video, drop_modalities(present, generator))
            errors = F.cross_entropy(logits, wanted[rows], reduction="none")
            errors = errors + config.affect_weight * (felt - affect[rows]).square().mean(-1)
            loss = (errors * weights[rows]).mean()
            if not torch.isfinite(loss):
                raise FloatingPointError(f"loss is {loss.item()}; windows {rows.tolist()[:8]}...")
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
            schedule.step()
            average.update_parameters(net)
    return average.module.eval().requires_grad_(True)


def targets(labels: NDArray[np.int64], smoothing: float) -> tuple[Tensor, Tensor]:
    """Probabilities (N, labels) to learn, and valence and arousal (N, 2); of nobody all alike, and none."""
    count, is_somebody = len(DEFAULT_LABELS), torch.from_numpy(labels != NOBODY).unsqueeze(-1)
    index = torch.from_numpy(np.maximum(labels, 0))
    wanted = F.one_hot(index, count) * (1 - smoothing) + smoothing / count
    affect = torch.tensor([CIRCUMPLEX[name] for name in DEFAULT_LABELS])[index]
    return torch.where(is_somebody, wanted, 1 / count).float(), torch.where(is_somebody, affect, 0.0).float()


def balance(data: FeatureSet, nobody_weight: float = 0.0) -> Tensor:
    """Weight of each window, mean 1: every source counts by the root of its size, every label of it alike.

    Args:
        data: The windows.
        nobody_weight: Of all windows in which nobody is, as a share of all others.
    """
    sources = np.array([p.split(":")[0] for p in data.persons])
    weights, is_somebody = np.zeros(len(data)), data.labels != NOBODY
    for source in np.unique(sources[is_somebody]):
        inside = is_somebody & (sources == source)
        for label in np.unique(data.labels[inside]):
            rows = inside & (data.labels == label)
            weights[rows] = SOURCE_WEIGHTS.get(str(source), 1.0) * np.sqrt(inside.sum()) / rows.sum()
    if not is_somebody.all():
        weights[~is_somebody] = nobody_weight * weights.sum() / (~is_somebody).sum()
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
