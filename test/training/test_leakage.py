"""Copies are found, and what only resembles is not; people and films in several splits."""

import json

import copies
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from training.__main__ import app
from training.mmeverse.leakage import Clip, check, counts, find
from training.mmeverse.media_facts import examine, picture_print, sound_print
from training.mmeverse.near import differing_bits, near_pairs, words
from training.mmeverse.prepare import write_text
from training.mmeverse.schema import Media, Record, Task, write_records


def clip(name, split="train", source="made", folder=None, file=None, **fields):
    """A clip, of a file if there is one."""
    prints = {"contents": (), "pictures": (), "sound": "", "duration_s": 0.0}
    if file is not None:
        facts = examine(folder, file)
        (found,) = facts.prints
        assert not facts.problem and not found.problem, (file, facts.problem, found.problem)
        prints = {
            "contents": (facts.sha256,),
            "pictures": found.pictures,
            "sound": found.sound,
            "duration_s": facts.duration_s,
        }
    rest = {"person": None, "group": None, "media": Media(), "words": ""}
    return Clip(source=source, split=split, id=name, **{**rest, **prints, **fields})


def kinds(findings):
    return [(f.kind, f.is_leak) for f in findings]


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.sets(st.integers(0, 63), max_size=9)), max_size=30),
    st.integers(0, 12),
)
def test_near_pairs_are_all_pairs_within_the_limit(numbers, changes, limit):
    for place, bits in changes:
        if place < len(numbers):
            numbers.append(numbers[place] ^ sum(1 << bit for bit in bits))
    strings = np.array(numbers, dtype=np.uint64).reshape(-1, 1)
    expected = [
        (i, j, (numbers[i] ^ numbers[j]).bit_count())
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (numbers[i] ^ numbers[j]).bit_count() <= limit
    ]
    assert list(zip(*map(np.ndarray.tolist, near_pairs(strings, limit)), strict=True)) == expected


def test_near_pairs_of_long_strings():
    random = np.random.default_rng(0)
    strings = random.integers(0, 2**64, (500, 2), dtype=np.uint64)
    strings[400] = strings[7] ^ np.array([0b111111, 0b111111 << 50], dtype=np.uint64)
    left, right, apart = near_pairs(strings, 12)
    assert (left.tolist(), right.tolist(), apart.tolist()) == ([7], [400], [12])
    assert near_pairs(strings, 11)[0].size == 0


def test_a_hundred_thousand_strings_are_compared_in_little_memory():
    random = np.random.default_rng(1)
    strings = random.integers(0, 2**64, (100_000, 1), dtype=np.uint64)
    strings[99_999] = strings[3] ^ np.uint64(0b10101)
    left, right, apart = near_pairs(strings, 3)
    assert (3, 99_999, 3) in set(zip(left.tolist(), right.tolist(), apart.tolist(), strict=True))


def test_words_and_bits():
    one, two = words(["ff00000000000000" + "0" * 16]), words(["0" * 31 + "1"])
    assert one.shape == (1, 2) and differing_bits(one, two).tolist() == [9]


SOUND_COPIES = [
    ("aac.m4a", "aac", 16000, 32000, 0.2),
    ("mp3.mp3", "libmp3lame", 16000, 32000, 0.5),
    ("opus.ogg", "libopus", 16000, 32000, 1.0),
    ("faster.wav", "pcm_s16le", 44100, 0, 0.1),
]


@pytest.mark.parametrize(("file", "codec", "rate", "bits", "level"), SOUND_COPIES)
def test_copies_of_a_sound_are_found(tmp_path, file, codec, rate, bits, level):
    clips = []
    for seed in range(4):
        sound = copies.babble(seed)
        copies.write_sound(tmp_path / f"{seed}.flac", sound, "flac")
        copies.write_sound(tmp_path / f"{seed}{file}", (sound * level).astype(np.float32), codec, rate, bits)
        clips.append(clip(f"{seed}", "train", folder=tmp_path, file=f"{seed}.flac"))
        clips.append(clip(f"{seed}", "test", "copied", folder=tmp_path, file=f"{seed}{file}"))
    findings = find(clips)
    assert kinds(findings) == [("near_duplicate", True)] * 4
    assert [f.what for f in findings] == [(f"made/train/{i}", f"copied/test/{i}") for i in range(4)]


