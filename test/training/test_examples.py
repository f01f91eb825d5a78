"""From files to batches: what is encoded, what is left out, replay among the records, long answers."""

import json
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from native_layouts.media import write_clip  # noqa: E402
from small_system import SHAPES, Letters, small_preset  # noqa: E402

from emollama_ros.errors import InputError  # noqa: E402
from training.curriculum.examples import ExampleMaker, gather, read_split  # noqa: E402
from training.mmeverse.instructions.samples import instructions_of  # noqa: E402
from training.mmeverse.replay import ReplaySample  # noqa: E402
from training.mmeverse.schema import Clues, Media, Provenance, Record, write_records  # noqa: E402
from training.networks.emotion_llama import IGNORED, SOFT  # noqa: E402


class Encoders:
    """Counts what it is asked for."""

    version = "fake"

    def __init__(self):
        self.asked = 0

    def encode(self, clip):
        self.asked += 1
        found = {"audio": torch.zeros(SHAPES.audio)} if len(clip.samples) else {}
        if clip.pictures:
            found |= {"image": torch.ones(SHAPES.image), "glance": torch.ones(SHAPES.video[1])}
        if len(clip.pictures) > 1:
            found["video"] = torch.ones(SHAPES.video)
        return found


def record(name, **changes):
    base = {
        "id": name,
        "source": "javanese_av",
        "split": "train",
        "task": "emotion",
        "label": "anger",
        "label_space": ("anger", "fear"),
        "media": Media(video=f"{name}.mp4"),
    }
    return Record(**{**base, **changes})


@pytest.fixture
def roots(tmp_path):
    for name in ("a", "b"):
        write_clip(tmp_path / "javanese_av" / f"{name}.mp4", name, seconds=0.6)
    (tmp_path / "javanese_av" / "junk.mp4").write_bytes(b"no film")
    return tmp_path


def test_what_cannot_be_encoded_is_left_out_and_said(roots, capsys):
    encoders = Encoders()
    corpus = gather([record(n) for n in ("a", "junk", "none", "b")], roots, roots / "cache", encoders)
    assert [r.id for r in corpus.records] == ["a", "b"] and encoders.asked == 2
    said = "".join(capsys.readouterr())
    assert "left out: javanese_av/junk" in said and "none.mp4: cannot be read" in said


def test_nothing_is_decoded_twice(roots):
    encoders = Encoders()
    for _ in range(2):
        gather([record("a"), record("b")], roots, roots / "cache", encoders)
    assert encoders.asked == 2


def test_nothing_at_all_is_an_error_with_its_reason(roots):
    with pytest.raises(InputError, match="no clip could be encoded; the first: .*none.mp4"):
        gather([record("none")], roots, roots / "cache", Encoders())


def test_a_source_that_is_not_prepared_is_told_how(tmp_path):
    with pytest.raises(InputError, match="python -m training prepare --source meld"):
        read_split(tmp_path, ["meld"], "train")
    (tmp_path / "javanese_av").mkdir()
    write_records([record("a")], tmp_path / "javanese_av" / "train.jsonl")
    assert [r.id for r in read_split(tmp_path, ["meld", "javanese_av"], "train")] == ["a"]


def test_replay_is_learnt_beside_people(roots):
    from PIL import Image

    (roots / "pictures").mkdir()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(roots / "pictures" / "p.png")
    general = ReplaySample("gqa", "train", "7", "vqa", "p.png", "What is it?", ("nothing",))
    corpus = gather([record("a")], roots, roots / "cache", Encoders(), [general], roots / "pictures")
    maker = ExampleMaker(corpus, small_preset(weights={"javanese_av": 1, "gqa": 1}), SHAPES, Letters(), 9)
    batches = maker.batches(maker.preset.curriculum[0], 0, 0, 1)
    drawn = [next(batches) for _ in range(20)]
    keys = [key for batch in drawn for key in batch.keys]
    assert 5 < keys.count("gqa/7/vqa") < 35
    row = next((b, i) for b in drawn for i, key in enumerate(b.keys) if key == "gqa/7/vqa")
    assert row[0].features.present[row[1]].tolist() == [False, True, False]
    assert row[0].labels[row[1]] == IGNORED and row[0].affect[row[1]].isnan().all()


