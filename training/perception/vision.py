"""Fine-tuning of the vision trunk on single frames, without a face detector.

Frozen ImageNet features carry almost no expression across people, so the trunk is trained on frames of
faces. It must find the face itself: photographs are shrunk onto foreign backgrounds, turned, recoloured
and blurred, all on the training device. One trunk is trained for each held-out person group, and one on
everything for the robot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.labels import DEFAULT_LABELS
from training.networks.efficientnet import FEATURES, PIXEL_MEAN, PIXEL_SCALE, EfficientNetLite0

#: OneCycleLR divides by zero on shorter ones.
SHORTEST_SCHEDULE = 20

#: How far each source is zoomed out and in: photographs fill the picture with the face, clips do not.
ZOOM = {"faces_muxspace": (0.35, 1.15), "javanese_av": (0.75, 1.6), "synthesis": (0.75, 1.5)}


@dataclass(frozen=True)
class VisionConfig:
    """Schedule of the fine-tuning.

    Attributes:
        epochs: Passes over the frames.
        batch: Frames a step.
        rate: Peak learning rate of the trunk; the new classifier learns ten times faster.
        weight_decay: AdamW's.
        smoothing: Label smoothing; the photographs' labels are noisy.
        seed: Of everything random.
    """

    epochs: int = 24
    batch: int = 96
    rate: float = 4e-4
    weight_decay: float = 0.05
    smoothing: float = 0.1
    seed: int = 0


class FrameClassifier(nn.Module):
    """The trunk with a linear classifier over its mean feature; only the trunk is kept."""

    def __init__(self, trunk: EfficientNetLite0) -> None:
        super().__init__()
        self.trunk = trunk
        self.classify = nn.Sequential(nn.Dropout(0.3), nn.Linear(FEATURES, len(DEFAULT_LABELS)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 224, 224) in 0..255 to logits (N, labels)."""
        return self.classify(self.trunk((images - PIXEL_MEAN) / PIXEL_SCALE).mean(dim=(2, 3)))


def zoom_ranges(persons: Sequence[str]) -> Tensor:
    """Zoom range (N, 2) of each frame, by its source."""
    return torch.tensor([ZOOM.get(p.split(":")[0], (0.8, 1.2)) for p in persons])


def augment(images: Tensor, zoom: Tensor, generator: torch.Generator) -> Tensor:
    """Place, turn, mirror, recolour and blur a batch; float (N, 3, H, W) in 0..255, zoom (N, 2)."""
    count, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, device=device) * (high - low) + low

    grid, inside = _placement(images, zoom, uniform)
    placed = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    background = (
        images.roll(1, 0).flip(3)
        if torch.rand((), generator=generator, device=device) < 0.5
        else (uniform(0, 255, 3, 1, 1).expand_as(images))
    )
    background = F.interpolate(F.avg_pool2d(background, 16), images.shape[-2:], mode="bilinear")
    return _recolour(torch.where(inside, placed, background), uniform)


def _placement(images: Tensor, zoom: Tensor, uniform) -> tuple[Tensor, Tensor]:  # noqa: ANN001
    """Sampling grid of a random similarity (with some squash), and where it falls inside the picture."""
    scale = torch.exp(uniform(0, 1) * torch.log(zoom[:, 1] / zoom[:, 0])) * zoom[:, 0]
    squash, angle = torch.exp(uniform(-0.2, 0.2)), uniform(-0.25, 0.25)
    room = (1 - scale).abs()
    shift = torch.stack([uniform(-1, 1) * room, uniform(-1, 1) * room], -1)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    turn = torch.stack(
        [torch.stack([cos * mirror * squash, -sin], -1), torch.stack([sin * mirror, cos / squash], -1)], -2
    )
    offset = -(turn @ shift.unsqueeze(-1))
    grid = F.affine_grid(torch.cat([turn, offset], -1), list(images.shape), align_corners=False)
    return grid, (grid.abs() <= 1).all(-1).unsqueeze(1)


