"""Start emotion perception: `ros2 launch emollama_ros perception.launch.py source:=CLIP.mp4`.

Without `source` the node listens to the topics of a camera driver and a microphone that run already.

With `autostart` the node takes itself to active, at the start and after every respawn. Launch could drive it
with ChangeState events, but not after a crash: for the 20 s until DDS gives the dead process up, launch sends
its request to that one and waits for the answer for ever (seen with launch_ros 0.26.6).
"""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile

from launch import LaunchContext, LaunchDescription

PACKAGE = "emollama_ros"
#: Fast DDS 2.x (Humble, Jazzy) reads the first name, 3.x (Kilted and later) the second.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
BOOLEAN = ["true", "false"]


def share(*path: str) -> str:
    """Return the path of an installed file of the package."""
    return os.path.join(get_package_share_directory(PACKAGE), *path)


def arguments() -> list[DeclareLaunchArgument]:
    """Declare what can be set on the command line, in the vocabulary of nav2."""
    return [
        DeclareLaunchArgument("namespace", default_value="", description="namespace of all nodes and topics"),
        DeclareLaunchArgument(
            "params_file",
            default_value=share("config", "perception.yaml"),
            description="parameters of the nodes",
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=BOOLEAN, description="take time from /clock"
        ),
        DeclareLaunchArgument(
            "autostart", default_value="true", choices=BOOLEAN, description="configure and activate the node"
        ),
        DeclareLaunchArgument(
            "use_respawn",
            default_value="false",
            choices=BOOLEAN,
            description="start a node again when it dies",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="least severity that is logged",
        ),
        DeclareLaunchArgument(
            "source",
            default_value="",
            description="media file to play; live = start the microphone (the camera driver is yours); "
            "empty = listen to topics that exist; with `sources`, a file for each, separated by commas",
        ),
        DeclareLaunchArgument(
            "sources",
            default_value="",
            description="names of several cameras or people, separated by commas, each with topics under "
            "NAME/; empty = as in params_file",
        ),
        DeclareLaunchArgument(
            "camera_topic", default_value="camera/image_raw", description="of the camera; without `sources`"
        ),
        DeclareLaunchArgument(
            "audio_topic", default_value="audio", description="of the microphone; without `sources`"
        ),
        DeclareLaunchArgument(
            "transcript_topic",
            default_value="transcript",
            description="of the speech recogniser; without `sources`",
        ),
        DeclareLaunchArgument(
            "dashboard",
            default_value="false",
            choices=BOOLEAN,
            description="serve a web page on this machine that shows what is perceived",
        ),
        DeclareLaunchArgument(
            "dashboard_host",
            default_value="127.0.0.1",
            description="address the page is served on; anything but this machine's own asks for a token",
        ),
        DeclareLaunchArgument("dashboard_port", default_value="8777", description="port of the page"),
        DeclareLaunchArgument(
            "annotated",
            default_value="false",
            choices=BOOLEAN,
            description="draw what is perceived on emotion/annotated while somebody subscribes to it",
        ),
        DeclareLaunchArgument(
            "ros4hri",
            default_value="false",
            choices=BOOLEAN,
            description="mirror what is perceived to /humans/faces/<id>/expression; needs hri_msgs",
        ),
        DeclareLaunchArgument(
            "bundle", default_value="", description="model bundle; empty = as in params_file"
        ),
        DeclareLaunchArgument(
            "engine",
            default_value="",
            choices=["", "auto", "cpu", "cuda", "tensorrt"],
            description="inference engine; empty = as in params_file",
        ),
        DeclareLaunchArgument(
            "hop_s",
            default_value="",
            description="time from one state to the next, seconds; empty = as in params_file",
        ),
        DeclareLaunchArgument(
            "reasoning",
            default_value="",
            choices=["", *BOOLEAN],
            description="explain the states in words; empty = as in params_file",
        ),
        DeclareLaunchArgument(
            "adaptation",
            default_value="",
            choices=["", "off", "person"],
            description="person = learn how the one in front of the robot differs from others; "
            "empty = as in params_file",
        ),
    ]


