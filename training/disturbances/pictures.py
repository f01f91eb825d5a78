"""What a robot's camera makes of a face: far and off-centre, moving, dark, half hidden, badly sent.

Every function takes frames (m, height, width, 3), uint8 RGB, of one clip in order, a strength from 0
(untouched) to 1, and a generator. Everything is drawn once for the whole clip, and changes from frame to
frame slowly, as it does before a camera; only a sensor's grain is new in each frame. Lengths in pixels are of
frames of 224.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.disturbances.checks import Frames, Pictures, draw, last_good, lost, of_pictures

#: Size that lengths in pixels are of.
SIZE = 224
#: Electrons that a pixel of a small camera holds, and noise of reading them out.
FULL_WELL, READ_NOISE = 4000, 6
#: Weights of red, green and blue in luma (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])
#: What hides a face: skin from light to dark for hands; cloth of masks; anything for things.
_SKIN = ((241, 206, 178), (214, 162, 120), (158, 105, 70), (92, 60, 42))
_CLOTH = ((240, 244, 246), (120, 175, 215), (28, 28, 32))


@of_pictures
def distance(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """Far away: the frame shrunk to 100 - 75 strength % of its width, anywhere in a cluttered room.

    The clutter is the same in the whole clip, the place moves by up to 6 pixels. The edge of the shrunk frame
    is feathered over an eighth of it at most.
    """
    height, width = frames.shape[1:3]
    scale = 1 - 0.75 * strength
    small = max(2, round(height * scale)), max(2, round(width * scale))
    room = np.array([height - small[0], width - small[1]])
    places = rng.uniform(0, 1, 2) * room + _drift(len(frames), 6 * height / SIZE, rng)
    places = places.round().astype(int).clip(0, room)
    background, alpha = clutter(height, width, rng), _feather(small, (height - small[0]) / 2)
    return np.stack(
        [
            _pasted(background, frame, alpha, int(y), int(x))
            for frame, (y, x) in zip(frames, places, strict=True)
        ]
    )


@of_pictures
def blur(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """Motion blur along a line of up to 28 strength pixels, of which each frame has 60 to 100 %.

    The direction turns slowly, by up to 30 degrees.
    """
    longest = 28 * strength * frames.shape[1] / SIZE
    angle = rng.uniform(0, np.pi) + np.radians(30) * _drift(len(frames), 1, rng)[:, 0]
    length = longest * rng.uniform(0.6, 1, len(frames))
    steps = np.stack([np.sin(angle), np.cos(angle)], 1) * length[:, None]
    return np.stack([_smeared(frame, step) for frame, step in zip(frames, steps, strict=True)])


@of_pictures
def compression(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """JPEG of quality 95 * (5 / 95) ** strength: 36 at a third, 13 at two thirds, 5 at 1.

    Colours are kept at half the size; the quality is a tenth better or worse from clip to clip.
    """
    quality = 95 * (5 / 95) ** strength * rng.uniform(0.9, 1.1)
    return np.stack([_as_jpeg(frame, int(np.clip(round(quality), 1, 100))) for frame in frames])


@of_pictures
def low_light(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """Little light: 6 strength stops less, of which the camera's gain makes up for half, noise included.

    In linear light (gamma 2.2): shot noise of a full well of 4000 electrons, read noise of 6 electrons, and a
    cast between tungsten and moonlight of up to 30 strength % in red and blue.
    """
    stops = 6 * strength * rng.uniform(0.85, 1)
    light, gain = 2**-stops, 2 ** (stops / 2)
    cast = 1 + 0.3 * strength * rng.uniform(-1, 1) * np.array([1, 0, -1])
    electrons = FULL_WELL * light * (np.arange(256)[:, None] / 255) ** 2.2 * cast
    deviation = np.sqrt(electrons + READ_NOISE**2)
    means, upper = (_developed(e, gain) for e in (electrons, electrons + deviation))
    return _grainy(frames, means, upper - means, rng)


@of_pictures
def frame_drops(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """Frames that never came: 90 strength % of them, in bursts; the last one that came stands instead.

    A burst has 1 to 4 frames on average, more where no shorter ones lose as many: 9 at 1. The first frame
    always comes, so that a single frame is left as it is.
    """
    return frames[last_good(lost(len(frames), 0.9 * strength, rng.uniform(1, 4), rng))]


@of_pictures
def occlusion(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """Something before the face: a hand, a mask of cloth, or a thing, about 35 strength % of the frame.

    It lies around the middle of the frame, and moves by up to 10 pixels.
    """
    height, width = frames.shape[1:3]
    kinds = (_hand, _mask, _thing)
    patch = kinds[rng.integers(len(kinds))](round(np.sqrt(0.35 * strength * height * width)) + 1, rng)
    spread = 0.12 * np.array([height, width])
    middle = np.array([height, width]) / 2 + rng.uniform(-1, 1, 2) * spread
    places = middle + _drift(len(frames), 10 * height / SIZE, rng) - np.array(patch.size[::-1]) / 2
    return np.stack([_covered(frame, patch, place) for frame, place in zip(frames, places, strict=True)])


@of_pictures
def colour(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """Another camera's colours, each of these within its range times the strength.

    White balance +-25 % in each channel, contrast by a factor of e ** +-0.5, brightness +-40 of 255,
    saturation from 0 to 2, hue +-20 degrees. At least half of each range is used.
    """

    def swing(count: int | None = None) -> NDArray[np.float64]:
        return strength * rng.uniform(0.5, 1, count) * rng.choice([-1, 1], count)

    matrix = _hue(np.radians(20) * float(swing())) @ _saturation(1 + float(swing()))
    contrast = float(np.exp(0.5 * swing()))
    matrix = contrast * np.diag(1 + 0.25 * swing(3)) @ matrix
    offset = 128 * (1 - contrast) + 40 * float(swing())
    return np.stack([_mapped(frame, matrix, offset) for frame in frames])


@of_pictures
def noise(frames: Frames, strength: float, rng: np.random.Generator) -> Frames:
    """A cheap sensor: grain of 40 strength ** 1.5 of 255 in each channel, and hot pixels (0.5 strength %).

    The grain is new in each frame, the hot pixels stay where they are.
    """
    deviation = 40 * strength**1.5
    levels = np.repeat(np.arange(256.0)[:, None], 3, 1)
    noisy = _grainy(frames, levels, np.full((256, 3), deviation), rng)
    hot = rng.random(frames.shape[1:3]) < 0.005 * strength
    noisy[:, hot] = rng.integers(0, 256, (int(hot.sum()), 3), np.uint8)
    return noisy


#: In the order of the way from face to file, which is also the order in which several are applied.
PICTURES: Mapping[str, Pictures] = MappingProxyType(
    {
        "occlusion": occlusion,
        "distance": distance,
        "blur": blur,
        "low_light": low_light,
        "colour": colour,
        "noise": noise,
        "compression": compression,
        "frame_drops": frame_drops,
    }
)


def random_pictures(frames: Frames, rng: np.random.Generator) -> Frames:
    """Augment a clip for training: up to three disturbances of random strength, none with a chance of 0.3.

    Args:
        frames: uint8 (m, height, width, 3), RGB, in order.
        rng: Draws everything; the same state gives the same result.

    Returns:
        As many frames of the same size.
    """
    for name, strength in draw(tuple(PICTURES), rng):
        frames = PICTURES[name](frames, strength, rng)
    return frames


def clutter(height: int, width: int, rng: np.random.Generator) -> Frames:
    """Paint a background (height, width, 3) without anybody: wall, furniture, texture, a bit out of focus."""
    image = Image.fromarray(_paint(rng, 3, 3)).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(8, 25)):
        shape = (pen.rectangle, pen.ellipse, pen.line)[rng.integers(3)]
        corner, size = rng.uniform(-0.2, 1, 2), rng.uniform(0.03, 0.5, 2)
        box = np.concatenate([corner, corner + size]) * [width, height, width, height]
        shape(tuple(box.tolist()), fill=tuple(_paint(rng).tolist()))
    soft = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 3)) * height / SIZE))
    texture = rng.normal(0, rng.uniform(1, 10), (height, width, 1))
    return (np.asarray(soft) + texture).clip(0, 255).astype(np.uint8)


def _paint(rng: np.random.Generator, *shape: int) -> Frames:
    """Colours (*shape, 3) as rooms have them: of any lightness, few of them bright."""
    lightness = rng.uniform(15, 240, (*shape, 1))
    return (lightness + rng.normal(0, 25, (*shape, 3))).clip(0, 255).astype(np.uint8)


def _drift(count: int, most: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slow way (count, 2) within +-most, turning once in about eight frames."""
    begin, turn = rng.uniform(0, 2 * np.pi, 2), 2 * np.pi / 8 * rng.uniform(0.5, 1.5, 2)
    return most * rng.uniform(0.3, 1) * np.sin(begin + turn * np.arange(count)[:, None])


