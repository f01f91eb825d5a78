"""Readers of the general vision-language sets, on generated folders in their authors' layouts."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_layouts import replay as layouts
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from training.__main__ import app
from training.mmeverse.instructions.samples import replay_instruction_of
from training.mmeverse.replay import REPLAY_SETS, ReplaySample, read_replay
from training.mmeverse.replay.boxes import box_target, read_box
from training.mmeverse.sources.base import Reject, UnusableError

BOX = "{<10><10><60><60>}"
BUILDERS = {
    "coco_caption": layouts.build_coco_caption,
    "vqav2": lambda root, images: layouts.build_vqa(root, images, "v2_"),
    "ok_vqa": lambda root, images: layouts.build_vqa(root, images, ""),
    "a_okvqa": layouts.build_a_okvqa,
    "gqa": layouts.build_gqa,
    "refcoco": lambda root, images: layouts.build_refcoco_mdetr(root, images, "refcoco"),
    "refcoco+": lambda root, images: layouts.build_refcoco_mdetr(root, images, "refcoco+"),
    "refcocog": lambda root, images: layouts.build_refcoco_mdetr(root, images, "refcocog"),
}
every_set = pytest.mark.parametrize("name", BUILDERS)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.fixture
def images(tmp_path):
    return tmp_path / "pictures"


def read(name, root, images) -> tuple[list[ReplaySample], list[Reject]]:
    items = list(read_replay(name, root, images))
    rejects = [item for item in items if isinstance(item, Reject)]
    return [item for item in items if not isinstance(item, Reject)], rejects


def rewrite(path, data) -> None:
    path.write_text(json.dumps(data))


def test_every_set_has_a_layout_to_read():
    assert set(BUILDERS) == set(REPLAY_SETS)


@every_set
def test_a_whole_folder_gives_samples_whose_pictures_are_there(name, root, images):
    BUILDERS[name](root, images)
    samples, rejects = read(name, root, images)
    assert rejects == []
    assert len(samples) == (6 if name == "coco_caption" else 3)
    assert len({sample.key for sample in samples}) == len(samples)
    for sample in samples:
        assert (sample.source, sample.split) == (name, "train")
        assert (images / sample.image).is_file() and sample.answers
        assert replay_instruction_of(sample).media.image == sample.image


COCO = "train2014/COCO_train2014_000000000009.jpg"
FIRST = {
    "coco_caption": ("91", "caption", COCO, "", ("A tile numbered 9, view 1.",)),
    "vqav2": ("9000", "vqa", COCO, "Is 9 even?", ("no", "no", "hardly")),
    "ok_vqa": ("9000", "vqa", COCO, "Is 9 even?", ("no", "no", "hardly")),
    "a_okvqa": (
        "q9",
        "vqa",
        "train2017/000000000009.jpg",
        "What is 9 made of?",
        ("tiles", "tiles", "blocks"),
    ),
    "gqa": ("00", "vqa", "images/2354786.jpg", "Which tile is 0th?", ("left",)),
    "refcoco": ("0", "refer", COCO, "tile 0", (BOX,)),
}


@pytest.mark.parametrize(("name", "first"), FIRST.items())
def test_the_first_sample_is_as_constructed(name, first, root, images):
    BUILDERS[name](root, images)
    sample = read(name, root, images)[0][0]
    assert (sample.id, sample.kind, sample.image, sample.question, sample.answers) == first


def test_expressions_are_read_from_the_original_list_as_json_too(root, images):
    layouts.build_refcoco_refs(root, images, "umd")
    samples, rejects = read("refcocog", root, images)
    assert rejects == []
    assert [(sample.id, sample.question) for sample in samples] == [
        ("18", "tile 9 0"),
        ("19", "tile 9 1"),
        ("50", "tile 25 0"),
        ("51", "tile 25 1"),
    ]
    assert {sample.answers for sample in samples} == {("{<0><0><100><100>}",)}
    held_out = list(read_replay("refcocog", root, images, "validation"))
    assert [sample.id for sample in held_out] == ["60", "61"]


class Trap:
    """What a pickle can do to the one who loads it."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_never_loaded(root, images, tmp_path):
    layouts.build_refcoco_refs(root, images, "unc")
    (root / "refs(unc).json").unlink()
    (root / "refs(unc).p").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(InputError, match=r"refs\(unc\)\.p: a pickle(.|\n)*finetune_refcoco_train\.json"):
        read("refcoco", root, images)
    assert not (tmp_path / "sprung").exists()