def test_an_answer_that_is_too_long_is_cut_and_still_ends(roots):
    corpus = gather([record("a")], roots, roots / "cache", Encoders())
    maker = ExampleMaker(corpus, small_preset(), SHAPES, Letters(), 9)
    said = Provenance(agent="fusion", model="m", date="2026-01-01")
    reasoned = corpus.records[0].with_changes(reasoning="why " * 90, provenance={"reasoning": said})
    (why,) = [i for i in instructions_of(reasoned, 2, template=maker.template) if i.tag.value == "reason"]
    prompt, answer = maker.tokens(why)
    stop = Letters().encode(maker.template.stop)
    assert prompt.count(SOFT) == 9 and answer[-len(stop) :] == stop
    assert len(answer) < len(why.target) and len(prompt) + len(answer) <= max(len(prompt) + len(stop), 60 + 9)


def test_a_description_of_the_voice_is_asked_with_the_pictures_masked(roots):
    said = Provenance(agent="audio", model="m", date="2026-01-01")
    heard = record("a", clues=Clues(audio="a low voice"), provenance={"clues.audio": said})
    corpus = gather([heard], roots, roots / "cache", Encoders())
    maker = ExampleMaker(corpus, small_preset(), SHAPES, Letters(), 9)
    (voice,) = [i for i in instructions_of(heard, 1, template=maker.template) if i.tag.value == "audio"]
    assert maker.batch([voice]).features.present.tolist() == [[True, False, False]]
    label = maker.batch([next(i for i in instructions_of(heard, 1, template=maker.template))])
    assert label.features.present.tolist() == [[True, True, True]]


def test_general_sets_that_are_there_are_read(tmp_path, capsys):
    from training.curriculum.cli import read_general

    (tmp_path / "vqav2").mkdir()
    assert read_general(None) == []
    with pytest.raises(InputError, match="is expected so"):
        read_general(tmp_path)
    assert json.dumps(read_general(tmp_path / "vqav2")) == "[]"


def test_further_clips_are_for_the_head_and_the_same_however_a_run_is_cut(roots):
    spread = [record(n, label=label) for n, label in (("a", "anger"), ("b", "fear"), ("a2", "anger"))]
    for name in ("a2",):
        write_clip(roots / "javanese_av" / f"{name}.mp4", name, seconds=0.6)
    corpus = gather(spread, roots, roots / "cache", Encoders())
    preset = small_preset(head_clips=4, modality_dropout=0.5)
    examples = ExampleMaker(corpus, preset, SHAPES, Letters(), soft_tokens=12)
    stage = preset.curriculum[0]
    whole = list(islice(examples.batches(stage, 0, 0, 1), 6))
    shared = [list(islice(examples.batches(stage, 2, process, 2), 2)) for process in (0, 1)]
    for number, batch in ((2, shared[0][0]), (3, shared[1][0]), (4, shared[0][1]), (5, shared[1][1])):
        assert torch.equal(whole[number].further.labels, batch.further.labels)
        assert torch.equal(whole[number].further.features.present, batch.further.features.present)
    assert all(len(batch.further.labels) == 4 and IGNORED not in batch.further.labels for batch in whole)
    assert {len(batch.known[0]) for batch in whole} == {len(whole[0].labels) + 4}
    masks = torch.cat([batch.further.features.present for batch in whole])
    assert not masks.all() and masks.any(-1).all()  # some lose a modality, none loses both
    assert whole[0].row(0).further is None


def test_without_further_clips_there_are_none(roots):
    corpus = gather([record("a")], roots, roots / "cache", Encoders())
    preset = small_preset(head_clips=0)
    examples = ExampleMaker(corpus, preset, SHAPES, Letters(), soft_tokens=12)
    assert next(examples.batches(preset.curriculum[0], 0, 0, 1)).further is None
    assert "head_clips" not in preset.model_dump(mode="json")["curriculum"][0]  # as kept before