def _feather(size: tuple[int, int], most: float) -> NDArray[np.uint16]:
    """Weights (*size, 1) of 256ths, growing over the outer eighth, or ``most`` pixels if that is less."""

    def edge(length: int) -> NDArray[np.float64]:
        places = np.arange(length) + 0.5
        return np.minimum(1, np.minimum(places, length - places) / max(0.5, min(length / 8, most)))

    return np.round(256 * edge(size[0])[:, None, None] * edge(size[1])[None, :, None]).astype(np.uint16)


def _pasted(background: Frames, frame: Frames, alpha: NDArray[np.uint16], y: int, x: int) -> Frames:
    height, width = alpha.shape[:2]
    if (height, width) == frame.shape[:2]:
        return frame
    small = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
    made = background.copy()
    behind = made[y : y + height, x : x + width]
    behind[:] = (behind * (256 - alpha) + small * alpha) >> 8
    return made


def _smeared(frame: Frames, step: NDArray[np.float64]) -> Frames:
    """Mean of 2 ** k copies along ``step`` (dy, dx), of which each doubling adds one shift."""
    reach = int(np.ceil(np.abs(step).max()))
    if reach < 1:
        return frame
    total = np.pad(frame, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.uint16)
    doublings = int(np.ceil(np.log2(reach + 1)))
    shifts = np.round(step / 2 ** np.arange(1, doublings + 1)[:, None]).astype(int)
    for shift in shifts:
        total = total + np.roll(total, tuple(shift), (0, 1))
    # Copies lie on one side of the frame; half of their reach brings the middle back.
    y, x = reach + np.round(shifts.sum(0) / 2).astype(int)
    height, width = frame.shape[:2]
    return (total[y : y + height, x : x + width] >> doublings).astype(np.uint8)


