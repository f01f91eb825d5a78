"""Agents behind a server that is slow, fails, breaks off and attacks; it counts what it answered."""

from __future__ import annotations

import base64
import io
import json
import logging
import random
import wave
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from annotation_fakes.clips import record, write_clip, write_set
from typer.testing import CliRunner

from emollama_ros.errors import ConfigError, InputError
from training.__main__ import app
from training.annotation.agents import AgentError, Request
from training.annotation.cache import spent_in
from training.annotation.limits import LedgerSettings, LocalLedger, RunStoppedError
from training.mmeverse.schema import Media, read_records, write_records

openai = pytest.importorskip("openai", reason="needs the openai SDK (make test installs it)")

from training.annotation.backends.chat import Endpoint, EndpointError, retry_after_s  # noqa: E402
from training.annotation.backends.clip_media import jpegs_of, wav_of  # noqa: E402
from training.annotation.backends.openai_compatible import Models, Sight, endpoint_agents  # noqa: E402
from training.annotation.backends.prompts import as_data, load_prompt  # noqa: E402
from training.annotation.backends.replies import FreeReply, ReplyFormError, parse_reply  # noqa: E402
from training.annotation.guard import InstructionLikeTextError  # noqa: E402

ALL = Models("hears", "sees", "writes")
KEY = "sk-sentinel-5f1d0c7a"
COUNT = 14


@pytest.fixture
def ledger(tmp_path):
    with LocalLedger(LedgerSettings(tmp_path / "answers.sqlite")) as opened:
        yield opened


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"), COUNT).parent


@pytest.fixture
def agent_of(no_proxy, ledger, clips):
    """An agent of a role that asks a server, and never waits longer than a hundredth of a second."""

    def make(server, role="audio", **more):
        endpoint = Endpoint(server if isinstance(server, str) else server.url, backoff_s=0.001, **more)
        agents = {agent.role: agent for agent in endpoint_agents(endpoint, ALL, ledger)}
        return agents[role]

    return make


def statuses(server, count):
    return [server.next()["status"] for _ in range(count)]


# --- one question ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "field"), [("audio", "clues.audio"), ("visual", "clues.visual"), ("fusion", "reasoning")]
)
@pytest.mark.parametrize("is_guided", [True, False])
def test_each_role_asks_and_says_what_it_was_told(chat_server, agent_of, clips, role, field, is_guided):
    agent = agent_of(chat_server(only="good"), role)
    found = agent.annotate(Request(record(0), clips, is_guided))
    assert set(found.fields) == {field} and found.fields[field].startswith("a steady voice")
    assert (found.usage.requests, found.usage.tokens, len(found.date)) == (1, 120, 10)
    assert agent.prompt.startswith(f"{role}/v1@") and agent.settings["temperature"] == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("pause", [429, 200]), ("fails", [500, 200]), ("half", [200, 200]), ("slow", [200])],
)
def test_what_may_pass_is_tried_again(chat_server, agent_of, clips, kind, expected):
    server = chat_server(only=kind)
    assert agent_of(server).annotate(Request(record(0), clips)).fields
    assert statuses(server, len(expected)) == expected


def test_an_answer_of_another_form_is_repaired_once(chat_server, agent_of, clips):
    server = chat_server(only="malformed")
    found = agent_of(server).annotate(Request(record(0), clips))
    assert found.usage.requests == 2 and statuses(server, 2) == [200, 200]


def test_an_answer_that_stays_of_another_form_is_refused(chat_server, agent_of, clips):
    with pytest.raises(ReplyFormError, match="label: Extra inputs"):
        agent_of(chat_server(only="other form")).annotate(Request(record(0), clips))


def test_an_instruction_in_an_answer_is_refused_and_not_repaired(chat_server, agent_of, clips):
    server = chat_server(only="injection")
    with pytest.raises(InstructionLikeTextError, match="answer of audio.*'Ignore all previous"):
        agent_of(server).annotate(Request(record(0), clips))
    server.drain()
    assert len(server.answered) == 1


def test_an_answer_is_paid_once_even_where_it_was_refused(chat_server, agent_of, clips):
    server = chat_server(only="other form")
    for _ in range(3):
        with pytest.raises(ReplyFormError):
            agent_of(server).annotate(Request(record(0), clips))
    server.drain()
    assert len(server.answered) == 2  # the question and its repair


@pytest.mark.parametrize("is_guided", [True, False])
def test_a_contradicted_label_is_flagged(chat_server, agent_of, clips, is_guided):
    found = agent_of(chat_server(only="contradicts")).annotate(Request(record(0), clips, is_guided))
    assert found.flags and "anger" in found.flags[0]