@every_set
def test_a_missing_folder_shows_the_layout(name, root, images):
    with pytest.raises(InputError) as caught:
        read(name, root, images)
    assert "is expected so:" in str(caught.value) and "IMAGES/" in str(caught.value)


@every_set
def test_a_file_that_was_cut_off_is_named(name, root, images):
    BUILDERS[name](root, images)
    file = sorted(root.rglob("*.json"))[0]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{file.name.replace('+', '.')}:1: no JSON"):
        read(name, root, images)


@every_set
def test_a_file_with_something_else_in_it_is_named(name, root, images):
    BUILDERS[name](root, images)
    for file in root.rglob("*.json"):
        file.write_text('"hello"')
    with pytest.raises(InputError, match=r"\.json: no (list|object)"):
        read(name, root, images)


@every_set
@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_picture_that_is_not_there_is_told_and_the_rest_goes_on(name, damage, root, images):
    BUILDERS[name](root, images)
    before, _ = read(name, root, images)
    picture = images / before[-1].image
    picture.unlink()
    if damage == "empty":
        picture.touch()
    samples, rejects = read(name, root, images)
    assert samples == [sample for sample in before if sample.image != before[-1].image]
    assert rejects and all(before[-1].image in reject.reason for reject in rejects)
    assert all(".json: " in reject.where for reject in rejects)


def spoil(rows: list) -> None:
    """Spoil the second of three entries in ways that every set has in common, and add two more."""
    rows[1] = "nonsense"
    rows.append({})
    rows.append(dict(rows[0]))


@pytest.mark.parametrize(
    ("name", "file", "part"),
    [
        ("coco_caption", "annotations/captions_train2014.json", "annotations"),
        ("vqav2", "v2_OpenEnded_mscoco_train2014_questions.json", "questions"),
        ("ok_vqa", "OpenEnded_mscoco_train2014_questions.json", "questions"),
        ("a_okvqa", "aokvqa_v1p0_train.json", None),
        ("refcoco", "finetune_refcoco_train.json", "images"),
    ],
)
def test_damaged_entries_are_told_with_their_place_and_the_rest_goes_on(name, file, part, root, images):
    BUILDERS[name](root, images)
    whole, _ = read(name, root, images)
    data = json.loads((root / file).read_text())
    rows = data[part] if part else data
    last = len(rows)
    spoil(rows)
    rewrite(root / file, data)
    samples, rejects = read(name, root, images)
    assert samples == [sample for index, sample in enumerate(whole) if index != 1]
    where = [f"{file}: {part or ''}[{index}]" for index in (1, last, last + 1)]
    assert [reject.where for reject in rejects] == where
    assert "is no object" in rejects[0].reason and "no field" in rejects[1].reason
    assert rejects[2].reason == f"duplicate id: {whole[0].id} is in {file}: {part or ''}[0] too"


