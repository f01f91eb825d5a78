"""Training of what sees: where to look, and what the face there expresses. The robot has no face detector.

Two parts are trained, one after the other, on frames with faces whose place is known (a mesh measures it,
once and for training alone):

- the *glimpse head*, on the frozen map of an ImageNet trunk: frames are shrunk onto foreign backgrounds,
  moved, turned, recoloured and blurred, and the head is to find the face again;
- the *expression network*, on glimpses of such frames, cut a little wrong, because glimpses are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from emollama_ros.labels import DEFAULT_LABELS
from training.annotation.measuring.landmarks import track
from training.mmeverse.clip_packs import RawClip
from training.networks.efficientnet import load_imagenet
from training.networks.face_expression import OUTPUTS, SIDE, FaceExpressionNet
from training.networks.glimpse import CELLS, MARGIN, UPWARDS, GlimpseHead, Places, TrunkFront, crop
from training.packaged_weights import read_efficientnet
from training.perception.frozen import frozen

#: How far each source is zoomed out and in: photographs fill the picture with the face, clips do not.
ZOOM = {"faces_muxspace": (0.25, 1.1), "javanese_av": (0.5, 1.6), "synthesis": (0.6, 1.5)}
#: Where our labels stand among the expression network's packaged outputs.
_PACKAGED = torch.tensor([OUTPUTS.index(label) for label in DEFAULT_LABELS])
#: How wrong glimpses are cut in training: shift in shares of half the face, logarithm of the size.
_SHIFT, _SCALE = 0.12, 0.15


@dataclass(frozen=True)
class Faces:
    """Frames with a face each.

    Attributes:
        images: uint8 (N, 3, 224, 224).
        places: (N, 4), middle (x, y) and half size (x, y) of the face, the frame spanning -1 to 1.
        labels: (N,) index of the label.
        persons: ``source:person`` of each.
    """

    images: Tensor
    places: Tensor
    labels: Tensor
    persons: NDArray[np.str_]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.images)

    def take(self, rows: NDArray[np.bool_] | Tensor) -> Faces:
        """Select rows."""
        chosen = torch.as_tensor(rows)
        columns = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "persons"}
        return Faces(**columns, persons=self.persons[chosen.numpy()])


@dataclass(frozen=True)
class VisionConfig:
    """Schedule of a training.

    Attributes:
        epochs: Passes over the frames.
        batch: Frames a step.
        rate: Peak learning rate.
        weight_decay: AdamW's.
        smoothing: Label smoothing; the photographs' labels are noisy.
        keep: Weight of staying near what the packaged network says of the same face (expression only).
        seed: Of everything random.
    """

    epochs: int
    batch: int
    rate: float
    weight_decay: float = 0.02
    smoothing: float = 0.1
    keep: float = 0.0
    seed: int = 0


def faces_of(clips: Sequence[RawClip], frames_a_clip: Mapping[str, int]) -> Faces:
    """Find the face in uniformly chosen frames of clips; frames without one are left out.

    Args:
        clips: With pictures; others add nothing.
        frames_a_clip: Most frames of a clip, by its source.
    """
    images, places, labels, persons = [], [], [], []
    for clip in tqdm(clips, desc="faces"):
        wanted = min(frames_a_clip[clip.person.split(":")[0]], len(clip.frames))
        chosen = sorted({int(i) for i in np.linspace(0, len(clip.frames) - 1, wanted).round()})
        found = track((i, i, clip.frames[i]) for i in chosen)
        for i, points in zip(chosen, found.points, strict=True):
            if np.isfinite(points[0, 0]):
                images.append(clip.frames[i])
                places.append(_place(points, clip.frames.shape[1]))
                labels.append(DEFAULT_LABELS.index(clip.label))
                persons.append(clip.person)
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Faces(stacked, torch.tensor(np.array(places)), torch.tensor(labels), np.array(persons))


def _place(points: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    low, high = points[:, :2].min(0) / side * 2 - 1, points[:, :2].max(0) / side * 2 - 1
    return np.concatenate([(low + high) / 2, (high - low) / 2]).astype(np.float32)


def fit_glimpse(faces: Faces, front: TrunkFront, config: VisionConfig, device: str) -> GlimpseHead:
    """Train the head to find faces again that were moved, shrunk and disturbed."""
    torch.manual_seed(config.seed)
    head = GlimpseHead().to(device).train()
    look = frozen(front, torch.zeros(2, *faces.images.shape[1:]), device)
    average, step = _schedule(head, len(faces), config)
    generator = torch.Generator(device).manual_seed(config.seed)
    for rows in _batches(len(faces), config, "glimpse"):
        images, moved = augment(faces.take(rows), generator, device)
        step(glimpse_error(head, look(images), moved))
        average.update_parameters(head)
    return average.module.eval()


def glimpse_error(head: GlimpseHead, maps: Tensor, places: Tensor) -> Tensor:
    """How wrong places are, in shares of the face, and how little attention rests on the face's cell."""
    spread, found = head.attention(maps)
    centre, half = places[:, :2], places[:, 2:]
    off = F.smooth_l1_loss(found.centre / half, centre / half, beta=0.1)
    size = F.smooth_l1_loss(found.half.log(), half.log(), beta=0.1)
    cell = ((centre.clamp(-0.999, 0.999) + 1) / 2 * CELLS).long()
    return off + size + 0.2 * F.nll_loss(spread, cell[:, 1] * CELLS + cell[:, 0])