def test_different_sounds_are_not_copies(tmp_path):
    clips = []
    for seed in range(40):
        copies.write_sound(tmp_path / f"{seed}.wav", copies.babble(seed), "pcm_s16le")
        clips.append(clip(f"{seed}", folder=tmp_path, file=f"{seed}.wav"))
    assert all(c.sound for c in clips) and find(clips) == []


def test_copies_of_a_film_without_sound_are_found_and_others_are_not(tmp_path):
    clips = []
    for seed in range(8):
        copies.write_film(tmp_path / f"{seed}.mp4", seed)
        clips.append(clip(f"{seed}", "train", folder=tmp_path, file=f"{seed}.mp4"))
    for seed, size, codec, quality in (
        (0, (60, 46), "libx264", 20),
        (1, (240, 180), "libx264", 34),
        (2, (120, 90), "mpeg4", 0),
    ):
        copies.write_film(tmp_path / f"copy{seed}.mkv", seed, size=size, codec=codec, quality=quality)
        clips.append(clip(f"{seed}", "test", "copied", folder=tmp_path, file=f"copy{seed}.mkv"))
    findings = find(clips)
    assert [f.what for f in findings] == [(f"made/train/{i}", f"copied/test/{i}") for i in range(3)]
    assert all(f.is_leak and set(f.apart) == {"pictures"} for f in findings)


def test_the_same_pictures_with_other_sound_are_two_clips_of_a_resting_camera(tmp_path):
    for seed, file in ((1, "a.mp4"), (2, "b.mp4"), (1, "copy.mp4")):
        size = (60, 46) if file == "copy.mp4" else (120, 90)
        copies.write_film(tmp_path / file, 5, sound=copies.babble(seed), size=size)
    a, b, copy = (clip(file[0], folder=tmp_path, file=file) for file in ("a.mp4", "b.mp4", "copy.mp4"))
    assert find([a, b]) == []
    (found,) = find([a, copy])
    assert found.kind == "near_duplicate" and set(found.apart) == {"sound", "pictures"} and not found.is_leak


def test_copies_of_a_photograph_are_found(tmp_path):
    for seed in range(6):
        image = Image.fromarray(next(copies.scene(seed)))
        image.save(tmp_path / f"{seed}.png")
        image.resize((300, 225)).point(lambda v: v * 0.8).save(tmp_path / f"{seed}.jpg", quality=40)
    clips = [
        clip(f"{s}{end}", folder=tmp_path, file=f"{s}.{end}") for s in range(6) for end in ("png", "jpg")
    ]
    assert [f.what for f in find(clips)] == [(f"made/train/{s}png", f"made/train/{s}jpg") for s in range(6)]


def test_silence_steady_noise_and_one_colour_have_no_print():
    random = np.random.default_rng(0)
    assert sound_print(np.zeros(8000, np.float32)) == ""
    assert sound_print(random.normal(0, 0.1, 160_000).astype(np.float32)) == ""
    assert sound_print(copies.babble(1)[:3000]) == ""
    assert picture_print(np.full((32, 32), 7, np.uint8)) == ""
    assert len(picture_print(random.integers(0, 255, (32, 32)).astype(np.uint8))) == 16


def test_equal_bytes_are_one_content_and_are_told_once(tmp_path):
    for name in ("a.flac", "b.flac"):
        copies.write_sound(tmp_path / name, copies.babble(1), "flac")
    a = clip("a", "train", folder=tmp_path, file="a.flac")
    assert kinds(find([a, clip("b", "test", folder=tmp_path, file="b.flac")])) == [("same_content", True)]
    assert kinds(find([a, clip("b", "train", folder=tmp_path, file="b.flac")])) == [("same_content", False)]


def test_parts_of_a_file_are_the_same_only_where_they_overlap():
    spans = [("a", 0.0, 2.0), ("b", 2.0, 4.0), ("c", 3.5, 5.0), ("d", 9.0, None)]
    clips = [clip(n, contents=("s",), media=Media(video="f", start_s=s, end_s=e)) for n, s, e in spans]
    (found,) = find(clips)
    assert found.what == ("made/train/b", "made/train/c")
    assert len(find([*clips, clip("whole", contents=("s",), media=Media(video="f"))])[0].what) == 5