def _recolour(images: Tensor, uniform) -> Tensor:  # noqa: ANN001
    """Grey half of them; vary contrast, brightness, colour cast, sharpness and noise."""
    grey = images.mean(1, keepdim=True).expand_as(images)
    images = torch.where(uniform(0, 1, 1, 1, 1) < 0.5, grey, images)
    contrast, brightness = torch.exp(uniform(-0.5, 0.4, 1, 1, 1)), uniform(-40, 40, 1, 1, 1)
    images = (images - 128) * contrast * torch.exp(uniform(-0.1, 0.1, 3, 1, 1)) + 128 + brightness
    soft = F.interpolate(F.avg_pool2d(images, 3, 2, 1), images.shape[-2:], mode="bilinear")
    images = torch.where(uniform(0, 1, 1, 1, 1) < 0.3, soft, images)
    return (images + torch.randn_like(images) * uniform(0, 8, 1, 1, 1)).clamp(0, 255)


def class_weights(labels: Tensor) -> Tensor:
    """Inverse square-root frequency, mean 1: a compromise between balance and noise on rare labels."""
    counts = torch.bincount(labels, minlength=len(DEFAULT_LABELS)).clamp(min=1).float()
    weights = counts.rsqrt()
    return weights / weights.mean()


def train_trunk(
    trunk: EfficientNetLite0,
    images: Tensor,
    labels: Tensor,
    zoom: Tensor,
    config: VisionConfig,
    device: str,
) -> tuple[FrameClassifier, list[float]]:
    """Fine-tune ``trunk`` on uint8 images (N, 3, 224, 224).

    Returns:
        The exponential moving average of the classifier, and the mean loss of each epoch.
    """
    torch.manual_seed(config.seed)
    generator = torch.Generator(device).manual_seed(config.seed)
    model = FrameClassifier(trunk).to(device, memory_format=torch.channels_last).train()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    groups = [
        {"params": model.trunk.parameters(), "lr": config.rate},
        {"params": model.classify.parameters(), "lr": 10 * config.rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    steps = math.ceil(len(images) / config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        [g["lr"] for g in groups],
        total_steps=max(steps * config.epochs, SHORTEST_SCHEDULE),
        pct_start=0.1,
    )
    weights, losses = class_weights(labels).to(device), []
    for epoch in tqdm(range(config.epochs), desc="epochs"):
        total = 0.0
        for index in _batches(len(images), config.batch, config.seed * 1000 + epoch):
            batch = augment(images[index].to(device).float(), zoom[index].to(device), generator)
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = model(batch)
            loss = F.cross_entropy(
                logits.float(), labels[index].to(device), weights, label_smoothing=config.smoothing
            )
            if not torch.isfinite(loss):
                raise FloatingPointError(f"loss is {loss.item()} in epoch {epoch}; lower the learning rate")
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item() * len(index)
        losses.append(total / len(images))
    return average.module.eval(), losses


def _batches(count: int, size: int, seed: int) -> Iterator[Tensor]:
    """Shuffled index batches; the order depends on the seed alone."""
    yield from torch.randperm(count, generator=torch.Generator().manual_seed(seed)).split(size)


@torch.no_grad()
def classify(model: FrameClassifier, images: Tensor, device: str, batch: int = 128) -> Tensor:
    """Probabilities (N, labels) of uint8 images (N, 3, 224, 224)."""
    return torch.cat([model(part.to(device).float()).softmax(-1).cpu() for part in images.split(batch)])


def save_trunk(model: FrameClassifier, path: Path) -> None:
    """Write trunk and classifier in half precision."""
    state = {
        name: t.half().cpu().contiguous() if t.is_floating_point() else t.cpu()
        for name, t in model.state_dict().items()
    }
    save_file(state, path)


def load_trunk(path: Path) -> EfficientNetLite0:
    """Read the trunk that ``save_trunk`` wrote."""
    model = FrameClassifier(EfficientNetLite0())
    model.load_state_dict(load_file(path))
    return model.trunk.float().eval()
