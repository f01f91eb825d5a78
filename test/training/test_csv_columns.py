"""Records to the released tables and back."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_layouts.media import write_table
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from training.__main__ import app
from training.mmeverse.csv_columns import COLUMNS, RELEASED, read_csv, write_csv
from training.mmeverse.schema import SINGLE_LABEL, Clues, Media, Provenance, Record, Task, read_records
from training.mmeverse.sources import SOURCES, Found, Reject

text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\N{REPLACEMENT CHARACTER}"),
    max_size=30,
)
lines = st.lists(text, max_size=3).map("\n".join).map(str.strip)
AUDIO = ("Audio-Reasoner", "Qwen2-Audio")


def by(agent, model):
    return Provenance(agent=agent, model=model, date=RELEASED)


@st.composite
def clips(draw, source):
    """The records of one clip, with all that its table can hold."""
    columns = COLUMNS[source]
    split = draw(st.sampled_from(sorted(set(columns.splits.values()))))
    name = f"{draw(st.integers(1, 9999)):05}"
    if source == "iemocap":
        name = f"Ses0{5 if split == 'test' else draw(st.integers(1, 4))}F_{name}"
    clues = {field: draw(lines) for field in ("audio", "visual")}
    told = {
        "clues.audio": by("audio", draw(st.sampled_from(AUDIO))),
        "clues.visual": by("visual", "Qwen2.5-VL-72B"),
    }
    words = draw(lines)
    language = draw(st.sampled_from([of for _, of in columns.words])) if words else columns.words[0][1]
    answers = draw(st.lists(st.sampled_from(columns.answers), min_size=1, unique_by=lambda a: a.task))
    made = []
    for answer in sorted(answers, key=columns.answers.index):
        reasoning = draw(lines)
        provenance = {k: v for k, v in told.items() if clues[k.removeprefix("clues.")]}
        provenance |= {"reasoning": by("fusion", "gpt-4o-mini")} if reasoning else {}
        if answer.task in SINGLE_LABEL:
            labels = {"label": draw(st.sampled_from(answer.space))}
        else:
            labels = {"labels": tuple(draw(st.lists(st.sampled_from(answer.space), min_size=1, unique=True)))}
        made.append(
            Record(
                id=name, source=source, split=split, transcript=words, language=language, task=answer.task,
                label_space=answer.space, clues=Clues(**clues), reasoning=reasoning, provenance=provenance,
                **labels,
            )
        )  # fmt: skip
    return made


@st.composite
def tables(draw):
    source = draw(st.sampled_from(sorted(COLUMNS)))
    found = draw(st.lists(clips(source), min_size=1, max_size=3, unique_by=lambda members: members[0].id))
    return [record for members in found for record in members]


@given(tables())
@settings(max_examples=150)
def test_what_a_table_can_hold_comes_back_the_same(records):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "label.csv"
        written = write_csv(records, path)
        again = list(read_csv(path, records[0].source))
    assert [item.record for item in again] == records
    assert written.clips == len({r.id for r in records}) and written.lost == {}


def test_every_table_is_of_a_source_and_every_training_source_has_one():
    assert set(COLUMNS) <= set(SOURCES)
    assert set(COLUMNS) == {
        "mer2023", "caer", "dfew", "mc_eiu", "mafw", "bold", "e3", "iemocap", "ch_sims_v2", "cmu_mosei",
        "cmu_mosi", "meld",
    }  # fmt: skip


def test_a_table_as_released_is_read(tmp_path):
    header = (
        "video_id", "mode", "text", "Emotion", "Sentiment", "response_AudioReasoner", "response_Qwen2Audio",
        "response_Qwen25vl_72B", "gpt-4o-mini_Emotion", "gpt-4o-mini_Sentiment", "of_no_use",
    )  # fmt: skip
    rows = [
        (
            "dia0_utt0",
            "train",
            "Oh, hi!",
            "joy",
            "positive",
            "A bright voice.",
            "Loud.",
            "A smile.",
            "So joy.",
            "",
            "1",
        ),
        ("dia0_utt1", "dev", "", "Neutral", "unknown", "", "Flat.", "", "", "", ""),
    ]
    write_table(tmp_path / "MELD_label.csv", header, rows)
    joy, positive, neutral = [item.record for item in read_csv(tmp_path / "MELD_label.csv", "meld")]
    assert (joy.task, joy.label, joy.split, joy.transcript, joy.language) == (
        Task.EMOTION,
        "joy",
        "train",
        "Oh, hi!",
        "en",
    )
    assert joy.clues == positive.clues == Clues(audio="A bright voice.", visual="A smile.")
    assert joy.provenance["clues.audio"] == by("audio", "Audio-Reasoner")
    assert joy.provenance["clues.visual"] == by("visual", "Qwen2.5-VL-72B")
    assert (joy.reasoning, joy.provenance["reasoning"]) == ("So joy.", by("fusion", "gpt-4o-mini"))
    assert (positive.label, positive.reasoning) == ("positive", "")
    assert (neutral.label, neutral.split, neutral.clues.audio) == ("neutral", "validation", "Flat.")
    assert neutral.provenance["clues.audio"].model == "Qwen2-Audio"


def test_several_labels_are_read_in_every_spelling(tmp_path):
    rows = [("25", "train", "anger", "anger, disgust"), ("00026", "test", "", "['fear', 'sadness']")]
    write_table(tmp_path / "t.csv", ("video_id", "mode", "single_label", "multi_label"), rows)
    found = [item.record for item in read_csv(tmp_path / "t.csv", "mafw")]
    assert [(r.id, r.task.value, r.label, r.labels) for r in found] == [
        ("00025", "emotion", "anger", ()),
        ("00025", "multi-label", None, ("anger", "disgust")),
        ("00026", "multi-label", None, ("fear", "sadness")),
    ]


def test_the_clips_of_a_video_in_cmu_mosei_have_their_own_column(tmp_path):
    rows = [("abc", "3", "train", "hi", "Positive"), ("abc_4", "4", "valid", "ho", "Negative")]
    write_table(tmp_path / "t.csv", ("video_id", "clip_id", "mode", "text", "sentiment_label"), rows)
    assert [i.record.id for i in read_csv(tmp_path / "t.csv", "cmu_mosei")] == ["abc_3", "abc_4"]


def test_english_words_of_mer2023_are_taken_where_there_are_no_chinese(tmp_path):
    rows = [("a", "train", "happy", "", "hello"), ("b", "test2", "sad", "你好", "hello")]
    write_table(tmp_path / "t.csv", ("video_id", "MER2023_mode", "emotion_label", "chinese", "english"), rows)
    found = [i.record for i in read_csv(tmp_path / "t.csv", "mer2023")]
    assert [(r.transcript, r.language, r.split) for r in found] == [
        ("hello", "en", "train"),
        ("你好", "zh", "test"),
    ]


def test_each_damage_is_told_with_its_line(tmp_path):
    rows = [
        ("a", "train", "bliss"), ("b", "later", "happy"), ("c", "train", ""), ("d", "train", "happy"),
        ("d", "train", "sad"), ("", "train", "sad"),
    ]  # fmt: skip
    write_table(tmp_path / "t.csv", ("video_id", "mode", "label"), rows)
    items = list(read_csv(tmp_path / "t.csv", "dfew"))
    assert [i.record.id for i in items if isinstance(i, Found)] == ["d"]
    told = {i.where: i.reason for i in items if isinstance(i, Reject)}
    for line, word in (
        (2, "unknown label 'bliss'"),
        (3, "unknown split 'later'"),
        (4, "no label in label"),
        (6, "duplicate id"),
        (7, "is empty"),
    ):
        assert word in told[f"t.csv:{line}"]


def make(**fields):
    base = {
        "id": "a",
        "source": "dfew",
        "split": "train",
        "task": Task.EMOTION,
        "label": "happy",
        "label_space": COLUMNS["dfew"].answers[0].space,
    }
    return Record(**{**base, **fields})


def test_what_a_table_cannot_hold_is_told(tmp_path):
    mine = Provenance(agent="audio", model="prosody", date="2026-01-01")
    record = make(
        person="dfew:x", media=Media(video="a.mp4"), valence=0.5,
        clues=Clues(audio="Loud."), provenance={"clues.audio": mine},
    )  # fmt: skip
    lost = write_csv([record, make(id="b")], tmp_path / "t.csv").lost
    assert lost == {"person": 1, "media": 1, "valence": 1, "clues": 1, "provenance": 1}
    intent = make(task=Task.INTENT, label="wishing", label_space=())
    assert write_csv([make(), intent], tmp_path / "t.csv").lost == {"task intent": 1}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no record at all"),
        ([make(), make(id="b", source="caer")], "of one source; these are of: caer, dfew"),
        ([make(source="emodb")], "no table is released of source 'emodb'; there are: mer2023"),
        ([make(), make(split="test", task=Task.INTENT)], "clip 'a' is in several splits"),
        ([make(source="iemocap", id="x", label_space=())], "its id tells no session"),
        ([make(source="mer2023", split="validation")], "has no word for validation"),
    ],
)
def test_what_cannot_be_a_table_is_refused(tmp_path, records, words):
    with pytest.raises(InputError, match=words):
        write_csv(records, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_commands_go_there_and_back(tmp_path):
    write_table(
        tmp_path / "t.csv",
        ("video_id", "mode", "sentence", "label"),
        [("a", "train", "hi", "happy"), ("b", "test", "ho", "sad"), ("c", "test", "", "bliss")],
    )
    read = command("from-csv", tmp_path / "t.csv", "--source", "dfew", "--out", tmp_path / "out")
    assert (read.exit_code, read.stdout) == (0, f"{tmp_path / 'out'}: 2 records, 1 rejects\n")
    files = [tmp_path / "out" / f"{split}.jsonl" for split in ("train", "test")]
    wrote = command("to-csv", *files, "--out", tmp_path / "again.csv")
    assert (wrote.exit_code, wrote.stdout) == (0, f"{tmp_path / 'again.csv'}: 2 clips\n")
    before = [record for file in files for record in read_records(file)]
    assert [item.record for item in read_csv(tmp_path / "again.csv", "dfew")] == before


def test_the_commands_refuse_in_one_line(tmp_path):
    for arguments in (
        ("to-csv", tmp_path / "no.jsonl", "--out", tmp_path / "t.csv"),
        ("from-csv", tmp_path / "no.csv", "--source", "dfew", "--out", tmp_path / "out"),
    ):
        refused = command(*arguments)
        assert (
            refused.exit_code == 1
            and refused.stderr.startswith("error: ")
            and "no such file" in refused.stderr
        )