def fit_expression(
    net: FaceExpressionNet, faces: Faces, config: VisionConfig, device: str, packaged: FaceExpressionNet
) -> FaceExpressionNet:
    """Train the expression network on glimpses of disturbed frames.

    Args:
        net: Where to start; classifies into `DEFAULT_LABELS`. Not changed.
        faces: Frames with labels.
        config: Schedule.
        device: Where to train.
        packaged: The network as packaged, for ``config.keep``.
    """
    torch.manual_seed(config.seed)
    model = FaceExpressionNet()
    model.load_state_dict(net.state_dict())
    model = model.to(device, memory_format=torch.channels_last).train()
    average, step = _schedule(model, len(faces), config)
    generator = torch.Generator(device).manual_seed(config.seed)
    weights = source_weights(faces)
    for rows in _batches(len(faces), config, "expression"):
        some = faces.take(rows)
        seen = glimpses_of(some, generator, device)
        logits = model(seen.contiguous(memory_format=torch.channels_last))
        errors = F.cross_entropy(
            logits, some.labels.to(device), label_smoothing=config.smoothing, reduction="none"
        )
        if config.keep:
            errors = errors + config.keep * _strayed(logits, packaged, some, device)
        step((errors * weights[rows].to(device)).mean())
        average.update_parameters(model)
    return average.module.eval()


def _strayed(logits: Tensor, packaged: FaceExpressionNet, some: Faces, device: str) -> Tensor:
    """Divergence from what the packaged network says of the undisturbed face (Li & Hoiem 2016)."""
    with torch.no_grad():
        clean = crop(some.images.to(device).float(), places_of(some.places.to(device)))
        said = packaged(clean)[:, _PACKAGED.to(device)].log_softmax(-1)
    return F.kl_div(logits.log_softmax(-1), said, log_target=True, reduction="none").sum(-1)


def starting_expression(packaged: FaceExpressionNet) -> FaceExpressionNet:
    """The packaged network with its outputs in the order of `DEFAULT_LABELS`."""
    net = FaceExpressionNet()
    state = dict(packaged.state_dict())
    for name in ("classify.weight", "classify.bias"):
        state[name] = state[name][_PACKAGED]
    net.load_state_dict(state)
    return net


def imagenet_front() -> TrunkFront:
    """The first layers of the ImageNet trunk, which stay as they are."""
    return TrunkFront(load_imagenet(read_efficientnet())).eval().requires_grad_(False)


def places_of(values: Tensor) -> Places:
    """Rows (N, 4) as places."""
    return Places(values[:, :2], values[:, 2:])


def source_weights(faces: Faces) -> Tensor:
    """Weight of each frame, mean 1: every label of every source counts by the root of its frames."""
    sources = np.array([person.split(":")[0] for person in faces.persons])
    labels, weights = faces.labels.numpy(), np.zeros(len(faces))
    for source in np.unique(sources):
        for label in np.unique(labels):
            rows = (sources == source) & (labels == label)
            weights[rows] = max(rows.sum(), 1) ** -0.5
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


Uniform = Callable[..., Tensor]


def augment(faces: Faces, generator: torch.Generator, device: str) -> tuple[Tensor, Tensor]:
    """Place, turn, mirror, recolour and blur a batch.

    Returns:
        Frames, float (N, 3, 224, 224) in 0..255, and where the faces are then, (N, 4).
    """
    images, places = faces.images.to(device).float(), faces.places.to(device)
    uniform = _drawing(len(images), generator, device)
    zoom = torch.tensor([ZOOM.get(str(p).split(":")[0], (0.8, 1.2)) for p in faces.persons], device=device)
    turn, offset = _placement(zoom, places, uniform)
    grid = F.affine_grid(torch.cat([turn, offset], -1), list(images.shape), align_corners=False)
    inside = (grid.abs() <= 1).all(-1).unsqueeze(1)
    placed = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    pictures = torch.where(inside, placed, _background(images, generator, uniform))
    return _recolour(pictures, uniform), _moved(places, turn, offset)


def _placement(zoom: Tensor, places: Tensor, uniform: Uniform) -> tuple[Tensor, Tensor]:
    """A random similarity (with some squash) from the new frame to the old, that keeps the face in view."""
    scale = torch.exp(uniform(0, 1) * torch.log(zoom[:, 1] / zoom[:, 0])) * zoom[:, 0]
    squash, angle = torch.exp(uniform(-0.2, 0.2)), uniform(-0.25, 0.25)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    turn = torch.stack(
        [torch.stack([cos * mirror * squash, -sin], -1), torch.stack([sin * mirror, cos / squash], -1)], -2
    )
    # Where the middle of the face is to be: anywhere that leaves most of it inside.
    room = (1 - 0.8 * places[:, 2:] * scale.unsqueeze(-1)).clamp(min=0.02)
    target = uniform(-1, 1, 2) * room
    offset = places[:, :2].unsqueeze(-1) - turn @ target.unsqueeze(-1)
    return turn, offset


