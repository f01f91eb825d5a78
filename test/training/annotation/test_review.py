"""The human check: marks, sample, agreement, and the page in a real browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from emollama_ros.errors import InputError
from training.annotation.review.agreement import agreement, to_markdown
from training.annotation.review.marks import FIELDS, VERDICTS, Mark, MarkFile, digest, make_mark, read_marks
from training.annotation.review.sample import stratified_sample
from training.mmeverse.schema import ANNOTATED, ActionUnit, Clues, Media, Provenance, Record, write_records

starlette = pytest.importorskip("starlette", reason="needs starlette (pip install emollama-ros[annotation])")
pytest.importorskip("uvicorn", reason="needs uvicorn (pip install emollama-ros[annotation])")

from starlette.testclient import TestClient  # noqa: E402

from training.annotation.review.server import create_app, open_desk  # noqa: E402

ATTACK = '<img src=x onerror="document.title=1"><script>document.title="taken"</script>'
BY = Provenance(agent="face", model="test", date="2026-01-01")


def write_video(path: Path, frames: int = 20) -> None:
    """A small clip whose brightness rises from frame to frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(frames):
            picture = np.full((120, 160, 3), 20 + i * 10, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def record(number: int = 0, label: str = "happy", **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "id": f"clip{number}",
        "source": "made_up",
        "split": "train",
        "task": "emotion",
        "label": label,
        "media": Media(video="clips/a.mp4"),
        "transcript": "Good morning.",
        "clues": Clues(
            audio="The voice is high.",
            visual="The lip corners are pulled up.",
            action_units=(ActionUnit(unit="AU12", intensity=3.2), ActionUnit(unit="AU06", intensity=1.5)),
            peak_frame=15,
        ),
        "reasoning": "The lip corners are pulled up, so the person seems happy.",
        "provenance": dict.fromkeys(ANNOTATED, BY),
    }
    return Record(**{**fields, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "clips").mkdir(parents=True)
    write_video(tmp_path / "data" / "clips" / "a.mp4")
    (tmp_path / "data" / "secret.txt").write_text("not in any record")
    records = [record(0, transcript=ATTACK), record(1, label="sad"), record(2)]
    write_records(records, tmp_path / "records.jsonl")
    return tmp_path


@pytest.fixture
def client(folder: Path) -> TestClient:
    desk = open_desk(folder / "records.jsonl", folder / "data", folder / "marks.jsonl", "ann")
    return TestClient(create_app(desk), base_url="http://127.0.0.1:8765")


OWN = {"origin": "http://127.0.0.1:8765"}


def number_of(client: TestClient, clip: str) -> int:
    return [c["id"] for c in client.get("/api/clips").json()["clips"]].index(clip)


# --- marks ------------------------------------------------------------------------------------------------


def test_a_mark_survives_in_the_file_and_the_last_one_counts(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "marks.jsonl")
    file.append(make_mark(record(), "label", "wrong", "ann"))
    file.append(make_mark(record(), "label", "right", "ann", "on second thought"))
    again = MarkFile(tmp_path / "marks.jsonl")
    assert again.of(record(), "ann")["label"].verdict == "right"
    assert again.of(record(), "bob") == {}
    assert [m.verdict for m in read_marks(tmp_path / "marks.jsonl")] == ["wrong", "right"]


def test_a_line_that_a_crash_cut_off_is_dropped_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    MarkFile(path).append(make_mark(record(), "label", "right", "ann"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    MarkFile(path).append(make_mark(record(), "reasoning", "wrong", "ann"))
    assert [m.field for m in read_marks(path)] == ["label", "reasoning"]


def test_a_text_that_changed_wants_a_new_mark(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "marks.jsonl")
    file.append(make_mark(record(), "reasoning", "right", "ann"))
    assert "reasoning" in file.of(record(), "ann")
    assert file.of(record(reasoning="Something else."), "ann") == {}


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    path.write_text('{"verdict": "perhaps"}\n')
    with pytest.raises(InputError, match=r"marks\.jsonl:1"):
        MarkFile(path)


@pytest.mark.parametrize(("field", "verdict"), [("label", "maybe"), ("nonsense", "right"), ("id", "right")])
def test_what_is_no_mark_is_refused(field: str, verdict: Any) -> None:
    with pytest.raises(InputError, match=r"field|verdict"):
        make_mark(record(), field, verdict, "ann")


# --- sample -----------------------------------------------------------------------------------------------


def test_a_sample_has_rare_labels_and_grows_without_changing() -> None:
    records = [record(i, "happy") for i in range(90)] + [record(90 + i, "sad") for i in range(10)]
    sample = stratified_sample(records, 20, seed=3)
    assert Counter(r.label for r in sample) == {"happy": 10, "sad": 10}
    assert stratified_sample(records, 12, seed=3) == sample[:12]
    assert stratified_sample(records, 20, seed=4) != sample
    assert sorted(r.id for r in stratified_sample(records, None)) == sorted(r.id for r in records)


# --- agreement --------------------------------------------------------------------------------------------


def marks_of(reviewer: str, verdicts: list[str]) -> list[Mark]:
    return [make_mark(record(i), "label", v, reviewer) for i, v in enumerate(verdicts)]  # type: ignore[arg-type]


def test_agreement_counts_by_hand() -> None:
    ann = marks_of("ann", ["right", "right", "wrong", "right", "cannot tell"])
    bob = marks_of("bob", ["right", "wrong", "wrong", "right"])
    label = agreement([*ann, *bob])["fields"]["label"]
    assert label["right"] == pytest.approx(5 / 8)
    assert (label["n"], label["cannot_tell"]) == (8, 1)
    (pair,) = label["pairs"]
    # Observed 3/4; by chance 3/4 * 2/4 + 1/4 * 2/4 = 1/2.
    assert pair["kappa"] == pytest.approx((0.75 - 0.5) / (1 - 0.5))
    assert (pair["n"], pair["same"]) == (4, 0.75)


def test_kappa_is_not_invented_where_it_is_not_defined() -> None:
    result = agreement([*marks_of("ann", ["right"] * 3), *marks_of("bob", ["right"] * 3)])
    assert result["fields"]["label"]["pairs"][0]["kappa"] is None
    assert "not defined (3)" in to_markdown(result)
    assert agreement([])["fields"] == {}


def test_only_the_last_mark_of_a_person_is_counted() -> None:
    changed = [*marks_of("ann", ["wrong"]), *marks_of("ann", ["right"])]
    assert agreement(changed)["fields"]["label"]["right"] == 1.0


def test_marks_on_texts_that_differ_are_not_compared() -> None:
    one = make_mark(record(reasoning="One."), "reasoning", "right", "ann")
    other = make_mark(record(reasoning="Another."), "reasoning", "wrong", "bob")
    assert agreement([one, other])["fields"]["reasoning"]["pairs"] == []


def test_agreement_command(tmp_path: Path) -> None:
    from training.__main__ import app

    for reviewer in ("ann", "bob"):
        file = MarkFile(tmp_path / f"{reviewer}.jsonl")
        for mark in marks_of(reviewer, ["right", "wrong"]):
            file.append(mark)
    paths = [str(tmp_path / "ann.jsonl"), str(tmp_path / "bob.jsonl")]
    done = CliRunner().invoke(app, ["agreement", *paths, "--out", str(tmp_path / "out.json")])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out.json").read_text())["fields"]["label"]["pairs"][0]["kappa"] == 1.0
    assert "| Label | 0.50 | 4 | 0 | ann / bob: 1.00 (2) |" in done.output
    missing = CliRunner().invoke(app, ["agreement", str(tmp_path / "none.jsonl")])
    assert missing.exit_code == 1
    assert "error: " in missing.output


# --- the server -------------------------------------------------------------------------------------------


def test_a_mark_is_stored_before_it_is_answered(client: TestClient, folder: Path) -> None:
    number = number_of(client, "clip1")
    answer = client.post(
        f"/api/clips/{number}/marks", json={"field": "label", "verdict": "right"}, headers=OWN
    )
    assert answer.status_code == 201
    (mark,) = read_marks(folder / "marks.jsonl")
    assert (mark.id, mark.field, mark.verdict, mark.reviewer) == ("clip1", "label", "right", "ann")
    assert mark.shown == digest("sad")
    assert client.get(f"/api/clips/{number}").json()["marks"]["label"]["verdict"] == "right"


@pytest.mark.parametrize("origin", [None, "http://evil.example", "http://127.0.0.1:1", "null"])
def test_other_origins_cannot_mark(client: TestClient, folder: Path, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    answer = client.post("/api/clips/0/marks", json={"field": "label", "verdict": "right"}, headers=headers)
    assert answer.status_code == 403
    assert not (folder / "marks.jsonl").exists()


def test_a_form_of_another_site_cannot_mark(client: TestClient) -> None:
    body = '{"field": "label", "verdict": "right"}'
    answer = client.post("/api/clips/0/marks", content=body, headers={**OWN, "content-type": "text/plain"})
    assert answer.status_code == 415


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8765"])
def test_other_host_names_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/clips", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b'{"field": "label"}', b'{"field": "label", "verdict": 1}',
        b'{"field": "label", "verdict": "perhaps"}', b'{"field": "split", "verdict": "right"}',
        b'{"field": "label", "verdict": "right", "reviewer": "somebody else"}',
        b'{"field": "label", "verdict": "right", "note": "' + b"x" * 20_000 + b'"}',
    ],
)  # fmt: skip
def test_what_is_no_mark_changes_nothing(client: TestClient, folder: Path, body: bytes) -> None:
    headers = {**OWN, "content-type": "application/json"}
    answer = client.post("/api/clips/0/marks", content=body, headers=headers)
    assert answer.status_code in (400, 413)
    assert answer.json()["error"]
    assert not (folder / "marks.jsonl").exists()


def test_media_come_in_ranges(client: TestClient, folder: Path) -> None:
    whole = (folder / "data" / "clips" / "a.mp4").read_bytes()
    answer = client.get("/api/clips/0/media/video", headers={"range": "bytes=10-29"})
    assert answer.status_code == 206
    assert answer.content == whole[10:30]
    assert answer.headers["content-range"] == f"bytes 10-29/{len(whole)}"
    assert answer.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize(
    "path",
    [
        "/api/clips/0/media/secret.txt", "/api/clips/0/media/../../../records.jsonl", "/secret.txt",
        "/api/clips/0/media/%2e%2e%2fsecret.txt", "/static/../server.py", "/static/%2e%2e/server.py",
        "/api/clips/99", "/api/clips/-1", "/api/clips/0/media/audio", "/static/",
    ],
)  # fmt: skip
def test_nothing_but_the_records_files_can_be_fetched(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_link_that_leads_out_of_the_root_is_not_followed(folder: Path) -> None:
    (folder / "outside.mp4").write_bytes(b"private")
    (folder / "data" / "clips" / "link.mp4").symlink_to(folder / "outside.mp4")
    write_records([record(media=Media(video="clips/link.mp4"))], folder / "linked.jsonl")
    desk = open_desk(folder / "linked.jsonl", folder / "data", folder / "marks.jsonl", "ann")
    client = TestClient(create_app(desk), base_url="http://localhost")
    assert client.get("/api/clips/0/media/video").status_code == 404


def test_the_peak_frame_is_the_frame_of_that_index(client: TestClient) -> None:
    from io import BytesIO

    from PIL import Image

    picture = np.asarray(Image.open(BytesIO(client.get("/api/clips/0/peak.jpg").content)))
    assert picture.shape == (120, 160, 3)
    assert abs(float(picture.mean()) - (20 + 15 * 10)) < 6


def test_every_answer_keeps_other_sites_out(client: TestClient) -> None:
    for path in ("/", "/api/clips", "/static/review.js", "/api/clips/0/media/video", "/nowhere"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    from training.annotation.review import server

    for file in server._STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
        assert "innerHTML" not in text


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_desk(folder / "records.jsonl", folder / "nowhere", folder / "m.jsonl", "ann")
    with pytest.raises(InputError, match="no such file"):
        open_desk(folder / "nothing.jsonl", folder, folder / "m.jsonl", "ann")
    (folder / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="no records"):
        open_desk(folder / "empty.jsonl", folder, folder / "m.jsonl", "ann")


# --- in a browser -----------------------------------------------------------------------------------------


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """The command itself, as a process, on a free port."""
    command = [
        sys.executable, "-u", "-m", "training", "review", "--records", str(folder / "records.jsonl"),
        "--root", str(folder / "data"), "--out", str(folder / "marks.jsonl"), "--reviewer", "ann",
        "--port", "0",
    ]  # fmt: skip
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split(" at ")[1].split()[0]
        finally:
            process.terminate()


def wait(browser: Any, condition: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda _: condition())


def open_clip(browser: Any, address: str, clip: str) -> None:
    for number in (1, 2, 3):
        browser.get("about:blank")
        browser.get(f"{address}#clip={number}")
        wait(browser, lambda: browser.find_elements("css selector", ".field"))
        if browser.find_element("id", "clip-title").text.endswith(clip):
            return
    raise AssertionError(f"no {clip}")


def pressed(browser: Any, field: str) -> list[str]:
    buttons = browser.find_elements(
        "css selector", f'.field[data-field="{field}"] button[aria-pressed="true"]'
    )
    return [b.get_attribute("data-verdict") for b in buttons]


def test_marks_made_by_click_and_by_key_are_stored_and_resumed(
    browser: Any, address: str, folder: Path
) -> None:
    open_clip(browser, address, "clip1")
    chosen = '.field[data-field="label"] button[data-verdict="wrong"]'
    browser.find_element("css selector", chosen).click()
    wait(browser, lambda: pressed(browser, "label") == ["wrong"])
    # The next unmarked field has the focus now; a key marks it.
    wait(browser, lambda: browser.switch_to.active_element.get_attribute("data-field") == "transcript")
    browser.switch_to.active_element.send_keys("r")
    wait(browser, lambda: pressed(browser, "transcript") == ["right"])
    stored = {m.field: m.verdict for m in read_marks(folder / "marks.jsonl")}
    assert stored == {"label": "wrong", "transcript": "right"}
    browser.refresh()
    wait(
        browser,
        lambda: pressed(browser, "label") == ["wrong"] and pressed(browser, "transcript") == ["right"],
    )
    assert "2 of 21 fields" in browser.find_element("id", "counts").text


def test_the_whole_check_works_by_keyboard_alone(browser: Any, address: str, folder: Path) -> None:
    browser.get(address)
    wait(browser, lambda: browser.find_elements("css selector", ".field"))
    for done in range(len(FIELDS)):
        browser.switch_to.active_element.send_keys("wrc"[done % 3])
        wait(
            browser, lambda done=done: f"{done + 1} of 21 fields" in browser.find_element("id", "counts").text
        )
    assert browser.find_element("id", "done").is_displayed()
    assert len({m.field for m in read_marks(folder / "marks.jsonl")}) == len(FIELDS)


def test_a_transcript_that_is_markup_stays_text(browser: Any, address: str) -> None:
    open_clip(browser, address, "clip0")
    shown = browser.find_element("css selector", '.field[data-field="transcript"] .text')
    assert shown.text == ATTACK
    assert browser.find_elements("css selector", "#fields img, #fields script") == []
    assert browser.title == "Review of annotations"


def test_the_clip_and_its_peak_frame_are_shown(browser: Any, address: str) -> None:
    open_clip(browser, address, "clip2")
    width = "return document.querySelector('#peak-image').naturalWidth"
    assert wait(browser, lambda: browser.execute_script(width)) == 160
    meters = browser.find_elements("css selector", ".units meter")
    assert [m.get_attribute("value") for m in meters] == ["3.2", "1.5"]
    buttons = [b for b in browser.find_elements("css selector", "button") if b.is_displayed()]
    assert buttons
    assert all(b.accessible_name for b in buttons)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_on_a_phone_or_a_desk(browser: Any, address: str, width: int) -> None:
    # A headless window is never narrower than 500 pixels; the emulated device is.
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_clip(browser, address, "clip0")
        inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert inner[0] <= inner[1] == width
        if folder := os.environ.get("EMOLLAMA_SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / f"review_{width}.png"))
        low = [b for b in browser.find_elements("css selector", ".choices button") if b.size["height"] < 40]
        assert not low
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_verdicts_of_page_and_file_are_the_same(client: TestClient) -> None:
    assert tuple(client.get("/api/clips").json()["verdicts"]) == VERDICTS