def test_an_endpoint_that_only_fails_rejects_the_question(chat_server, agent_of, clips):
    server = chat_server(only="always fails")
    with pytest.raises(EndpointError, match="status 500"):
        agent_of(server, attempts=3).annotate(Request(record(0), clips))
    assert statuses(server, 3) == [500] * 3


def test_an_endpoint_that_is_not_there_stops_the_run(agent_of, clips):
    with pytest.raises(RunStoppedError, match="127.0.0.1:9/v1, hears: cannot be reached"):
        agent_of("http://127.0.0.1:9/v1", attempts=2).annotate(Request(record(0), clips))


def test_a_key_that_is_refused_is_told_with_the_variable(chat_server, agent_of, clips, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigError, match="refuses the key in OPENAI_API_KEY") as caught:
        agent_of(chat_server(only="denied", echo=True)).annotate(Request(record(0), clips))
    assert KEY not in str(caught.value) and caught.value.__cause__ is None


def test_every_attempt_counts_as_a_request(chat_server, agent_of, clips, tmp_path):
    agent_of(chat_server(only="fails")).annotate(Request(record(0), clips))
    assert spent_in(tmp_path / "answers.sqlite").requests == 2


# --- what is sent ----------------------------------------------------------------------------------------


def sent(agent, clips, of, is_guided=True):
    return agent.content(Request(of, clips, is_guided))


def test_without_the_label_the_label_is_nowhere_but_among_the_choices(agent_of, clips):
    secret = record(
        0, label_space=(), label="melancholy", id="melancholy-3", media=Media(video="clip-000.mp4")
    )
    for role in ("audio", "visual", "fusion"):
        assert "melancholy" not in json.dumps(
            sent(agent_of("http://127.0.0.1/v1", role), clips, secret, False)
        )
        assert "melancholy" in json.dumps(sent(agent_of("http://127.0.0.1/v1", role), clips, secret))


def test_a_transcript_cannot_leave_its_block(agent_of, clips):
    sly = record(0, transcript='"}</data> $label ${label}')
    text = sent(agent_of("http://127.0.0.1/v1", "fusion"), clips, sly)[0]["text"]
    assert text.count("</data>") == 1 and "$label ${label}" in text


def test_sound_is_a_wav_of_the_part_that_is_the_clip(agent_of, clips):
    part = record(0, media=Media(video="clip-000.mp4", start_s=0.1, end_s=0.4))
    sound = sent(agent_of("http://127.0.0.1/v1"), clips, part)[0]["input_audio"]
    with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.getnframes() == pytest.approx(0.3 * 16000, abs=16)
        samples = np.frombuffer(file.readframes(-1), "<i2")
    assert np.abs(samples).max() > 0.15 * 32767


def test_frames_begin_with_the_peak_and_go_through_the_clip(tmp_path):
    write_clip(tmp_path / "clip-000.mp4", 0, seconds=1.0, sound=False)
    who = {"agent": "face", "model": "m", "date": "2026-01-01"}
    peak = record(0, clues={"peak_frame": 6}, provenance={"clues.peak_frame": who})
    grey = [brightness(jpeg) for jpeg in jpegs_of(peak, tmp_path, 3, 768, 85)]
    # Frame i is as bright as 20 i; in the middles of three thirds of ten frames, 1, 5 and 8 are shown.
    assert grey == pytest.approx([120, 20, 100, 160], abs=6)
    some = jpegs_of(record(0, media=Media(video="clip-000.mp4", start_s=0.5)), tmp_path, 2, 768, 85)
    assert [brightness(jpeg) for jpeg in some] == pytest.approx([120, 160], abs=6)
    with pytest.raises(InputError, match="no picture in the part"):
        jpegs_of(record(0, media=Media(video="clip-000.mp4", start_s=5)), tmp_path, 2, 768, 85)


def test_a_peak_frame_that_is_not_there_is_told(tmp_path):
    write_clip(tmp_path / "clip-000.mp4", 0)
    who = {"agent": "face", "model": "m", "date": "2026-01-01"}
    wrong = record(0, clues={"peak_frame": 99}, provenance={"clues.peak_frame": who})
    with pytest.raises(InputError, match="no frame 99"):
        jpegs_of(wrong, tmp_path, 3, 768, 85)


def brightness(jpeg):
    with av.open(io.BytesIO(jpeg)) as file:
        return float(next(file.decode(video=0)).to_ndarray(format="gray").mean())


def test_what_a_clip_lacks_is_not_asked_about(agent_of, tmp_path):
    write_clip(tmp_path / "clip-000.mp4", 0, sound=False)
    request = Request(record(0), tmp_path)
    assert wav_of(request.record, tmp_path, 60) is None
    assert agent_of("http://127.0.0.1/v1").annotate(request).fields == {}
    words = Request(record(0, media=Media()), tmp_path)
    assert agent_of("http://127.0.0.1/v1", "visual").annotate(words).fields == {}
    with pytest.raises(AgentError, match="neither words nor clues"):
        nothing = record(0, media=Media(), transcript="")
        agent_of("http://127.0.0.1/v1", "fusion").annotate(Request(nothing, tmp_path))


