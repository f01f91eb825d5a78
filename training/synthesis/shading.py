"""From the triangles that are seen to colours: albedo of skin, eyes, teeth and clothes, then light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthesis import painting
from training.synthesis.assets import GROUPS, Floats, Ints
from training.synthesis.painting import smoothstep
from training.synthesis.people import Person

EYES = (GROUPS.index("helper-l-eye"), GROUPS.index("helper-r-eye"))
TEETH = (GROUPS.index("helper-upper-teeth"), GROUPS.index("helper-lower-teeth"))
TONGUE = GROUPS.index("helper-tongue")
LASHES = tuple(GROUPS.index(f"helper-{s}-eyelashes-{n}") for s in "lr" for n in (1, 2))
HAIR = GROUPS.index("helper-hair")
#: Iris and pupil radius as angle seen from the middle of the eye, radians.
_IRIS, _PUPIL = 0.45, 0.19
#: Colour of everything below the waist, linear light; seen only when the person is far away.
_TROUSERS = (0.02, 0.022, 0.03)
#: Linear light in 4096 steps to sRGB (gamma 2.2).
_GAMMA = np.round(np.linspace(0, 1, 4096) ** (1 / 2.2) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Light:
    """Light on the person, linear RGB.

    Attributes:
        direction: Towards the key light, need not be normalised.
        key: Colour times strength of the key light.
        ambient: Light from all around; more from above than from below.
        rim: Strength of light from behind.
    """

    direction: tuple[float, float, float] = (0.35, 0.55, 0.8)
    key: tuple[float, float, float] = (0.95, 0.92, 0.88)
    ambient: tuple[float, float, float] = (0.36, 0.37, 0.40)
    rim: float = 0.15


@dataclass(frozen=True)
class Pose:
    """Head pose and gaze in radians: yaw to the person's left, pitch down, roll to the person's right."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    sway: tuple[float, float] = (0.0, 0.0)


def parting(names: tuple[str, ...], units: Floats) -> float:
    """Return how far the lips are apart, 0 to 1: little light falls on teeth between closed lips."""
    movers = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthStretch")
    apart = sum(float(u) for name, u in zip(names, units, strict=True) if name.startswith(movers))
    return float(smoothstep(np.float32(apart), 0.02, 0.3))


def wrinkle_drive(names: tuple[str, ...], units: Floats) -> Floats:
    """Return how deep each of ``painting.WRINKLES`` is, float32 [6], from the face units."""
    value = dict(zip(names, units, strict=True))

    def both(stem: str) -> float:
        return (value[f"{stem}Left"] + value[f"{stem}Right"]) / 2

    return np.array(
        [
            0.35 * value["browInnerUp"] + 0.35 * both("browOuterUp") + 0.06,
            0.75 * both("browDown") + 0.15 * value["browInnerUp"],
            0.6 * both("noseSneer"),
            0.08
            + 0.38 * both("mouthSmile")
            + 0.35 * both("noseSneer")
            + 0.3 * both("mouthUpperUp")
            + 0.2 * both("mouthStretch"),
            0.5 * both("cheekSquint") + 0.3 * both("eyeSquint") + 0.15 * both("mouthSmile"),
            0.6 * value["mouthShrugLower"] + 0.2 * both("mouthFrown"),
        ],
        np.float32,
    )


def albedo_of(person: Person, values: Floats, drive: Floats) -> Floats:
    """Look up skin, hair and clothes at the interpolated rest positions; linear light, float32 [p, 3].

    Args:
        person: Whose texture.
        values: Interpolated attributes, [p, 10].
        drive: Depth of each of ``painting.WRINKLES``, float32 [6].
    """
    rest = values[:, 3:6]
    rows, columns = painting.TEXTURE_SHAPE
    theta, height = painting.cylinder(rest)
    row = (painting.TEXTURE_TOP - height) * np.float32(
        rows / (painting.TEXTURE_TOP - painting.TEXTURE_BOTTOM)
    )
    column = (theta + np.float32(np.pi)) * np.float32(columns / (2 * np.pi))
    row = np.clip(row, 0, rows - 1).astype(np.int32)
    column = np.clip(column, 0, columns - 1).astype(np.int32)
    albedo = person.texture[row, column]
    top, left, wrinkles = person.wrinkles
    shade = np.minimum(np.tensordot(drive, wrinkles, 1), 0.75)
    r, c = row - top, column - left
    folded = np.flatnonzero((r >= 0) & (r < shade.shape[0]) & (c >= 0) & (c < shade.shape[1]))
    albedo[folded] *= 1 - shade[r[folded], c[folded]][:, None]
    _tint(albedo, values[:, 9] * 1.6 - 0.3, _linear(person.look.skin) * np.array([1, 0.88, 0.86], np.float32))
    _tint(albedo, (values[:, 7] * 1.3 - 0.15) * 0.85, _linear(person.look.lips))
    _dress(albedo, rest, person)
    return albedo


def _linear(colour: tuple[float, float, float]) -> Floats:
    """Return an sRGB colour in linear light (gamma 2.2), float32 [3]."""
    return np.array(colour, np.float32) ** np.float32(2.2)


