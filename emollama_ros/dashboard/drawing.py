"""What is drawn with Pillow: small JPEGs for the page, and the annotated picture. No ROS in it."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from emollama_ros.dashboard.views import ReasoningView, StateView

_WHITE, _QUIET, _BAR, _ALERT = (255, 255, 255), (205, 212, 216), (112, 128, 136), (255, 196, 92)
#: Colours of the labels, as on the page in the dark; a label that has none is grey.
COLOURS = {
    "neutral": (154, 168, 176),
    "happy": (240, 190, 70),
    "sad": (105, 159, 222),
    "angry": (232, 106, 92),
    "surprised": (190, 142, 228),
    "scared": (92, 186, 176),
    "disgusted": (140, 184, 92),
}
#: Share of the picture's height that the panel below takes at most.
_PANEL = 0.42
#: Pictures lower than this get the label alone, pixels.
_LOW = 160
#: Lines of reasoning.
_LINES = 3


def small_jpeg(rgb: NDArray[np.uint8], max_side: int, quality: int = 72) -> bytes:
    """Return a picture as JPEG of limited size.

    Args:
        rgb: uint8 ``[h, w, 3]``.
        max_side: Larger pictures are scaled down to this, pixels.
        quality: Of JPEG, 1 to 95.
    """
    image = Image.fromarray(rgb)
    image.thumbnail((max_side, max_side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def annotate(
    rgb: NDArray[np.uint8], state: StateView | None, reasoning: ReasoningView | None = None
) -> NDArray[np.uint8]:
    """Draw what is perceived on a picture: label, how sure, score bars, the reasoning, and what is wrong.

    Args:
        rgb: uint8 ``[h, w, 3]``; is left as it is.
        state: The latest; ``None`` draws nothing.
        reasoning: The latest, as far as it is written.

    Returns:
        uint8 ``[h, w, 3]``, another array.
    """
    image = Image.fromarray(rgb).convert("RGB")
    if state is not None:
        _Canvas(image).draw(state, reasoning)
    return np.array(image)


class _Canvas:
    """One picture that is drawn on; everything is measured in parts of its height."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self._width, self._height = image.size
        self._unit = max(9, round(self._height / 24))
        self._draw = ImageDraw.Draw(image)

    def draw(self, state: StateView, reasoning: ReasoningView | None) -> None:
        """Draw everything there is room for."""
        pad, unit = self._unit // 2, self._unit
        text = self._words(state, reasoning) if self._height >= _LOW else []
        scores = state.scores if self._height >= _LOW and self._width > 14 * unit else {}
        body = max(round(len(text) * unit * 1.3), 0)
        head = round(unit * 2.6)
        panel = min(round(self._height * _PANEL), head + body + 2 * pad)
        self._darken(self._height - panel)
        top = self._height - panel + pad
        self._headline(state, (unit, top))
        for number, (line, colour) in enumerate(text):
            self._text((unit, top + head + round(number * unit * 1.3)), line, unit, colour)
        if scores:
            self._bars(state, unit)

    def _words(self, state: StateView, reasoning: ReasoningView | None) -> list[tuple[str, tuple[int, ...]]]:
        """Lines below the headline: what is wrong, or else why the label is what it is."""
        room = self._width - 2 * self._unit
        if state.status and state.status_text:
            return [(line, _ALERT) for line in _wrapped(state.status_text, _font(self._unit), room, _LINES)]
        if reasoning is None or not reasoning.text:
            return []
        return [(line, _QUIET) for line in _wrapped(reasoning.text, _font(self._unit), room, _LINES)]

    def _darken(self, top: int) -> None:
        """Put a veil over the lower part, so that white letters can be read on any picture."""
        box = (0, max(0, top), self._width, self._height)
        part = self._image.crop(box)
        self._image.paste(Image.blend(part, Image.new("RGB", part.size, (12, 16, 18)), 0.72), box[:2])

    def _headline(self, state: StateView, at: tuple[int, int]) -> None:
        size = round(self._unit * 1.9)
        colour = COLOURS.get(state.label, _WHITE)
        stripe = max(2, self._unit // 5)
        self._draw.rectangle(
            (at[0] - 3 * stripe, at[1] + stripe, at[0] - 2 * stripe, at[1] + size), fill=colour
        )
        self._text(at, state.title, size, _WHITE)
        after = at[0] + round(_font(size).getlength(state.title)) + self._unit
        if state.scores and state.title.lower() == state.label:
            self._text((after, at[1] + round(size * 0.42)), state.line, self._unit, _QUIET)

    def _bars(self, state: StateView, unit: int) -> None:
        """One bar a label in the upper right corner."""
        small, row = max(9, round(unit * 0.8)), round(unit * 1.15)
        names = round(max(_font(small).getlength(name) for name in state.scores)) + unit // 2
        length = min(round(self._width * 0.18), 6 * unit)
        left, top = self._width - names - length - unit, unit // 2
        box = (left - unit // 2, top, self._width - unit // 2, top + row * len(state.scores) + unit // 2)
        part = self._image.crop(box)
        self._image.paste(Image.blend(part, Image.new("RGB", part.size, (12, 16, 18)), 0.6), box[:2])
        for number, (name, score) in enumerate(state.scores.items()):
            y = top + unit // 4 + number * row
            told = name == state.label
            self._text((left, y), name, small, _WHITE if told else _QUIET)
            bar = (left + names, y + small // 4)
            self._draw.rectangle((*bar, bar[0] + length, bar[1] + small // 2), fill=(52, 60, 64))
            end = bar[0] + max(1, round(length * min(1.0, max(0.0, score))))
            self._draw.rectangle((*bar, end, bar[1] + small // 2), fill=COLOURS.get(name, _BAR))

    def _text(self, at: tuple[int, int], text: str, size: int, colour: tuple[int, ...]) -> None:
        self._draw.text(at, text, fill=colour, font=_font(size))


@lru_cache(maxsize=32)
def _font(size: int) -> Any:
    """The font that Pillow brings along; before 10.1 it comes in one size."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()


def _wrapped(text: str, font: Any, width: int, lines: int) -> list[str]:
    """Break a text into lines that fit; what is too long ends in an ellipsis."""
    made: list[str] = []
    for word in text.split():
        longer = f"{made[-1]} {word}" if made else word
        if made and font.getlength(longer) <= width:
            made[-1] = longer
        elif len(made) < lines:
            made.append(word)
        else:
            made[-1] = _cut(f"{made[-1]} {word}", font, width)
            break
    return [line if font.getlength(line) <= width else _cut(line, font, width) for line in made]


def _cut(line: str, font: Any, width: int) -> str:
    while line and font.getlength(line + "...") > width:
        line = line[:-1]
    return line.rstrip() + "..."
