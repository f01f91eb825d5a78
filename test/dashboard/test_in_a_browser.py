"""The dashboard in a real browser, over real DDS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
PERCEPTION = (str(ROOT / "test" / "nodes" / "fake_model.py"), "--ros-args", "-p", "autostart:=true")
#: Nothing in these tests takes this long; only a failure does.
DEADLINE_S = 120
TOKEN, OTHER_TOKEN = "a-token-that-nobody-guesses", "another-one-that-nobody-guesses"


def until(browser: Any, condition: Callable[[], Any], what: str) -> Any:
    from selenium.common.exceptions import (
        JavascriptException,
        StaleElementReferenceException,
        TimeoutException,
    )
    from selenium.webdriver.support.ui import WebDriverWait

    # A page that is replaced by another while it is looked at is looked at again.
    replaced = (StaleElementReferenceException, JavascriptException)
    try:
        wait = WebDriverWait(browser, DEADLINE_S, 0.1, ignored_exceptions=replaced)
        return wait.until(lambda _: condition())
    except TimeoutException:
        shown = browser.find_element("tag name", "body").text
        raise AssertionError(f"waited {DEADLINE_S} s for: {what}; the page says:\n{shown}") from None


def text(browser: Any, name: str) -> str:
    found: str = browser.execute_script(f"return document.getElementById('{name}')?.textContent")
    return found


def shows(browser: Any, name: str, words: str) -> None:
    until(browser, lambda: words in (text(browser, name) or ""), f"{words!r} in #{name}")


def classes(browser: Any, selector: str) -> list[str]:
    return [e.get_attribute("class") for e in browser.find_elements("css selector", selector)]


def press(browser: Any, name: str) -> None:
    """Press a button as soon as it can be."""
    until(browser, lambda: browser.find_element("id", name).is_enabled(), f"#{name} can be pressed")
    browser.find_element("id", name).click()


def brightness(browser: Any) -> int:
    """Of the middle of the picture that is shown; -1 where none is."""
    script = """
        const canvas = document.getElementById("picture");
        if (document.getElementById("screen").dataset.picture !== "live") return -1;
        return canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];"""
    found: int = browser.execute_script(script)
    return found


@pytest.fixture
def open_page(browser: Any, dashboard: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Start the dashboard and open its page; the browser is made usual again afterwards."""

    def opened(**parameters: Any) -> Any:
        started = dashboard(**parameters)
        browser.get(started.said("dashboard: "))
        return started

    yield opened
    browser.get("about:blank")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_page_shows_what_is_perceived_and_its_buttons_work(
    browser: Any, spinner: Any, dashboard: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    from prepared import Camera, FakePerception, told
    from selenium.webdriver.common.keys import Keys

    camera, node = Camera(spinner), FakePerception(spinner)
    started = dashboard()
    assert camera.watchers == node.states.get_subscription_count() == 0  # nobody looks, nothing is done
    browser.get(started.said("dashboard: "))

    shows(browser, "title", "Happy")
    shows(browser, "line", "62% sure")
    shows(browser, "connection-word", "Perceiving")
    until(browser, lambda: abs(brightness(browser) - 200) < 6, "the camera's picture")
    until(browser, lambda: classes(browser, "#used li") == ["on", "on", ""], "face and voice are used")
    until(browser, lambda: classes(browser, "#scores li")[1] == "told-now", "the label stands out")
    until(
        browser, lambda: browser.find_elements("css selector", "#scores .value")[1].text == "62%", "its score"
    )
    shows(browser, "sound-word", "loud")
    shows(browser, "latency", "87 ms")
    shows(browser, "rate", "2.00")
    shows(browser, "affect-words", "Very pleasant, excited")
    shows(browser, "entries", "<i>markup</i>")
    assert "battery" not in text(browser, "entries")
    until(
        browser, lambda: "happy" in browser.find_element("id", "minute").get_attribute("aria-label"), "chart"
    )

    # The reasoning grows, and what it says is text whatever it looks like.
    node.explain("The corners of the <b>mouth</b>", final=False)
    shows(browser, "why-text", "The corners of the <b>mouth</b>")
    shows(browser, "why-about", "being written")
    node.explain("The corners of the mouth are drawn up.", final=True)
    shows(browser, "why-text", "The corners of the mouth are drawn up.")
    until(browser, lambda: "written" not in text(browser, "why-about"), "the reasoning is finished")

    # What is uncertain, and what is wrong, in plain words.
    node.state = told("uncertain", 0.2, status=1, status_text="/audio: silent for 2.0 s")
    shows(browser, "title", "Not sure")
    shows(browser, "line", "No feeling stands out. The likeliest is")
    shows(browser, "trouble", "/audio: silent for 2.0 s.")
    node.state = told("unknown", status=2, modalities=0, status_text="no input: nothing has a publisher")
    shows(browser, "title", "Nothing to tell")
    shows(browser, "line", "No input: nothing has a publisher.")
    node.state = told("sad", 0.7)
    shows(browser, "title", "Sad")

    # By keyboard alone: the first stop leads to the controls, the next is the button.
    until(browser, lambda: browser.find_element("id", "new_person").is_enabled(), "buttons can be pressed")
    for key in (Keys.TAB, Keys.ENTER, Keys.TAB):
        browser.switch_to.active_element.send_keys(key)
    assert browser.switch_to.active_element.get_attribute("id") == "pause"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    shows(browser, "answer", "New_person was <b>called</b>.")
    press(browser, "set_neutral")
    until(
        browser, lambda: "refused" in browser.find_element("id", "answer").get_attribute("class"), "a refusal"
    )
    assert [name for name, _ in node.called] == ["new_person", "set_neutral"]

    # On a phone nothing is wider than the screen; without motion nothing moves.
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in (360, 800):
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        until(browser, lambda: browser.execute_script(wide) == 0, f"{width} pixels are enough")
    calm = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", calm)
    node.explain("And", final=False, sequence=1)
    shows(browser, "why-about", "being written")
    assert browser.execute_script("return document.getAnimations().length") == 0

    # Nobody looks any more.
    browser.get("about:blank")
    until(browser, lambda: camera.watchers == node.states.get_subscription_count() == 0, "nobody looks")
    assert started.end() == 0


def test_pause_stops_perception_and_a_perception_node_that_comes_back_is_found(
    browser: Any, spinner: Any, program: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    from prepared import Camera

    camera = Camera(spinner)
    perception = program(*PERCEPTION)
    open_page()
    shows(
        browser, "title", "Happy"
    )  # what the real node makes of bright pictures with its stand-in for a model
    until(browser, lambda: brightness(browser) > 100, "a picture")
    shows(browser, "why-text", "Looks happy because of the picture")

    press(browser, "pause")
    shows(browser, "title", "Paused")
    until(browser, lambda: camera.watchers == 0, "neither the robot nor the page looks or listens")
    until(browser, lambda: brightness(browser) == -1, "no picture")
    assert "Looks happy" not in text(browser, "why-text")
    shows(browser, "pause", "Resume")
    assert not browser.find_element("id", "new_person").is_enabled()

    press(browser, "pause")
    shows(browser, "title", "Happy")
    until(browser, lambda: brightness(browser) > 100, "a picture again")

    perception.kill()
    shows(browser, "title", "Not running")
    until(browser, lambda: not browser.find_element("id", "pause").is_enabled(), "nobody to be paused")
    program(*PERCEPTION)
    shows(browser, "title", "Happy")
    shows(browser, "connection-word", "Perceiving")


def test_the_token_is_asked_for_and_a_dashboard_that_comes_back_is_found(
    browser: Any, spinner: Any, dashboard: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    from prepared import FakePerception

    FakePerception(spinner)
    started = dashboard(token=TOKEN)
    address = started.said("dashboard: ")
    port = int(address.rstrip("/").rpartition(":")[2])
    browser.get(f"{address}?token=wrong")
    assert "That is not the token" in browser.find_element("tag name", "h1").text
    assert not browser.find_elements("id", "title")
    browser.find_element("id", "token").send_keys(TOKEN)
    browser.find_element("css selector", "button").click()
    shows(browser, "title", "Happy")
    assert browser.current_url == address

    # Its links are in the log, once, and nowhere else.
    assert sum(TOKEN in line for line in started.lines) == 1
    assert started.end() == 0
    shows(browser, "title", "Reconnecting")
    again = dashboard(port=port, token=TOKEN)
    shows(browser, "title", "Happy")

    assert again.end() == 0
    dashboard(port=port, token=OTHER_TOKEN)
    until(browser, lambda: "asks for its token" in browser.find_element("tag name", "body").text, "the door")
    browser.get_log("browser")  # a server that was away leaves errors there, as it should


def test_what_cannot_be_served_is_said_in_one_line(
    program: Callable[..., Any], dashboard: Callable[..., Any]
) -> None:
    port = dashboard().said("dashboard: ").rstrip("/").rpartition(":")[2]
    module = ("-m", "emollama_ros.nodes.dashboard_node", "--ros-args", "-p")
    second = program(*module, f"port:={port}")
    assert second.process.wait(DEADLINE_S) == 1
    assert "set its parameters host and port" in second.said("cannot listen on 127.0.0.1")
    assert not any("Traceback" in line for line in second.lines)


def test_the_annotated_picture_is_drawn_only_for_somebody(spinner: Any) -> None:
    from prepared import Camera, FakePerception, told
    from sensor_msgs.msg import Image

    from emollama_ros.dashboard.drawing import COLOURS
    from emollama_ros.nodes import qos
    from emollama_ros.nodes.annotator_node import AnnotatorNode
    from emollama_ros.nodes.image_input import image_pixels

    def wait(condition: Callable[[], Any], what: str) -> None:
        deadline = monotonic() + DEADLINE_S
        while not spinner.do(condition):
            assert monotonic() < deadline, what

    camera, node = Camera(spinner), FakePerception(spinner)
    spinner.add(AnnotatorNode(context=spinner.context))
    plain: list[Image] = []
    camera.create_subscription(Image, "camera/image_raw", plain.append, qos.IMAGE_OUT)
    wait(lambda: len(plain) > 3 and camera.watchers == 1, "nobody looks but this test")

    drawn: list[Image] = []
    look = spinner.do(
        lambda: camera.create_subscription(Image, "emotion/annotated", drawn.append, qos.IMAGE_OUT)
    )

    def has(colour: str) -> bool:
        return bool(drawn) and bool((image_pixels(drawn[-1]) == COLOURS[colour]).all(axis=2).any())

    wait(lambda: has("happy"), "the label is drawn")
    node.state = told("sad", 0.9)
    wait(lambda: has("sad") and not has("happy"), "the next label is drawn")
    assert drawn[-1].header.frame_id == "eye" and drawn[-1].encoding == "rgb8"
    wait(lambda: drawn[-1].header.stamp in [m.header.stamp for m in plain], "the stamp is that of a picture")
    spinner.do(lambda: camera.destroy_subscription(look))
    wait(lambda: camera.watchers == 1, "nobody looks but this test, again")


def test_each_of_several_sources_has_its_own_view(spinner: Any) -> None:
    import json
    from http.client import HTTPConnection

    from prepared import FakePerception, told
    from rclpy.parameter import Parameter

    from emollama_ros.nodes.dashboard_node import DashboardNode

    left, right = FakePerception(spinner, "left/"), FakePerception(spinner, "right/")
    right.state = told("sad", 0.9)
    given = [Parameter("port", value=0), Parameter("sources", value=["left", "right"])]
    node = spinner.add(DashboardNode(context=spinner.context, parameter_overrides=given))
    try:

        def ask(method: str, path: str, body: Any = None) -> Any:
            connection = HTTPConnection("127.0.0.1", node.port, timeout=DEADLINE_S)
            headers = {"Origin": f"http://127.0.0.1:{node.port}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            return connection.getresponse()

        def first(source: str, kind: str) -> Any:
            lines = iter(ask("GET", f"/events?source={source}").readline, b"")
            wanted = f"event: {kind}\n".encode()
            return next(json.loads(next(lines).partition(b": ")[2]) for line in lines if line == wanted)

        assert first("left", "hello")["sources"] == ["left", "right"]
        assert first("left", "state")["label"] == "happy"
        assert first("right", "state")["label"] == "sad"
        assert ask("GET", "/events?source=above").status == 404
        assert left.states.get_subscription_count() == 1
        answer = json.loads(ask("POST", "/do", {"action": "new_person", "source": "right"}).read())
        assert answer["success"] and right.called and not left.called
    finally:
        node.close()
