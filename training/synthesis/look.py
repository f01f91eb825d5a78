"""What a person looks like apart from the shape of the head: sex, age, build, skin, hair, clothes.

Everything is drawn from the person's number; see ``people``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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


def with_tone(look: Look, tone: float) -> Look:
    """The same look with the skin of another tone; lips keep their shade of it, all else keeps its colour.

    Args:
        look: As drawn.
        tone: Position on the light (0) to dark (1) scale.
    """
    shade = _along(_SKIN, tone) / _along(_SKIN, look.skin_tone)
    skin, lips = (_rgb(np.array(colour) * shade) for colour in (look.skin, look.lips))
    return replace(look, skin=skin, lips=lips, skin_tone=tone)


def person_rng(person_id: int, stream: str) -> np.random.Generator:
    """Return the generator of one aspect (``stream``) of one person; aspects do not disturb each other."""
    return np.random.default_rng([person_id, *stream.encode()])


def draw_look(rng: np.random.Generator) -> Look:
    """Draw what a person looks like; beards and bald heads are for grown men."""
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
        cloth=_rgb(_unlike(skin, _muted(rng))),
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


def _unlike(skin: np.ndarray, cloth: np.ndarray) -> np.ndarray:
    """Return a colour of cloth that is not taken for skin: too close ones are turned towards blue."""
    near = np.abs(cloth - skin).max() < 0.2
    return cloth[::-1] * [0.6, 0.75, 1.0] if near else cloth


def _along(table: np.ndarray, position: float) -> np.ndarray:
    """Interpolate the rows of ``table`` at ``position`` in [0, 1]."""
    at = position * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    return table[low] + (at - low) * (table[low + 1] - table[low])


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in np.clip(values, 0.02, 0.98))
    return red, green, blue