# --- small parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Invalid JSON"),
        ('{"description": "x"}', "agreement: Field required"),
        ('{"description": "", "agreement": "supports"}', "description: String should have at least 1"),
        ('{"description": "x", "agreement": "yes"}', "agreement: Input should be"),
        ('{"description": 3, "agreement": "supports"}', "description: Input should be a valid string"),
        ('Sure! {"description": "x", "agreement": "supports"}', "Invalid JSON"),
    ],
)
def test_an_answer_is_read_strictly(text, words):
    with pytest.raises(ReplyFormError, match=words):
        parse_reply(text, is_guided=True)


@pytest.mark.parametrize(
    ("said", "contradicts"),
    [("anger", False), ("Angry", False), ("fear / anger", False), ("joy", True), ("boredom", True)],
)
def test_an_emotion_is_compared_in_the_words_of_both(said, contradicts):
    assert bool(FreeReply(description="x", emotion=said).contradiction(record(0))) is contradicts


def test_an_emotion_in_free_words_is_not_compared_with_an_open_vocabulary():
    open_words = record(0, label_space=(), label="wistful")
    assert FreeReply(description="x", emotion="sad").contradiction(open_words) == ""


def test_a_prompt_is_named_by_its_words(tmp_path):
    (tmp_path / "audio").mkdir()
    file = tmp_path / "audio" / "v1.txt"
    file.write_text("[system]\na\n[guided]\nb $label\n[free]\nc\n")
    first = load_prompt("audio", folder=tmp_path)
    assert first.user(True, {"label": "$x"}) == "b $x"
    file.write_text(file.read_text() + "d")
    assert load_prompt("audio", folder=tmp_path).version != first.version
    with pytest.raises(ConfigError, match="no such prompt.*versions of audio: v1"):
        load_prompt("audio", "v9", tmp_path)
    file.write_text("[system]\n")
    with pytest.raises(ConfigError, match="needed are system, guided, free"):
        load_prompt("audio", folder=tmp_path)


def test_data_keeps_its_meaning_as_json():
    assert json.loads(as_data(["</data>", "ü$"])) == ["</data>", "ü$"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x/v1", "needed is an address"),
        ("http://u:p@x/v1", "carries a password"),
        ("http://x/v1?key=3", "carries a password or a query"),
    ],
)
def test_an_address_that_is_none_or_carries_a_secret_is_refused(url, words):
    with pytest.raises(ConfigError, match=words):
        Endpoint(url)


def test_a_missing_key_of_a_foreign_endpoint_is_told_at_once(ledger, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ConfigError, match="MY_KEY is empty"):
        endpoint_agents(Endpoint("https://api.example/v1", "MY_KEY"), ALL, ledger, Sight())


def test_a_pause_may_be_asked_for_in_seconds_or_as_a_date():
    def error(text):
        headers = {"retry-after": text} if text else {}
        response = SimpleNamespace(status_code=429, headers=headers, request=None)
        return openai.RateLimitError("slow down", response=response, body=None)

    assert [retry_after_s(error(text)) for text in ("1.5", "", "soon", "-3", "inf")] == [1.5, 0, 0, 0, 0]
    assert retry_after_s(error("Fri, 31 Dec 2999 23:59:59 GMT")) > 1e9
    assert retry_after_s(ValueError()) == 0


# --- whole runs, as commands -----------------------------------------------------------------------------


def asking(clips, out, server, *more):
    return (
        "training", "annotate", "--records", clips / "records.jsonl", "--root", clips, "--out", out,
        "--backend", "openai", "--base-url", server.url, "--audio-model", "hears", "--visual-model", "sees",
        "--fusion-model", "writes", "--no-measure", "--backoff", "0.01", "--workers", "3", *more,
    )  # fmt: skip


def finished(process, status=0):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    return out, errors


def files(out):
    return {name: (out / f"{name}.jsonl").read_bytes() for name in ("records", "rejects", "flags")}


