"""The parts of the dashboard that need neither ROS nor a browser."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emollama_ros import conditions
from emollama_ros.dashboard import guard, load
from emollama_ros.dashboard.board import Board, Mailbox
from emollama_ros.dashboard.drawing import COLOURS, annotate, small_jpeg
from emollama_ros.dashboard.loudness import FLOOR_DB, LoudnessMeter
from emollama_ros.dashboard.views import ReasoningView, StateView
from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.nodes.parameters import table_rows

pytest.importorskip("starlette.testclient", reason="needs starlette (make test installs it)")
from starlette.testclient import TestClient  # noqa: E402

from emollama_ros.dashboard.server import Answer, create_app  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "emollama_ros" / "dashboard" / "page"
TOKEN = "a-token-that-nobody-guesses"
SCORES = dict(zip(DEFAULT_LABELS, (0.1, 0.5, 0.05, 0.05, 0.2, 0.05, 0.05), strict=True))


# --- words


def test_states_are_told_in_plain_words() -> None:
    happy = StateView(1, 1, "happy", SCORES, confidence=0.5)
    assert (happy.title, happy.line) == ("Happy", "50% sure")
    unsure = dataclasses.replace(happy, label="uncertain")
    assert unsure.title == "Not sure"
    assert unsure.line == "No feeling stands out. The likeliest is happy, at 50%."
    nothing = StateView(1, 1, "unknown", status=2, status_text="no input: /audio has no publisher")
    assert (nothing.title, nothing.line) == ("Nothing to tell", "No input: /audio has no publisher.")
    paused = StateView(1, 1, "unknown", status=2, status_text=conditions.PAUSED.words)
    assert paused.title == "Paused" and "neither looks nor listens" in paused.line


# --- sound


def test_level_of_a_sine_is_known() -> None:
    meter = LoudnessMeter(0.1)
    sine = np.sin(2 * np.pi * 100 * np.arange(1600) / 16000)
    level = meter.push(np.round(sine * 16384).astype(np.int16), 16000)
    assert level is not None
    assert level.peak_db == pytest.approx(-6.02, abs=0.01)
    assert level.rms_db == pytest.approx(-9.03, abs=0.01)
    assert meter.push(np.zeros(1599, np.int16), 16000) is None
    level = meter.push(np.zeros(1, np.int16), 16000)
    assert level is not None and level.rms_db == level.peak_db == FLOOR_DB


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.int32, np.float32])
def test_full_scale_is_0_db_in_every_type(kind: type) -> None:
    low = {"u": 0, "i": np.iinfo(kind).min if kind is not np.float32 else 0, "f": -1.0}[np.dtype(kind).kind]
    level = LoudnessMeter(0.01).push(np.full(3200, low, kind), 16000, 2)
    assert level is not None and level.rms_db == pytest.approx(0.0, abs=1e-6)


def test_what_was_not_recorded_is_silence() -> None:
    level = LoudnessMeter(0.1).push(np.full(1600, np.nan, np.float32), 16000)
    assert level is not None and level.peak_db == FLOOR_DB


# --- pictures


def test_the_annotated_picture_shows_the_label_and_leaves_the_camera_alone() -> None:
    grey = np.full((240, 320, 3), 90, np.uint8)
    before = grey.copy()
    happy = StateView(1, 1, "happy", SCORES, confidence=0.5)
    drawn = annotate(grey, happy, ReasoningView(0, 1, "happy", "The mouth is wide.", True))
    assert np.array_equal(grey, before)
    assert drawn.shape == grey.shape and drawn.dtype == np.uint8
    assert np.array_equal(drawn[100:120, :100], grey[100:120, :100])  # the face is left free
    other = annotate(grey, dataclasses.replace(happy, label="sad"))
    stripe = (drawn == COLOURS["happy"]).all(axis=2)
    assert stripe.any() and not (other[stripe] == COLOURS["happy"]).all()
    assert np.array_equal(annotate(grey, None), grey)


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.text(max_size=60),
    st.sampled_from(["happy", "uncertain", "unknown", "bored"]),
)
def test_any_size_and_any_text_can_be_drawn(height: int, width: int, text: str, label: str) -> None:
    rgb = np.zeros((height, width, 3), np.uint8)
    state = StateView(1, 1, label, SCORES, status=int(len(text) % 2), status_text=text)
    assert annotate(rgb, state, ReasoningView(0, 1, label, text, False)).shape == rgb.shape


def test_pictures_for_the_page_are_small() -> None:
    jpeg = small_jpeg(np.zeros((1080, 1920, 3), np.uint8), 640)
    assert Image.open(io.BytesIO(jpeg)).size == (640, 360)


# --- the board


def test_a_slow_page_gets_the_latest_of_each_kind() -> None:
    async def run() -> None:
        board = Board()
        with board.opened() as page:
            for number in range(1000):
                board.post("state", number)
            board.post("paused", False)
            assert await page.take(1.0) == {"state": "999", "paused": "false"}
            assert await page.take(0.0) == {}
        with board.opened() as late:
            assert await late.take(1.0) == {"state": "999", "paused": "false"}

    asyncio.run(run())


def test_a_picture_is_wanted_only_while_a_page_waits_for_one() -> None:
    async def run() -> None:
        board = Board()
        board.show(b"old")
        assert await board.frame(0, 0.1) == (1, b"old")
        assert not board.wants_frame
        waiting = asyncio.create_task(board.frame(1, 10.0))
        while not board.wants_frame:
            await asyncio.sleep(0)
        board.show(b"new")
        assert await waiting == (2, b"new")
        assert not board.wants_frame
        # The number is one of a server before this one.
        assert await board.frame(99, 0.1) == (2, b"new")
        board.forget()
        assert await board.frame(0, 0.01) is None

    asyncio.run(run())


def test_the_first_page_wakes_the_node_and_the_last_lets_it_rest() -> None:
    async def run() -> None:
        woken: list[int] = []
        board = Board(lambda: woken.append(1))
        with board.opened(), board.opened():
            assert board.pages == 2 and board.unwatched_s() == 0.0
        assert woken == [1]
        assert 0.0 < board.unwatched_s() < 60.0
        with board.opened():
            assert woken == [1, 1]

    asyncio.run(run())


def test_a_mailbox_outlives_its_loop() -> None:
    async def make() -> Mailbox:
        return Mailbox()

    asyncio.run(make()).put("state", "1")  # nobody is there any more, and nobody minds


# --- who may look


class Desk:
    """A board, what was pressed on it, and a client of its page."""

    def __init__(self, access: guard.Access, base: str = "http://127.0.0.1") -> None:
        self.pressed: list[tuple[str, str]] = []
        self.boards = {"": Board()}
        self.client = TestClient(
            create_app(self.boards, self.press, access), base_url=base, follow_redirects=False
        )

    def press(self, action: str, source: str) -> Future[Answer]:
        self.pressed.append((action, source))
        answered: Future[Answer] = Future()
        answered.set_result(Answer(True, "Paused."))
        return answered


@pytest.fixture
def desk() -> Iterator[Desk]:
    yield Desk(guard.access_to("127.0.0.1"))


@pytest.fixture
def far() -> Iterator[Desk]:
    yield Desk(guard.access_to("0.0.0.0", TOKEN, ["robot.lab"]), "http://192.168.0.7:8777")


def test_on_this_machine_no_token_is_asked_for(desk: Desk) -> None:
    assert desk.client.get("/").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.0.7", "[::2]:80"])
def test_other_host_names_are_refused(desk: Desk, host: str) -> None:
    assert desk.client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:8777", "127.0.0.1:1", "[::1]:8777", "LOCALHOST"])
def test_names_of_this_machine_are_known(desk: Desk, host: str) -> None:
    assert desk.client.get("/", headers={"host": host}).status_code == 200


def test_elsewhere_addresses_and_given_names_are_known(far: Desk) -> None:
    for host, known in (
        ("10.0.0.1:8777", True),
        ("robot.lab", True),
        ("[fe80::1]:8777", True),
        ("evil.example", False),
    ):
        answer = far.client.get("/", headers={"host": host, "authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code == 200) is known, host


@pytest.mark.parametrize("path", ["/", "/events", "/frame.jpg", "/do", "/nowhere"])
@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ä", "%00"])
def test_without_the_token_nothing_is_told(far: Desk, path: str, token: str) -> None:
    method = "POST" if path == "/do" else "GET"
    origin = {"origin": "http://192.168.0.7:8777"}
    for request in (
        {"params": {"token": token}} if token else {},
        {"headers": {"authorization": f"Bearer {token}".encode()}},
        {"headers": {"cookie": f"emollama_dashboard_8777={token}".encode()}},
    ):
        headers = {**origin, **request.pop("headers", {})}
        answer = far.client.request(method, path, headers=headers, **request)
        assert answer.status_code == 401
        assert TOKEN not in answer.text
    assert far.pressed == []


def test_the_link_of_the_log_opens_the_page_and_leaves_no_trace(far: Desk) -> None:
    first = far.client.get("/", params={"token": TOKEN})
    assert first.status_code == 303 and first.headers["location"] == "/"
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "emollama_dashboard_8777" in cookie
    assert far.client.get("/").status_code == 200
    assert far.client.get("/", params={"token": "wrong"}).status_code == 401


def test_tokens_are_random_and_long_enough() -> None:
    made = {guard.access_to("0.0.0.0").token for _ in range(3)}
    assert len(made) == 3 and min(map(len, made)) >= 32
    assert guard.access_to("127.0.0.5").token == guard.access_to("::1").token == ""
    assert guard.access_to("127.0.0.1", TOKEN).token == TOKEN
    for bad in ("short", "sixteen letters\n!", "ü" * 20):
        with pytest.raises(ConfigError, match="token"):
            guard.access_to("127.0.0.1", bad)


def test_buttons_are_pressed_on_the_page_only(desk: Desk) -> None:
    body = {"action": "pause"}
    for origin in ({}, {"origin": "http://evil.example"}, {"origin": "null"}):
        assert desk.client.post("/do", json=body, headers=origin).status_code == 403
    assert desk.pressed == []
    answer = desk.client.post("/do", json=body, headers={"origin": "http://127.0.0.1"})
    assert answer.json() == {"success": True, "message": "Paused."}
    assert desk.pressed == [("pause", "")]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'"pause"', b'{"action": 1}', b'{"action": "reboot"}', b"[" * 900,
     b'{"action": "pause", "source": "left"}', b'{"action": "pause", "source": []}',
     b'{"action": "pause", "x": "' + b"x" * 2000 + b'"}'],
)  # fmt: skip
def test_what_is_no_button_does_nothing(desk: Desk, body: bytes) -> None:
    headers = {"origin": "http://127.0.0.1", "content-type": "application/json"}
    assert desk.client.post("/do", content=body, headers=headers).status_code in (400, 413)
    assert (
        desk.client.post("/do", content=body, headers={**headers, "content-type": "text/plain"}).status_code
        == 415
    )
    assert desk.pressed == []


def test_a_button_that_is_not_answered_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from emollama_ros.dashboard import server

    monkeypatch.setattr(server, "ANSWER_S", 0.01)
    desk.press = lambda action, source: Future()  # type: ignore[method-assign]
    app = create_app(desk.boards, desk.press, guard.access_to("127.0.0.1"))
    client = TestClient(app, base_url="http://127.0.0.1")
    answer = client.post("/do", json={"action": "pause"}, headers={"origin": "http://127.0.0.1"})
    assert answer.status_code == 503 and "does not answer" in answer.json()["error"]


def test_no_more_pages_are_served_than_there_is_room_for(desk: Desk) -> None:
    from emollama_ros.dashboard.server import MOST_PAGES

    class Full(Board):
        pages = MOST_PAGES  # type: ignore[assignment]

    desk.boards[""] = Full()
    answer = desk.client.get("/events")
    assert answer.status_code == 503 and "close one" in answer.json()["error"]


def test_every_answer_keeps_other_sites_out(desk: Desk) -> None:
    for path in ("/", "/page/main.js", "/nowhere", "/frame.jpg?after=x"):
        headers = desk.client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/page/../server.py", "/page/%2e%2e/server.py", "/page/", "/guard.py"])
def test_nothing_but_the_page_can_be_fetched(desk: Desk, path: str) -> None:
    assert desk.client.get(path).status_code == 404


def test_the_page_loads_nothing_from_elsewhere_and_makes_no_markup_of_data() -> None:
    for file in PAGE.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text, file.name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b| style=|onclick=", text
        ), file.name


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "emollama_ros.dashboard.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match="needs uvicorn.*pip install"):
        load.web_server()


# --- looks


def luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_the_contrast_of_wcag_aa(theme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (PAGE / "dashboard.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[0 if theme == "light" else 1]))
    for ground in ("ground", "card"):
        for text in ("ink", "quiet", "good", "warn", "bad"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for shape in (*DEFAULT_LABELS, "other", "accent", "focus"):
            assert contrast(colours[shape], colours[ground]) >= 3.0, (shape, ground)
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["warn"], colours["warn-ground"]) >= 4.5


# --- what ships beside it


def test_documentation_has_every_parameter_with_its_default() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    from emollama_ros.nodes.annotator_node import AnnotatorParameters
    from emollama_ros.nodes.dashboard_watch import DashboardParameters

    text = (ROOT / "docs" / "dashboard.md").read_text()
    for table in (DashboardParameters, AnnotatorParameters):
        for name, default, legal, doc in table_rows(table):
            assert f"| `{name}` | `{default}` | {legal} | {doc} |" in text, name


def test_foxglove_layout_shows_what_there_is() -> None:
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text())
    panels = layout["configById"]

    def leaves(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            yield from leaves(part["first"])
            yield from leaves(part["second"])
        else:
            yield str(part)

    assert sorted(leaves(layout["layout"])) == sorted(panels)
    paths = [p["value"] for panel in panels.values() for p in panel.get("paths", [])]
    fields = set(
        re.findall(r"^\w+(?:\[\])? (\w+) ", (ROOT / "msg" / "EmotionState.msg").read_text(), re.MULTILINE)
    )
    assert {re.match(r"/emotion/state\.(\w+)", path)[1] for path in paths} <= fields  # type: ignore[index]
    named = [(p["value"], p["label"]) for p in panels["Plot!scores"]["paths"]]
    assert named == [(f"/emotion/state.scores[{i}]", name) for i, name in enumerate(DEFAULT_LABELS)]


def test_rviz_configuration_shows_the_annotated_picture() -> None:
    import yaml

    shown = yaml.safe_load((ROOT / "config" / "emollama.rviz").read_text())["Visualization Manager"][
        "Displays"
    ]
    enabled = [d["Topic"]["Value"] for d in shown if d["Enabled"]]
    assert enabled == ["/emotion/annotated"]


def test_an_open_page_is_compared_with_a_closed_one() -> None:
    from benchmark.dashboard import compared, figures
    from benchmark.graph import FULL_WINDOW_NS, Heard

    def turn(every_ms: int, age_ms: int) -> Heard:
        ends = [10**10 + i * every_ms * 10**6 for i in range(30)]
        short = (ends[0] - 10**9, ends[0], ends[0], ends[0], 1.0)
        whole = [(e - FULL_WINDOW_NS, e, e, e + age_ms * 10**6, 50.0) for e in ends]
        return Heard(states=[short, *whole])

    found = compared(
        {
            "closed": figures([turn(500, 100)] * 2, [{"dashboard": 0.0}, {"dashboard": 1.0}]),
            "open": figures([turn(1000, 150)], [{"dashboard": 9.0}]),
        }
    )
    assert found["closed"]["age_at_listener_ms"]["n"] == 60
    assert found["closed"]["cpu_percent_of_a_core"] == {"dashboard": 0.5}
    assert found["open_over_closed"] == {"labels_hz": 0.5, "age_at_listener_p50": 1.5}