def test_somebody_in_several_splits_is_found_by_name():
    inside = [clip("1", "train", person="made:07"), clip("2", "test", person="made:07")]
    assert kinds(find(inside)) == [("same_person", True)]
    across = [
        clip("1", "train", person="made:Zoë  Example"),
        clip("2", "test", "other", person="other:zoe example"),
    ]
    (found,) = find(across)
    assert found.what == ("made:Zoë  Example", "other:zoe example")
    assert found.clips == {("made", "train"): 1, ("other", "test"): 1}
    numbers = [clip("1", "train", person="made:07"), clip("2", "test", "other", person="other:07")]
    assert find(numbers) == []


def test_a_film_in_several_splits_is_found_and_internet_videos_across_sources():
    assert kinds(find([clip("1", "train", group="made:9"), clip("2", "test", group="made:9")])) == [
        ("same_group", True)
    ]
    address = "03bSnISJMiM"
    mosi = clip("1", "train", "cmu_mosi", group=f"cmu_mosi:{address}")
    mosei = clip("2", "test", "cmu_mosei", group=f"cmu_mosei:{address}")
    assert kinds(find([mosi, mosei])) == [("same_group", True)]
    assert find([clip("1", "train", group="made:9"), clip("2", "test", "other", group="other:9")]) == []


def test_ids_mean_the_same_in_sources_that_extend_each_other():
    found = find([clip("video_1/1", "train", "ch_sims_v2"), clip("video_1/1", "test", "ch_sims")])
    assert kinds(found) == [("same_id", True)]
    assert find([clip("1", "train", "meld"), clip("1", "test", "dfew")]) == []


def test_equal_sentences_are_found():
    found = find([clip("1", words="thank you"), clip("2", "test", words="thank you"), clip("3", words="no")])
    assert kinds(found) == [("same_words", True)]


def test_counts_tell_leaks_first():
    findings = find(
        [
            clip("1", words="a", person="made:x"),
            clip("2", words="a", person="made:x"),
            clip("3", "test", person="made:x"),
        ]
    )
    assert [(c["kind"], c["is_leak"], c["findings"]) for c in counts(findings)] == [
        ("same_person", True, 1),
        ("same_words", False, 1),
    ]
    assert counts(findings)[0]["between"] == ["made/test", "made/train"]


def prepared(folder, **splits):
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        records = [
            Record(id=f"{split}{i}", source=folder.name, split=split, person=f"{folder.name}:{who}",
                   transcript=f"{folder.name} {split} {i}", task=Task.EMOTION, label="happy")
            for i, who in enumerate(splits.get(split, ()))
        ]  # fmt: skip
        write_records(records, folder / f"{split}.jsonl")
    write_text(folder / "media.jsonl", "")
    write_text(folder / "summary.json", json.dumps({"clips": sum(map(len, splits.values()))}))


def test_the_command_reads_what_was_prepared_and_writes_a_report(tmp_path):
    prepared(tmp_path / "one", train=["Ann Example", "Bob Example"], test=["Cy Example"])
    prepared(tmp_path / "two", test=["Ann Example"])
    done = CliRunner().invoke(app, ["leakage", "--data", str(tmp_path), "--report", str(tmp_path / "r.json")])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"1 leaks; written: {tmp_path / 'r.json'}"
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["leaks"], report["repetitions"], report["sources"]) == (1, 0, {"one": 3, "two": 1})
    assert report["findings"][0]["what"] == ["one:Ann Example", "two:Ann Example"]
    arguments = ["leakage", "--data", str(tmp_path), "--report", str(tmp_path / "r.json"), "--counts-only"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "Ann" not in (tmp_path / "r.json").read_text()


def test_what_is_not_prepared_is_refused(tmp_path):
    with pytest.raises(InputError, match="no prepared source there"):
        check(tmp_path)
    prepared(tmp_path / "one", train=["a"])
    (tmp_path / "one/test.jsonl").unlink()
    refused = CliRunner().invoke(app, ["leakage", "--data", str(tmp_path)])
    assert refused.exit_code == 1 and "test.jsonl: is not there; prepare one again" in refused.stderr
