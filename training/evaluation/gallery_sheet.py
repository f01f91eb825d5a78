"""The sheet of the gallery: a card a clip, as one SVG that needs nothing else."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.prosody import RATE, pitch_curve
from training.evaluation.gallery_clips import Found, Shown

#: Pixels of the sheet, of a card and of what is in it.
_WIDTH, _MARGIN, _PAD, _GAP = 1180, 20, 16, 14
_FRAME = (124, 93)
_STRIP = 5 * (_FRAME[0] + 4) - 4
_WAVE_TOP, _WAVE = _FRAME[1] + 8, 78
_CARD = _PAD + _WAVE_TOP + _WAVE + _PAD
_HEAD, _SECTION = 64, 40
#: Frames are kept a little larger than they are drawn, for sharp screens.
_KEPT, _QUALITY = (176, 132), 66
#: A close-up is so many heads high; heads below this share of a picture get an inset of the whole view.
_HEADS, _SMALL = 1.9, 0.45
_INSET = (44, 33)
#: Pitch is drawn on a logarithmic scale between these, Hz.
_PITCH = (70.0, 500.0)
#: A line ends where pitch jumps by more than this, in semitones from one frame to the next: an octave error.
_JUMP = 5.0
_COLOURS = {
    "neutral": "#7d8590",
    "happy": "#d69a00",
    "sad": "#3f73c4",
    "angry": "#cc3b33",
    "surprised": "#8a5cc2",
    "scared": "#2b8a8a",
    "disgusted": "#5c8a2f",
}
_STYLE = """
  text { font-family: "DejaVu Sans", Verdana, Arial, sans-serif; font-size: 12px; fill: #1f2328; }
  .title { font-size: 21px; font-weight: bold; }
  .section { font-size: 15px; font-weight: bold; }
  .quiet { fill: #59636e; font-size: 11px; }
  .label { font-size: 15px; font-weight: bold; }
  .quote { font-style: italic; font-size: 12.5px; }
  .card { fill: #ffffff; stroke: #d5dbe1; }
  .wave { fill: #b9c4d0; }
  .pitch { fill: none; stroke: #c2410c; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
  .track { fill: #eef1f4; }
"""


def sheet(found: Found) -> str:
    """Draw the gallery; text is escaped, pictures are embedded."""
    parts: list[str] = []
    top, number = _HEAD, 0
    for title, rule, clips in (
        ("Most confident mistakes", "wrong labels by confidence, one a person", found.mistakes),
        ("Calmest successes", "right labels where least was shown, one a person", found.successes),
    ):
        if not clips:
            continue
        parts.append(_section(title, rule, top))
        top += _SECTION
        for one in clips:
            number += 1
            parts.append(f'<g transform="translate({_MARGIN} {top})">{_card(one, number)}</g>')
            top += _CARD + _GAP
    height = top + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-labelledby="title"><title id="title">{escape(_in_words(found))}</title>'
        f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{height}" rx="10" fill="#f6f8fa"/>'
        f'<text class="title" x="{_MARGIN}" y="36">What goes wrong, and what goes right</text>'
        f'<text class="quiet" x="{_MARGIN}" y="54">{escape(found.model)}. Generated people whom it was '
        "not trained on; picture and sound, no words. Below the frames: the sound, "
        "and its pitch in orange.</text>"
        f"{''.join(parts)}</svg>\n"
    )


def _in_words(found: Found) -> str:
    """The sheet for those who do not see it."""
    told = [f"{s.truth} told as {s.label}" for s in found.mistakes]
    right = [s.truth for s in found.successes]
    return f"Mistakes: {', '.join(told) or 'none'}. Successes: {', '.join(right) or 'none'}."


def _section(title: str, rule: str, top: float) -> str:
    return (
        f'<text class="section" x="{_MARGIN}" y="{top + 24}">{title}'
        f'<tspan class="quiet" dx="10" font-weight="normal">{rule}</tspan></text>'
    )


def _card(one: Shown, number: int) -> str:
    left = _PAD + _STRIP + 26
    parts = [f'<rect class="card" width="{_WIDTH - 2 * _MARGIN}" height="{_CARD}" rx="8"/>']
    parts += [
        _image(close_up(frame, one.record["scene"]), _PAD + i * (_FRAME[0] + 4), _PAD, _FRAME, _KEPT)
        for i, frame in enumerate(one.frames)
    ]
    if one.frames and one.record["scene"]["face_height"] < _SMALL:
        parts.append(_inset(one.frames[0]))
    parts.append(_sound(one.samples))
    parts.append(f'<g transform="translate({left} {_PAD})">{"".join(_words(one, number))}</g>')
    return "".join(parts)


def close_up(frame: NDArray[np.uint8], scene: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Cut head and shoulders out of a frame (height, width, 3), where the truth says they are."""
    height, width = frame.shape[:2]
    tall = min(height, round(scene["face_height"] * height * _HEADS))
    wide = min(width, round(tall * width / height))
    left = round(np.clip(scene["centre"][0] * width - wide / 2, 0, width - wide))
    top = round(np.clip(scene["centre"][1] * height - tall / 2, 0, height - tall))
    return frame[top : top + tall, left : left + wide]


def _inset(frame: NDArray[np.uint8]) -> str:
    """The whole view, in a corner of the first close-up."""
    x, y = _PAD + 3, _PAD + _FRAME[1] - _INSET[1] - 3
    border = f'<rect x="{x - 1}" y="{y - 1}" width="{_INSET[0] + 2}" height="{_INSET[1] + 2}" fill="#fff"/>'
    return border + _image(frame, x, y, _INSET, (_INSET[0] * 2, _INSET[1] * 2))


def _image(pixels: NDArray[np.uint8], x: int, y: int, size: tuple[int, int], kept: tuple[int, int]) -> str:
    held = io.BytesIO()
    Image.fromarray(pixels).resize(kept, Image.Resampling.BICUBIC).save(
        held, "JPEG", quality=_QUALITY, optimize=True
    )
    data = base64.b64encode(held.getvalue()).decode()
    return (
        f'<image x="{x}" y="{y}" width="{size[0]}" height="{size[1]}" '
        f'preserveAspectRatio="xMidYMid slice" href="data:image/jpeg;base64,{data}"/>'
    )


def _sound(samples: NDArray[np.float32] | None) -> str:
    """Waveform and pitch under the strip, over the same time."""
    if samples is None or not len(samples):
        return ""
    return (
        f'<g transform="translate({_PAD} {_PAD + _WAVE_TOP})">'
        f'<rect class="track" width="{_STRIP}" height="{_WAVE}" rx="3"/>'
        f'<path class="wave" d="{_wave(samples)}"/>{"".join(_pitch(samples))}</g>'
    )


def _wave(samples: NDArray[np.float32]) -> str:
    """A closed outline: the peaks of as many pieces as there are pixels, every second one."""
    columns = np.array_split(samples, _STRIP // 2)
    peaks = np.array([np.abs(column).max() for column in columns])
    heights = peaks / max(float(peaks.max()), 1e-6) * (_WAVE / 2 - 3)
    middle, xs = _WAVE / 2, np.linspace(0, _STRIP, len(heights))
    above = [f"{x:.0f} {middle - h:.1f}" for x, h in zip(xs, heights, strict=True)]
    below = [f"{x:.0f} {middle + h:.1f}" for x, h in zip(xs[::-1], heights[::-1], strict=True)]
    return f"M{'L'.join([*above, *below])}Z"


def _pitch(samples: NDArray[np.float32]) -> Iterator[str]:
    """A line a voiced stretch without jumps."""
    times, hertz = pitch_curve(samples)
    low, high = np.log(_PITCH)
    x = times / (len(samples) / RATE) * _STRIP
    y = _WAVE - 3 - (np.log(np.clip(hertz, *_PITCH)) - low) / (high - low) * (_WAVE - 6)
    steps = np.abs(12 * np.diff(np.log2(hertz), prepend=np.nan))
    starts = np.flatnonzero(np.isfinite(hertz) & ~(steps <= _JUMP))
    ends = np.flatnonzero(np.isfinite(hertz) & ~(np.append(steps[1:], np.nan) <= _JUMP)) + 1
    for start, end in zip(starts, ends, strict=True):
        points = " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in range(start, end))
        yield f'<polyline class="pitch" points="{points}"/>'


def _words(one: Shown, number: int) -> Iterator[str]:
    """What is right of the strip: labels, scores, what each sense says, and the reasoning."""
    told, truth = one.label, one.truth
    yield f'<text class="quiet" y="12">{number}</text>'
    yield f'<text class="label" x="22" y="13" style="fill:{_COLOURS[truth]}">{truth}</text>'
    mark = "is told" if one.is_right else f"is told as {told}"
    shade = _COLOURS[told]
    yield (f'<text class="label" x="130" y="13" style="fill:{shade}">{mark} {one.confidence:.2f}</text>')
    yield from _bars(one)
    alone = [f"{name}: {label} {score:.2f}" for name, (label, score) in one.alone().items()]
    beside = [*alone, *one.circumstances()]
    lines = [line for item in beside for line in textwrap.wrap(item, 33)][:6]
    for i, line in enumerate(lines):
        yield f'<text class="quiet" x="258" y="{32 + 13.5 * i:.1f}">{escape(line)}</text>'
    for i, line in enumerate(textwrap.wrap(f"“{one.reasoning}”", 62)[:4]):
        yield f'<text class="quote" y="{124 + 16 * i}">{escape(line)}</text>'


def _bars(one: Shown) -> Iterator[str]:
    """Scores, a bar a label; the true one has a frame."""
    for i, (label, score) in enumerate(zip(DEFAULT_LABELS, one.views["both"], strict=True)):
        y = 23 + 11.6 * i
        weight = ' font-weight="bold"' if label == one.truth else ""
        yield f'<text class="quiet" x="66" y="{y + 8:.1f}" text-anchor="end"{weight}>{label}</text>'
        yield f'<rect class="track" x="72" y="{y:.1f}" width="150" height="8.5" rx="2"/>'
        yield (
            f'<rect x="72" y="{y:.1f}" width="{150 * score:.1f}" height="8.5" rx="2" '
            f'fill="{_COLOURS[label]}"/>'
        )
        if label == one.truth:
            yield f'<rect x="72" y="{y:.1f}" width="150" height="8.5" rx="2" fill="none" stroke="#1f2328"/>'