def _as_jpeg(frame: Frames, quality: int) -> Frames:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer).convert("RGB"))


def _developed(electrons: NDArray[np.float64], gain: float) -> NDArray[np.float64]:
    """Values of 255 that a camera of this gain makes of electrons in a full well."""
    return 255 * (electrons / FULL_WELL * gain).clip(0, 1) ** (1 / 2.2)


def _grainy(
    frames: Frames, means: NDArray[np.float64], deviations: NDArray[np.float64], rng: np.random.Generator
) -> Frames:
    """Each value replaced by that of a table (256, 3), with noise of the deviation in another."""
    means, deviations = means.T.astype(np.float32), deviations.T.astype(np.float32)
    size = frames[0].size // 3
    # Drawing normal numbers for every pixel would take longer than all the rest: shifted, they serve again.
    pool = rng.standard_normal(4 * size, np.float32)
    made = np.empty_like(frames)
    for frame, out in zip(frames, made, strict=True):
        for channel in range(3):
            values = frame[..., channel]
            start = int(rng.integers(3 * size))
            grain = pool[start : start + size].reshape(values.shape)
            noisy = means[channel][values] + deviations[channel][values] * grain
            out[..., channel] = np.clip(noisy + 0.5, 0, 255)
    return made


def _covered(frame: Frames, patch: Image.Image, place: NDArray[np.float64]) -> Frames:
    image = Image.fromarray(frame)
    y, x = place.round().astype(int).tolist()
    image.paste(patch, (x, y), patch)
    return np.asarray(image)


