"""Make the pictures of docs/dashboard.md: the sample clip, the real nodes, a real browser.

    scripts/with_env python scripts/dashboard_pictures.py [--out docs/images]

Needs Chromium with its driver, and selenium; takes about two minutes. No picture shows anything but the
sample clip, which the project generated.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from emollama_ros.nodes.children import Children
from emollama_ros.nodes.demo import sample_clip
from emollama_ros.nodes.transport import with_profile

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 240
#: How much of the last minute the chart has to show, seconds.
SHOWN_S = 40
STARTED = "dashboard: "


def browse() -> Any:
    """Start a headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ):
        options.add_argument(switch)
    return webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    )


def until(browser: Any, condition: Callable[[], Any]) -> None:
    """Wait for something to be on the page."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, PATIENCE_S, 0.1).until(lambda _: condition())


def text(browser: Any, name: str) -> str:
    """What an element of the page says."""
    return str(browser.execute_script(f"return document.getElementById('{name}').textContent"))


def shown_s(browser: Any) -> float:
    """How many seconds of the last minute the page knows about."""
    words = browser.find_element("id", "minute").get_attribute("aria-label")
    return sum(
        float(part.split()[-2])
        for part in words.rstrip(".").partition("Told: ")[2].split(", ")
        if " s" in part
    )


def set_up(browser: Any, width: int, height: int, theme: str) -> None:
    """Have a screen of a size and a theme."""
    theme_of = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme_of})
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def save(browser: Any, path: Path) -> None:
    """Save what the screen shows, as a small PNG."""
    data = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])
    write(Image.open(io.BytesIO(data)).convert("RGB"), path)


def write(picture: Image.Image, path: Path) -> None:
    """Write a small PNG."""
    picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size // 1024} KiB")


def take(browser: Any, address: str, out: Path) -> None:
    """Take all pictures."""
    set_up(browser, 1280, 1050, "light")
    browser.get(address)

    def explains(label: str) -> bool:
        told = text(browser, "title") == label and text(browser, "connection-word") == "Perceiving"
        return (
            told
            and f"“{label.lower()}”" in text(browser, "why-about")
            and "written" not in text(browser, "why-about")
        )

    until(browser, lambda: shown_s(browser) >= SHOWN_S and explains("Happy"))
    save(browser, out / "dashboard-light.png")
    set_up(browser, 1280, 1050, "dark")
    until(browser, lambda: explains("Angry"))
    save(browser, out / "dashboard-dark.png")
    set_up(browser, 390, 844, "light")
    until(browser, lambda: explains("Surprised") or explains("Sad"))
    save(browser, out / "dashboard-phone.png")
    set_up(browser, 1280, 605, "light")
    browser.find_element("id", "pause").click()
    until(browser, lambda: text(browser, "title") == "Paused" and not text(browser, "answer"))
    until(browser, lambda: not browser.execute_script("return document.getAnimations().length"))
    save(browser, out / "dashboard-paused.png")


def annotated(out: Path) -> None:
    """Take a picture of ``emotion/annotated`` while its reasoning is about the present label."""
    import rclpy
    from sensor_msgs.msg import Image as Message

    from emollama_ros.msg import EmotionReasoning, EmotionState
    from emollama_ros.nodes import qos
    from emollama_ros.nodes.image_input import image_pixels

    rclpy.init(args=[])
    node = rclpy.create_node("photographer")
    heard: dict[str, Any] = {}
    for kind, topic, profile in (
        (EmotionState, "emotion/state", qos.STATE),
        (EmotionReasoning, "emotion/reasoning", qos.REASONING),
        (Message, "emotion/annotated", qos.IMAGE_OUT),
    ):
        node.create_subscription(kind, topic, lambda m, topic=topic: heard.update({topic: m}), profile)
    while True:
        rclpy.spin_once(node)
        state, why = heard.get("emotion/state"), heard.get("emotion/reasoning")
        if state and why and why.final and state.label == why.label == "happy":
            break
    heard.pop("emotion/annotated", None)
    while "emotion/annotated" not in heard:
        rclpy.spin_once(node)
    write(Image.fromarray(image_pixels(heard["emotion/annotated"])), out / "annotated.png")
    node.destroy_node()
    rclpy.shutdown()


def main() -> None:
    """Run the nodes and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder")
    out = parser.parse_args().out
    os.environ.update(with_profile())
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    with Children(os.environ) as children:
        children.node("perception_node", {"autostart": "true"})
        dashboard = children.node("dashboard_node", {"port": "0"})
        children.node("media_player_node", {"path": json.dumps(str(sample_clip())), "loop": "true"})
        children.node("annotator_node", {})
        annotated(out)
        browser = browse()
        try:
            until(browser, lambda: dashboard.line_with(STARTED))
            line = dashboard.line_with(STARTED)
            assert line is not None
            take(browser, line.partition(STARTED)[2].strip(), out)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