@pytest.mark.parametrize(
    ("name", "field", "value", "reason"),
    [
        ("vqav2", "question", " ", "field 'question': ' ' is no text"),
        ("vqav2", "question", 5, "field 'question': 5 is no text"),
        ("vqav2", "image_id", -1, "field 'image_id': -1 is no integer"),
        ("vqav2", "image_id", True, "field 'image_id': True is no integer"),
        ("vqav2", "image_id", 25, "image_id 25 here, 9 in"),
        ("vqav2", "question_id", 4, "no annotation with question_id 4"),
        ("a_okvqa", "direct_answers", [], "field 'direct_answers': [] is no list of texts"),
        ("a_okvqa", "direct_answers", ["a", 3], "is no list of texts"),
        ("coco_caption", "caption", None, "field 'caption': None is no text"),
        ("coco_caption", "image_id", 1234, "no entry in images with id 1234"),
        ("gqa", "imageId", "../../secret", "'../../secret' is no id of a picture"),
        ("gqa", "answer", [], "field 'answer': [] is no text"),
        ("refcoco", "file_name", "../../secret.jpg", "is no name of a picture"),
        ("refcoco", "file_name", "..\\secret.jpg", "is no name of a picture"),
        ("refcoco", "file_name", ".secret.jpg", "is no name of a picture"),
        ("refcoco", "width", 0, "a picture of 0 x 480"),
        ("refcoco", "width", 100, "is none of a picture of 100 x 480"),
        ("refcoco", "id", 77, "no annotation with image_id 77"),
    ],
)
def test_a_damaged_field_is_told_with_its_value(name, field, value, reason, root, images):
    BUILDERS[name](root, images)
    lists = {"vqav2": "questions", "coco_caption": "annotations", "refcoco": "images"}
    for file in root.rglob("*.json"):
        data = json.loads(file.read_text())
        if name in lists and lists[name] not in data:
            continue
        rows = data[lists[name]] if name in lists else data
        rows["00" if name == "gqa" else 0][field] = value
        rewrite(file, data)
    samples, (reject,) = read(name, root, images)
    assert reason in reject.reason
    assert len(samples) == (5 if name == "coco_caption" else 2)


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 3],
        "box",
        [0, 0, 0, 5],
        [0, 0, float("nan"), 5],
        [-9, 0, 20, 5],
        [0, 0, 700, 5],
        [0, 0, True, 5],
    ],
)
def test_a_box_that_is_none_is_told(box, root, images):
    data = layouts.build_refcoco_mdetr(root, images, "refcoco")
    data["annotations"][0]["bbox"] = box
    rewrite(root / "finetune_refcoco_train.json", data)
    samples, (reject,) = read("refcoco", root, images)
    assert len(samples) == 2 and (reject.where, reject.clip) == (
        "finetune_refcoco_train.json: images[0]",
        "0",
    )


def test_a_question_nobody_answered_is_told(root, images):
    _, answered = layouts.build_vqa(root, images, "")
    answered["annotations"][0]["answers"] = []
    answered["annotations"][1]["answers"] = [{"answer_id": 1}]
    rewrite(root / "mscoco_train2014_annotations.json", answered)
    samples, rejects = read("ok_vqa", root, images)
    assert [sample.id for sample in samples] == ["30000"]
    assert [reject.reason for reject in rejects] == ["no answers", "no field 'answer'"]


def test_an_unknown_set_lists_what_is_there(root):
    with pytest.raises(InputError, match="no replay set named 'vqa'; available: coco_caption, refcoco"):
        next(read_replay("vqa", root))


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    fractions=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_a_box_comes_back_to_a_hundredth(width, height, fractions):
    (left, right), (top, bottom) = sorted(fractions[:2]), sorted(fractions[2:])
    box = (left * width, top * height, (right - left) * width, (bottom - top) * height)
    if min(box[2:]) <= 0:
        with pytest.raises(UnusableError):
            box_target(box, width, height)
        return
    corners = read_box(f"It is at {box_target(box, width, height)}.")
    for corner, true in zip(corners, (left, top, right, bottom), strict=True):
        assert 0 <= 100 * true - corner < 1 + 1e-6 or corner == 100 or abs(100 * true - corner) < 1e-6


@pytest.mark.parametrize("text", ["", "{<1><2><3>}", "{<5><5><1><9>}", "{<0><0><101><5>}", f"{BOX} {BOX}"])
def test_no_box_is_made_up(text):
    assert read_box(text) is None


def test_the_command_counts_and_shows_rejects(root, images):
    data = layouts.build_a_okvqa(root, images)
    data[1]["question"] = ""
    rewrite(root / "aokvqa_v1p0_train.json", data)
    words = ["replay", "--set", "a_okvqa", "--root", str(root), "--images", str(images), "--limit", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "[INST] <Vid><VideoHere></Vid> [vqa]" in result.stdout
    assert "reject: aokvqa_v1p0_train.json: [1]: q25: field 'question': '' is no text" in result.stdout
    assert result.stdout.endswith("a_okvqa: 2 samples, 1 rejects\n")


def test_the_command_says_what_is_missing(root):
    result = CliRunner().invoke(app, ["replay", "--set", "gqa", "--root", str(root)])
    assert result.exit_code == 1 and result.stderr.startswith("error: ")