def _tint(albedo: Floats, amount: Floats, colour: Floats) -> None:
    """Mix ``colour`` into the pixels where ``amount`` is above 0."""
    at = np.flatnonzero(amount > 0)
    share = np.minimum(amount[at], 0.95)[:, None]
    albedo[at] += share * (colour - albedo[at])


def _dress(albedo: Floats, rest: Floats, person: Person) -> None:
    """Colour what lies below the collar as clothes, with stripes."""
    low = np.flatnonzero(rest[:, 1] < 6.6)
    x, y, z = rest[low].T
    cloth = y < person.look.collar - 0.45 * np.clip(z - 0.4, 0, 1) + 0.12 * np.abs(x)
    low, y = low[cloth], y[cloth]
    stripes = (np.sin(y * person.look.stripes) > 0.4)[:, None]
    albedo[low] = np.where(stripes, _linear(person.look.cloth_accent), _linear(person.look.cloth))
    albedo[low[y < 1.2]] = _TROUSERS


def paint_parts(
    albedo: Floats,
    gloss: Floats,
    normal: Floats,
    group: Ints,
    values: Floats,
    person: Person,
    pose: Pose,
    eye_centres: Floats,
) -> None:
    """Overwrite albedo, gloss and normals of eyes, teeth, tongue, lashes and long hair."""
    mouth = np.clip(values[:, 8] * 1.3 - values[:, 7] * 0.9, 0, 1)[:, None]
    albedo += mouth * (np.array([0.20, 0.04, 0.04], np.float32) - albedo)
    gloss *= 1 - mouth[:, 0]
    for index, member in enumerate(EYES):
        at = np.flatnonzero(group == member)
        if len(at):
            _paint_eye(albedo, gloss, at, values[at, 3:6] - eye_centres[index], person, pose)
    albedo[np.isin(group, TEETH)] = (0.74, 0.70, 0.62)
    albedo[group == TONGUE] = (0.42, 0.12, 0.12)
    albedo[np.isin(group, LASHES)] = _linear(person.look.brow_colour) * 0.4
    curtain = np.flatnonzero(group == HAIR)
    if len(curtain):
        theta, height = painting.cylinder(values[curtain, 3:6])
        strands = 0.75 + 0.2 * np.sin(theta * 61 + 2 * np.sin(height * 3)) + 0.12 * np.sin(theta * 150)
        albedo[curtain] = _linear(person.look.hair) * strands[:, None]
        normal[curtain] *= np.where(normal[curtain, 2:3] < -0.2, -1, 1)


def _paint_eye(
    albedo: Floats, gloss: Floats, at: Ints, direction: Floats, person: Person, pose: Pose
) -> None:
    """Paint the pixels ``at`` of one eye by the direction from its middle they lie in, [p, 3]."""
    direction = direction / (np.linalg.norm(direction, axis=1, keepdims=True) + 1e-6)
    gaze = np.array(
        [np.sin(pose.gaze_x), np.sin(pose.gaze_y), np.cos(pose.gaze_x) * np.cos(pose.gaze_y)], np.float32
    )
    angle = np.arccos(np.clip(direction @ gaze, -1, 1))
    sclera = np.array([0.72, 0.69, 0.66], np.float32)
    iris = _linear(person.look.iris)
    ring = smoothstep(angle, _IRIS * 0.8, _IRIS)[:, None]
    colour = iris * (1.25 - 0.8 * ring)
    colour = np.where((angle < _IRIS)[:, None], colour, sclera)
    colour = np.where((angle < _PUPIL)[:, None], 0.01, colour)
    lid_shadow = np.clip(0.75 - 0.9 * direction[:, 1:2], 0.45, 1.0)
    albedo[at] = colour * lid_shadow
    gloss[at] = 0.08
    spark = np.linalg.norm(direction - np.array([0.16, 0.2, 0.95], np.float32), axis=1) < 0.12
    albedo[at[spark]] = 1.0


def shade_light(albedo: Floats, normal: Floats, gloss: Floats, occlusion: Floats, light: Light) -> Floats:
    """Shade linear albedo; return sRGB uint8 [p, 3]."""
    toward = np.array(light.direction, np.float32)
    toward /= np.linalg.norm(toward)
    facing = normal @ toward
    # Wrapped diffuse: skin scatters light past the terminator, more in red.
    wrap = np.array([0.30, 0.20, 0.16], np.float32)
    diffuse = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, 1)
    sky = (0.72 + 0.28 * normal[:, 1:2]) * np.array(light.ambient, np.float32)
    half = toward + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    shine = np.clip(normal @ half, 0, 1) ** 18 * gloss
    rim = light.rim * np.clip(1 - normal[:, 2], 0, 1) ** 3
    key = np.array(light.key, np.float32)
    linear = (
        albedo * (diffuse * key + sky + rim[:, None]) * occlusion[:, None]
        + (shine * occlusion)[:, None] * key
    )
    return _GAMMA[(np.clip(linear, 0, 1) * (len(_GAMMA) - 1)).astype(np.uint16)]
