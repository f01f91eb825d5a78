"""The dashboard: a local web page that shows what a perception node does, in a process of its own.

While no page is open it subscribes to nothing, so it costs nothing; while one is, it is one more subscriber.
"""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import Future
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from emollama_ros.dashboard import load
from emollama_ros.dashboard.board import Board
from emollama_ros.dashboard.guard import Access, access_to, is_loopback
from emollama_ros.dashboard.views import sentence
from emollama_ros.nodes.dashboard_watch import DashboardParameters, Watch
from emollama_ros.nodes.outbox import Outbox
from emollama_ros.nodes.parameters import declare
from emollama_ros.nodes.running import main_of
from emollama_ros.nodes.watching import step_back

#: A token that stays over restarts is given here: a parameter could be read by every node.
TOKEN_VARIABLE = "EMOLLAMA_DASHBOARD_TOKEN"
TICK_S = 0.25
NOT_THERE = "The perception node is not running, or was not found yet."


class DashboardNode(Node):
    """Serves the page; follows the perception node while somebody looks."""

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters and serve.

        Raises:
            ConfigError: A parameter is not legal, the address is taken, or a package is missing.
        """
        super().__init__("dashboard", **node_options)
        self._web: Any = None
        settings = declare(self, DashboardParameters)
        server = load.web_server()
        access = access_to(
            settings.host,
            os.environ.get(TOKEN_VARIABLE, ""),
            filter(None, (name.strip() for name in settings.names.split(","))),
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._answer = server.Answer
        self._outbox = Outbox(self)
        self._watches: dict[str, Watch] = {}
        boards: dict[str, Board] = {}
        for name in settings.sources or ("",):
            boards[name] = Board(lambda name=name: self._outbox.put(lambda: self._open(name)))  # type: ignore[misc]
            self._watches[name] = Watch(self, name, boards[name], settings, lambda: steady.now().nanoseconds)
        self._enable = self.create_client(SetBool, "emotion/enable")
        self._triggers = {
            (action, name): self.create_client(Trigger, f"{name}/emotion/{action}".lstrip("/"))
            for name in boards
            for action in ("new_person", "set_neutral")
        }
        self._timer = self.create_timer(TICK_S, self._tick, clock=steady)
        self._timer.cancel()
        self._web = server.WebServer(boards, self.press, access, settings.host, settings.port)
        self._announce(settings.host, self._web.port, access)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._web.port)

    def close(self) -> None:
        """End the server."""
        if self._web is not None:
            self._web.stop()

    def press(self, action: str, source: str) -> Future[Any]:
        """Do what a button says; any thread.

        Args:
            action: One of ``server.ACTIONS``.
            source: Of which source.
        """
        pressed: Future[Any] = Future()
        self._outbox.put(lambda: self._call(action, source, pressed))
        return pressed

    def _call(self, action: str, source: str, pressed: Future[Any]) -> None:
        if action in ("pause", "resume"):
            client, request = self._enable, SetBool.Request(data=action == "resume")
        else:
            client, request = self._triggers[action, source], Trigger.Request()
        if not client.service_is_ready():
            pressed.set_result(self._answer(False, NOT_THERE))
            return

        def answered(future: Any) -> None:
            if not pressed.cancelled():
                said = future.result()
                pressed.set_result(self._answer(said.success, sentence(said.message)))

        client.call_async(request).add_done_callback(answered)

    def _open(self, source: str) -> None:
        self._watches[source].open()
        self._timer.reset()
        self._tick()

    def _tick(self) -> None:
        for watch in self._watches.values():
            watch.tick()
        if not any(watch.is_open for watch in self._watches.values()):
            self._timer.cancel()

    def _announce(self, host: str, port: int, access: Access) -> None:
        shown = f"[{host}]" if ":" in host else host
        if host in ("0.0.0.0", "::"):
            shown = socket.gethostname()
        self.get_logger().info(f"dashboard: http://{shown}:{port}/")
        if access.token:
            # Not through the ROS logger: /rosout is a topic, and the token is for who can read this log.
            sys.stderr.write(f"dashboard with its token: http://{shown}:{port}/?token={access.token}\n")
            sys.stderr.flush()
        if not is_loopback(host):
            self.get_logger().warning(
                f"the dashboard can be reached from other machines ({host}): pictures and words go over the"
                " network unencrypted, to whoever has the token"
            )


def main() -> None:
    """Run the node, at a low priority."""
    step_back()
    main_of(DashboardNode)()


if __name__ == "__main__":
    main()