def _hand(side: int, rng: np.random.Generator) -> Image.Image:
    """A palm and four fingers, turned, of an area of about ``side`` squared."""
    image, pen = _sheet(1.5 * side, tuple(_SKIN[rng.integers(len(_SKIN))]))
    size, colour = image.size[0], _shade(_SKIN[rng.integers(len(_SKIN))], rng)
    pen.ellipse((0.2 * size, 0.4 * size, 0.8 * size, size), fill=colour)
    for finger in range(4):
        left = (0.2 + 0.155 * finger) * size
        top = size * rng.uniform(0, 0.12)
        pen.rounded_rectangle((left, top, left + 0.13 * size, 0.7 * size), 0.065 * size, fill=colour)
    return image.rotate(float(rng.uniform(-60, 60)), Image.Resampling.BILINEAR)


def _mask(side: int, rng: np.random.Generator) -> Image.Image:
    """Cloth over mouth and nose, with a fold, of an area of about ``side`` squared."""
    colour = _shade(_CLOTH[rng.integers(len(_CLOTH))], rng)
    image, pen = _sheet(1.2 * side, colour)
    size = image.size[0]
    corners = ((0.05, 0.12), (0.5, 0), (0.95, 0.12), (0.85, 0.8), (0.5, 0.92), (0.15, 0.8))
    pen.polygon([(x * size, y * size) for x, y in corners], fill=colour)
    fold = tuple(int(0.85 * value) for value in colour)
    pen.line((0.1 * size, 0.4 * size, 0.9 * size, 0.4 * size), fill=fold, width=max(1, size // 40))
    return image


def _thing(side: int, rng: np.random.Generator) -> Image.Image:
    """A cup, a telephone, a shoulder: a rounded block of one colour, turned."""
    stretch = float(np.exp(rng.uniform(-0.4, 0.4)))
    colour = tuple(rng.integers(0, 256, 3).tolist())
    image, pen = _sheet(1.5 * side, colour)
    half = np.array([stretch, 1 / stretch]) * side / 2
    low, high = (image.size[0] / 2 + sign * half for sign in (-1, 1))
    pen.rounded_rectangle((*low, *high), side * rng.uniform(0, 0.4), fill=colour)
    return image.rotate(float(rng.uniform(-90, 90)), Image.Resampling.BILINEAR)


def _sheet(side: float, colour: tuple[int, ...]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A square that is clear, in this colour so that turned edges do not darken, and a pen."""
    image = Image.new("RGBA", (max(2, round(side)),) * 2, (*colour, 0))
    return image, ImageDraw.Draw(image)


def _shade(colour: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
    light = rng.uniform(0.75, 1.05)
    return tuple(int(min(255, value * light)) for value in colour)


def _saturation(factor: float) -> NDArray[np.float64]:
    return factor * np.eye(3) + (1 - factor) * np.tile(_LUMA, (3, 1))


def _hue(angle: float) -> NDArray[np.float64]:
    """A rotation around the grey axis (Rodrigues' formula)."""
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _mapped(frame: Frames, matrix: NDArray[np.float64], offset: float) -> Frames:
    """Each pixel p replaced by matrix @ p + offset."""
    made = frame.astype(np.float32) @ matrix.T.astype(np.float32) + np.float32(offset)
    return made.clip(0, 255).astype(np.uint8)
