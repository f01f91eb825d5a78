"""Records: what is taken, what is refused and in which words; nothing is lost on the way through a file."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from training.__main__ import app
from training.mmeverse.cli import SCHEMA_FILE, schema_text
from training.mmeverse.schema import (
    ANNOTATED,
    SCHEMA_VERSION,
    ActionUnit,
    Clues,
    Media,
    Provenance,
    Record,
    Task,
    json_schema,
    parse_record,
    read_records,
    write_records,
)

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
HUMAN = Provenance(agent="human", model="rater-1", date="2026-01-31")


def make(**fields):
    base = {"id": "a", "source": "made", "split": "train", "task": Task.EMOTION, "label": "happy"}
    return Record(**{**base, **fields})


FULL = make(
    person="made:ann",
    group="made:film",
    media=Media(video="clips/a.mp4", audio="a.wav", start_s=0.5, end_s=2.0),
    transcript="„Ja“, sagt sie \U0001f642",
    language="de",
    label_space=("happy", "sad"),
    sentiment_score=0.4,
    sentiment_range=(-1.0, 1.0),
    valence=0.1,
    arousal=-1.0,
    clues=Clues(
        audio="Loud.", visual="A smile.", action_units=(ActionUnit(unit="AU12", intensity=3.5),), peak_frame=0
    ),
    reasoning="Because.",
    provenance=dict.fromkeys((*ANNOTATED, "label"), HUMAN),
)  # fmt: skip

word = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
name = st.from_regex(r"\A\S(.{0,8}\S)?\Z")
finite = st.floats(allow_nan=False, allow_infinity=False)
span = st.tuples(st.floats(0, 1e6), st.floats(0.001, 1e6)).map(lambda t: (t[0], t[0] + t[1]))
path = st.from_regex(r"\A[a-zé]{1,5}(/[a-z0-9 ]{1,5}){0,2}\Z").filter(lambda p: ".." not in p)


@st.composite
def records(draw):
    task = draw(st.sampled_from(Task))
    labels = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    is_single = task in (Task.EMOTION, Task.SENTIMENT, Task.INTENT)
    start, end = draw(span)
    score = draw(st.none() | st.floats(-3, 3))
    clues = Clues(audio=draw(word), visual=draw(word), peak_frame=draw(st.none() | st.integers(0, 9)))
    return Record(
        id=draw(name),
        source=draw(st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z")),
        split=draw(st.sampled_from(("train", "validation", "test"))),
        person=draw(st.none() | name),
        group=draw(st.none() | name),
        media=Media(video=draw(st.none() | path), image=draw(st.none() | path), start_s=start, end_s=end),
        transcript=draw(word),
        language=draw(st.sampled_from((None, "en", "zh", "zh-Hant"))),
        task=task,
        label_space=draw(st.sampled_from(((), tuple(labels)))),
        label=labels[0] if is_single else None,
        labels=() if is_single else tuple(labels),
        sentiment_score=score,
        sentiment_range=None if score is None else (-3.0, 3.0),
        valence=draw(st.none() | st.floats(-1, 1)),
        clues=clues,
        reasoning=draw(word),
        provenance=dict.fromkeys(("clues.audio", "clues.visual", "clues.peak_frame", "reasoning"), HUMAN),
    )


@given(records())
def test_a_record_is_the_same_after_its_line(record):
    line = record.to_line()
    assert "\n" not in line and parse_record(line) == record
    assert parse_record(line.encode()) == record
    VALIDATOR.validate(json.loads(line))


@given(st.lists(records(), max_size=3, unique_by=lambda r: r.key))
@settings(max_examples=20)
def test_records_are_the_same_after_a_file(tmp_path_factory, many):
    path = tmp_path_factory.mktemp("records") / "train.jsonl"
    assert write_records(many, path) == len(many)
    assert list(read_records(path)) == many
    assert not path.with_name("train.jsonl.part").exists()


def test_what_has_its_default_is_left_out_but_never_the_version():
    assert json.loads(make().to_line()) == {
        "schema_version": SCHEMA_VERSION,
        "id": "a",
        "source": "made",
        "split": "train",
        "task": "emotion",
        "label": "happy",
    }
    assert parse_record(FULL.to_line()) == FULL


def test_records_do_not_change_and_changed_copies_are_checked():
    with pytest.raises(ValidationError):
        FULL.label = "sad"
    assert FULL.with_changes(label="sad").label == "sad"
    with pytest.raises(ValidationError, match="'angry' is not in label_space: happy, sad"):
        FULL.with_changes(label="angry")


def on_day(date):
    return {"provenance": {"label": {"agent": "a", "model": "m", "date": date}}}


def on_unit(unit, intensity):
    return {"clues": {"action_units": [{"unit": unit, "intensity": intensity}]}}


REFUSED = [
    ({"id": ""}, "id", "at least 1 character"),
    ({"id": " a"}, "id", "pattern"),
    ({"id": 7}, "id", "valid string"),
    ({"source": "Made"}, "source", "pattern"),
    ({"split": "dev"}, "split", "'train', 'validation' or 'test'"),
    ({"task": "mood"}, "task", "found 'mood'"),
    ({"language": "German"}, "language", "pattern"),
    ({"valence": 1.01}, "valence", "less than or equal to 1"),
    ({"valence": "0.5"}, "valence", "valid number"),
    ({"arousal": float("nan")}, "arousal", "finite"),
    ({"unknown": 1}, "unknown", "not permitted"),
    ({"label": None}, "record", "task emotion needs `label`, and no `labels`"),
    ({"labels": ("sad",)}, "record", "task emotion needs `label`, and no `labels`"),
    ({"task": "multi-label"}, "record", "task multi-label needs `labels`, and no `label`"),
    ({"label_space": ("sad",)}, "record", "'happy' is not in label_space: sad"),
    ({"label_space": ("happy", "happy")}, "label_space", "'happy' is there more than once"),
    ({"sentiment_score": 0.5}, "record", "sentiment_score and sentiment_range belong together"),
    ({"sentiment_range": (-1.0, 1.0)}, "record", "sentiment_score and sentiment_range belong together"),
    ({"sentiment_score": 2.0, "sentiment_range": (-1.0, 1.0)}, "record", "2.0 is outside -1 to 1"),
    ({"reasoning": "so"}, "record", "reasoning has no provenance: say agent, model, prompt and date"),
    ({"clues": {"audio": "loud"}}, "record", "clues.audio has no provenance"),
    ({"clues": {"peak_frame": 0}}, "record", "clues.peak_frame has no provenance"),
    ({"clues": {"peak_frame": -1}}, "clues.peak_frame", "greater than or equal to 0"),
    (on_unit("12", 1.0), "clues.action_units.0.unit", "pattern"),
    (on_unit("AU12", 6.0), "clues.action_units.0.intensity", "less than or equal to 5"),
    ({"provenance": {"split": HUMAN.model_dump()}}, "record", "which is no annotated field"),
    (on_day("2026-02-30"), "provenance.label.date", "day"),
    (on_day("today"), "provenance.label.date", "pattern"),
    ({"media": {"video": "/a.mp4"}}, "media.video", "a path inside the source's folder is needed"),
    ({"media": {"video": "../a.mp4"}}, "media.video", "a path inside"),
    ({"media": {"audio": "a\\b.wav"}}, "media.audio", "with / between its parts"),
    ({"media": {"image": ""}}, "media.image", "a path inside"),
    ({"media": {"start_s": -0.1}}, "media.start_s", "greater than or equal to 0"),
    ({"media": {"start_s": 2.0, "end_s": 2.0}}, "media", "end_s 2.0 is not after start_s 2.0"),
    ({"schema_version": 2}, "schema_version", "Input should be 1"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "words"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_is_wrong_is_refused_with_file_line_and_field(tmp_path, change, field, words):
    data = {
        "schema_version": 1,
        "id": "a",
        "source": "made",
        "split": "train",
        "task": "emotion",
        "label": "happy",
    }
    path = tmp_path / "train.jsonl"
    path.write_text(make(id="first").to_line() + "\n" + json.dumps({**data, **change}) + "\n")
    with pytest.raises(InputError) as refused:
        list(read_records(path))
    assert str(refused.value).startswith(f"{path}:2: {field}: ") and words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_line_without_version_is_refused():
    with pytest.raises(InputError, match="here:3: schema_version: missing; this version writes 1"):
        parse_record('{"id":"a","source":"made","split":"train","task":"emotion","label":"x"}', "here:3")


def test_several_faults_are_counted():
    line = '{"schema_version":1,"id":"","source":"Made","split":"train","task":"emotion","label":"x"}'
    with pytest.raises(InputError, match="; and 1 more"):
        parse_record(line)


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '"a"', '{"id": NaN}'])
def test_what_is_no_record_is_refused(line):
    with pytest.raises(InputError, match="^record: "):
        parse_record(line)


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text(make().to_line() + "\n" + make(id="b").to_line())
    with pytest.raises(InputError, match=r"train.jsonl:2: the line has no end: the file was cut off"):
        list(read_records(path))


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "train.jsonl"
    write_records([make(), make(task=Task.INTENT), make(label="sad")], path)
    with pytest.raises(InputError, match=r"train.jsonl:3: id 'a' with task emotion was in line 1"):
        list(read_records(path))


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "train.jsonl"
    write_records([make()], path)

    def broken():
        yield make(id="b")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_records(broken(), path)
    assert [r.id for r in read_records(path)] == ["a"]


def test_files_are_named_once():
    assert Media(video="a.mp4", audio="a.mp4", image="b.png").files() == ("a.mp4", "b.png")
    assert Media().files() == ()


def test_the_schema_in_docs_is_current():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run: python -m training schema --write"


def test_the_schema_agrees_with_the_reader():
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert not list(validator.iter_errors(json.loads(FULL.to_line())))
    plain = json.loads(make().to_line())
    #: Rules between fields are beyond a JSON Schema; those of one field are not.
    for change, field, _ in REFUSED:
        if field not in ("record", "media", "label_space") and not field.startswith(("media.", "arousal")):
            is_day = field.endswith(".date") and "02-30" in str(change)
            assert bool(list(validator.iter_errors({**plain, **change}))) != is_day, change


def test_the_command_prints_the_schema():
    shown = CliRunner().invoke(app, ["schema"])
    assert shown.exit_code == 0 and json.loads(shown.stdout)["title"].startswith(
        "emollama_ros MMEVerse record"
    )
    assert Path(SCHEMA_FILE).name == "record.schema.json"