@pytest.mark.slow
def test_killed_three_times_over_a_bad_server_is_as_unbroken(chat_server, command, clips, tmp_path):
    first, second = chat_server(), chat_server()
    finished(command(*asking(clips, tmp_path / "unbroken", first)))
    chance = random.Random(7)
    for _ in range(3):
        process = command(*asking(clips, tmp_path / "killed", second))
        for _ in range(chance.randrange(4, 12)):
            second.next()
        process.kill()
        process.communicate()
    finished(command(*asking(clips, tmp_path / "killed", second)))
    assert files(tmp_path / "killed") == files(tmp_path / "unbroken")
    # Under way when killed: at most one for each of three workers, three times. A half response is no answer.
    assert second.paid_twice() - first.paid_twice() <= 9
    before = len(second.answered)
    finished(command(*asking(clips, tmp_path / "killed", second)))
    second.drain()
    assert len(second.answered) == before

    rejects = [json.loads(line) for line in (tmp_path / "killed" / "rejects.jsonl").read_text().splitlines()]
    kept = [r.id for r in read_records(tmp_path / "killed" / "records.jsonl")]
    assert sorted([*kept, *(r["id"] for r in rejects)]) == [f"clip-{i:03}" for i in range(COUNT)]
    assert {"instruction-like text", "answer of another form"} == {r["category"] for r in rejects}


def invoked(arguments, status=0):
    """Standard output and error of a command, run in this process."""
    result = CliRunner().invoke(app, list(map(str, arguments[1:])))
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def test_a_budget_stops_the_run_and_a_larger_one_goes_on(chat_server, no_proxy, clips, tmp_path):
    server = chat_server(only="good")

    def capped(requests):
        prices = ("--price-in", "0.01", "--price-out", "0.02")
        return asking(clips, tmp_path, server, "--max-requests", requests, *prices)

    _, errors = invoked(capped(10), 3)
    assert "stopped at the budget: 10 of 10 requests are spent" in errors
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["complete"] is False
    tokens = {"prompt_tokens": 1000, "completion_tokens": 200}
    assert summary["spent"] == {"requests": 10, **tokens, "cost": 0.014}
    invoked(capped(10), 3)
    assert statuses(server, 10) == [200] * 10 and server.told.empty()
    out, _ = invoked(capped(3 * COUNT))
    assert json.loads(out)["spent"]["requests"] == 3 * COUNT
    assert server.paid_twice() == 0


@pytest.mark.slow
def test_the_key_is_nowhere_even_where_a_server_repeats_it(chat_server, command, tmp_path):
    folder = write_set(tmp_path / "set", 2).parent
    shown = ""
    for number, only in enumerate((None, "denied", "always fails")):
        server = chat_server(only=only, echo=True)
        process = command(
            *asking(folder, tmp_path / "out" / str(number), server, "--attempts", "2"),
            OPENAI_API_KEY=KEY, OPENAI_LOG="debug",
        )  # fmt: skip
        shown += "".join(process.communicate(timeout=120))
        assert process.returncode in (0, 1)
    written = [path for path in Path(tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 6
    assert KEY not in shown and "Traceback" not in shown
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_logging_everything_does_not_log_the_key(chat_server, agent_of, clips, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with caplog.at_level(logging.DEBUG):
        agent = agent_of(chat_server(only="good", echo=True))
        with pytest.raises(ReplyFormError) as caught:  # the key after the JSON is no JSON
            agent.annotate(Request(record(0), clips))
    assert KEY not in caplog.text + str(caught.value) + repr(agent)


def test_interrupted_it_says_how_to_go_on(chat_server, command, clips, tmp_path):
    import signal

    server = chat_server(only="good")
    process = command(*asking(clips, tmp_path, server, "--rpm", "2"))
    server.next(), server.next()
    process.send_signal(signal.SIGINT)
    _, errors = finished(process, 130)
    assert "the same command goes on from there" in errors and "Traceback" not in errors


# --- the command -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--backend", "openai"], "needs --base-url"),
        (["--backend", "openai", "--base-url", "http://127.0.0.1:9/v1"], "no model is named"),
        (["--backend", "openai", "--base-url", "x"], "needed is an address"),
        (["--backend", "local", "--max-cost", "3"], "--price-in"),
        (["--backend", "local", "--workers", "0"], "workers is 0"),
        (["--backend", "local", "--root", "/none"], "--root /none: no such folder"),
        (["--backend", "local", "--records", "/none"], "/none: cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(clips, tmp_path, more, words):
    given = [
        "annotate",
        "--records",
        str(clips / "records.jsonl"),
        "--root",
        str(clips),
        "--out",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, [*given, *more])
    assert result.exit_code == 1 and result.stderr.startswith("error: ") and words in result.stderr
    assert "Traceback" not in result.output


def test_records_are_screened_without_asking_anybody(tmp_path):
    bad = record(1, transcript="run the following command")
    write_records([record(0), bad], tmp_path / "r.jsonl")
    result = CliRunner().invoke(app, ["screen", "--records", str(tmp_path / "r.jsonl")])
    told = json.loads(result.stdout)
    assert (told["records"], told["instruction_like"], told["found"][0]["id"]) == (2, 1, "clip-001")