def _moved(places: Tensor, turn: Tensor, offset: Tensor) -> Tensor:
    """Where faces are after ``old = turn @ new + offset``."""
    back = torch.linalg.inv(turn)
    centre = (back @ (places[:, :2].unsqueeze(-1) - offset)).squeeze(-1)
    half = (back.abs() @ places[:, 2:].unsqueeze(-1)).squeeze(-1)
    # The box of a turned ellipse, not of a turned box.
    round_half = ((back**2) @ (places[:, 2:] ** 2).unsqueeze(-1)).squeeze(-1).sqrt()
    return torch.cat([centre, torch.minimum(half, round_half)], -1)


def _background(images: Tensor, generator: torch.Generator, uniform: Uniform) -> Tensor:
    """Another picture of the batch, coarse, or one colour: nothing in which a face could be seen."""
    if torch.rand((), generator=generator, device=images.device) < 0.5:
        coarse = int(torch.randint(2, 5, (), generator=generator, device=images.device))
        other = F.avg_pool2d(images.roll(1, 0).flip(2), 2**coarse)
    else:
        other = uniform(0, 255, 3, 14, 14) * uniform(0, 1, 1, 1, 1) + uniform(0, 128, 3, 1, 1)
    return F.interpolate(other, images.shape[-2:], mode="bilinear")


def _recolour(images: Tensor, uniform: Uniform) -> Tensor:
    """Grey half of them; vary contrast, brightness, colour cast, sharpness and noise."""
    grey = images.mean(1, keepdim=True).expand_as(images)
    images = torch.where(uniform(0, 1, 1, 1, 1) < 0.5, grey, images)
    contrast, brightness = torch.exp(uniform(-0.5, 0.4, 1, 1, 1)), uniform(-40, 40, 1, 1, 1)
    images = (images - 128) * contrast * torch.exp(uniform(-0.1, 0.1, 3, 1, 1)) + 128 + brightness
    soft = F.interpolate(F.avg_pool2d(images, 3, 2, 1), images.shape[-2:], mode="bilinear")
    images = torch.where(uniform(0, 1, 1, 1, 1) < 0.3, soft, images)
    return (images + torch.randn_like(images) * uniform(0, 8, 1, 1, 1)).clamp(0, 255)


def glimpses_of(faces: Faces, generator: torch.Generator, device: str) -> Tensor:
    """Glimpses (N, 3, 112, 112), 0..255: cut a little wrong, turned, mirrored, disturbed, some from afar."""
    images, places = faces.images.to(device).float(), faces.places.to(device)
    uniform = _drawing(len(images), generator, device)
    noise = torch.randn(len(images), 4, generator=generator, device=device)
    centre = places[:, :2] + noise[:, :2] * _SHIFT * places[:, 2:]
    half = MARGIN * places[:, 2:] * torch.exp(noise[:, 2:] * _SCALE)
    centre = centre - torch.stack([torch.zeros_like(half[:, 0]), 2 * UPWARDS * places[:, 3]], -1)
    mirror, angle = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0), uniform(-0.25, 0.25)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], -2)
    affine = torch.cat([turn * half.unsqueeze(-1), centre.unsqueeze(-1)], -1)
    grid = F.affine_grid(affine, [len(images), 3, SIDE, SIDE], align_corners=False)
    seen = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return _recolour(_from_afar(seen, uniform, generator), uniform)


def _from_afar(seen: Tensor, uniform: Uniform, generator: torch.Generator) -> Tensor:
    """Some of a batch with the few pixels that a face has across the room."""
    coarse = int(torch.randint(2, 5, (), generator=generator, device=seen.device))
    few = F.interpolate(F.avg_pool2d(seen, coarse), seen.shape[-2:], mode="bilinear")
    return torch.where(uniform(0, 1, 1, 1, 1) < 0.3, few, seen)


def _drawing(count: int, generator: torch.Generator, device: str) -> Uniform:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, device=device) * (high - low) + low

    return uniform


def _schedule(
    model: nn.Module, count: int, config: VisionConfig
) -> tuple[torch.optim.swa_utils.AveragedModel, Callable[[Tensor], None]]:
    """A moving average of the model, and what takes one step down a loss."""
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimiser = torch.optim.AdamW(model.parameters(), config.rate, weight_decay=config.weight_decay)
    steps = max(2, math.ceil(len(range(0, count, config.batch))) * config.epochs)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=0.2)

    def step(loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss is {loss.item()}; lower the learning rate")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        schedule.step()

    return average, step


def _batches(count: int, config: VisionConfig, name: str) -> Iterator[Tensor]:
    """Shuffled index batches of all epochs; the order depends on the seed alone."""
    for epoch in tqdm(range(config.epochs), desc=name):
        order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed * 1000 + epoch))
        yield from order.split(config.batch)
