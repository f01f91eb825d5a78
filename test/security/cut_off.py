"""A graph in a network namespace that has nothing but loopback; prints, as JSON, what it tried to reach.

Run as `unshare --net python cut_off.py CLIP`. With no route to anywhere the kernel counts every attempt to
leave (OutNoRoutes), from whichever library it comes: a connection, a datagram, a look-up of a name.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

_SIOCSIFFLAGS, _UP_AND_RUNNING = 0x8914, 0x41
_LISTENS = "0A"
#: Loading the default bundle on a machine that others use too.
DEADLINE_S = 100.0


def raise_loopback():
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _UP_AND_RUNNING))


def attempts():
    """How often something wanted to leave this machine since the namespace was made."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines()[:2])
    count = int(values[names.index("OutNoRoutes")])
    later = (line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return count + sum(int(value) for name, value in later if name == "Ip6OutNoRoutes")


def sockets(kind):
    """Local port, remote address and state of every socket of a kind; all are of processes started here."""
    rows = []
    for name in (kind, f"{kind}6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            rows.append((int(local.rpartition(":")[2], 16), remote.rpartition(":")[0], state))
    return rows


def provoke():
    """Whether an attempt to leave is noticed at all."""
    before = attempts()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger, suppress(OSError):
        stranger.sendto(b"hello", ("192.0.2.1", 9))  # an address for documents; and there is no route
    return attempts() > before


def play(clip):
    """Run player, perception and a behaviour until a label and a reasoning have come; what was tried."""
    import rclpy

    from emollama_ros.msg import EmotionReasoning, EmotionState
    from emollama_ros.nodes import qos

    def start(module, *words):
        return subprocess.Popen([sys.executable, "-m", module, "--ros-args", *words])

    started = {
        "perception": start(
            "emollama_ros.nodes.perception_node", "-p", "autostart:=true", "-p", "hop_s:=1.0"
        ),
        "player": start("emollama_ros.nodes.media_player_node", "-p", f"path:={clip}", "-p", "loop:=true"),
        "greeter": start("emollama_ros.behaviours.greeter"),
    }
    rclpy.init()
    node = rclpy.create_node("observer")
    states, reasonings = [], []
    node.create_subscription(EmotionState, "emotion/state", states.append, qos.STATES_HEARD)
    node.create_subscription(EmotionReasoning, "emotion/reasoning", reasonings.append, qos.REASONING)
    until = monotonic() + DEADLINE_S
    try:
        while not (any(s.modalities for s in states) and any(r.final for r in reasonings)):
            if monotonic() > until or any(p.poll() is not None for p in started.values()):
                break
            rclpy.spin_once(node, timeout_sec=0.2)
        return {
            "perceived": sum(bool(s.modalities) for s in states),
            "explained": sum(r.final for r in reasonings),
            "ended": [name for name, process in started.items() if process.poll() is not None],
            "attempts": attempts(),
            "tcp": sockets("tcp"),
            "udp": sockets("udp"),
        }
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            process.wait(20)


if __name__ == "__main__":
    raise_loopback()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    found = play(sys.argv[1])
    print(json.dumps({**found, "noticed": provoke()}))