def transport_profile() -> list[SetEnvironmentVariable]:
    """Make room for camera frames in shared memory, unless the user has a profile of their own."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return []
    return [SetEnvironmentVariable(name, share("config", "fastdds.xml")) for name in PROFILE_VARIABLES]


def value_of(context: LaunchContext, name: str) -> str:
    """Return what an argument was given."""
    return str(LaunchConfiguration(name).perform(context)).strip()


def names_in(text: str) -> list[str]:
    """Split at commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def chosen_parameters(context: LaunchContext) -> dict[str, object]:
    """Return the parameters that arguments set; an empty argument leaves the word to the file."""
    names = ("bundle", "engine", "hop_s", "reasoning", "adaptation", "sources")
    given = {name: value_of(context, name) for name in names}
    read = {"hop_s": float, "reasoning": "true".__eq__, "sources": names_in}
    chosen: dict[str, object] = {"autostart": value_of(context, "autostart") == "true"}
    for name, text in given.items():
        if text:
            chosen[name] = read.get(name, str)(text)
    return chosen


def start_nodes(context: LaunchContext) -> list:
    """Make the nodes that the arguments ask for."""

    def value(name: str) -> str:
        return value_of(context, name)

    def parameters(**chosen: object) -> list:
        shared = {"use_sim_time": value("use_sim_time") == "true"}
        return [ParameterFile(value("params_file"), allow_substs=True), {**shared, **chosen}]

    camera, audio = ("camera/image_raw", value("camera_topic")), ("audio", value("audio_topic"))
    common = {
        "package": PACKAGE,
        "namespace": value("namespace"),
        "output": "screen",
        "ros_arguments": ["--log-level", value("log_level")],
    }
    respawn = {"respawn": value("use_respawn") == "true", "respawn_delay": 2.0}

    def perception() -> Node:
        return LifecycleNode(
            name="perception_node",
            executable="perception_node",
            parameters=parameters(**chosen_parameters(context)),
            remappings=[
                camera,
                (f"{camera[0]}/compressed", f"{camera[1]}/compressed"),
                audio,
                ("transcript", value("transcript_topic")),
            ],
            **common,
            **respawn,
        )

    def microphone() -> Node:
        return Node(
            name="microphone",
            executable="microphone_node",
            parameters=parameters(),
            remappings=[audio],
            **common,
            **respawn,
        )

    def watcher(name: str, **chosen: object) -> Node:
        names = names_in(value("sources"))
        return Node(
            name=name,
            executable=f"{name}_node",
            parameters=parameters(**chosen, **({"sources": names} if names else {})),
            remappings=[camera, (f"{camera[0]}/compressed", f"{camera[1]}/compressed"), audio],
            **common,
            **respawn,
        )

    def watchers() -> list[Node]:
        made = [watcher("annotator")] if value("annotated") == "true" else []
        if value("dashboard") == "true":
            where = {"host": value("dashboard_host"), "port": int(value("dashboard_port"))}
            made.append(watcher("dashboard", **where))
        if value("ros4hri") == "true":
            made.append(watcher("hri_mirror"))
        return made

    def player(path: str, name: str) -> Node:
        # Never respawned: a player that has ended has played its file.
        return Node(
            name="media_player",
            executable="media_player_node",
            parameters=parameters(path=os.path.abspath(os.path.expanduser(path))),
            remappings=[] if name else [camera, audio],
            **{**common, "namespace": f"{value('namespace')}/{name}" if name else value("namespace")},
        )

    names, source = names_in(value("sources")), value("source")
    if source == "live" and not names:
        return [perception(), microphone(), *watchers()]
    files = names_in(source) if names else [source] * bool(source)
    if files and len(files) != max(1, len(names)):
        raise ValueError(
            f"source: {len(files)} file(s) for the sources {', '.join(names)}; name one for each"
        )
    players = [player(path, name) for path, name in zip(files, names or [""], strict=False)]
    return [perception(), *players, *watchers()]


def generate_launch_description() -> LaunchDescription:
    """Return what `ros2 launch` runs."""
    return LaunchDescription(
        [
            SetEnvironmentVariable("RCUTILS_LOGGING_BUFFERED_STREAM", "1"),
            *transport_profile(),
            *arguments(),
            OpaqueFunction(function=start_nodes),
        ]
    )
