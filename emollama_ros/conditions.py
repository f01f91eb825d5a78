"""Everything that can be wrong, or merely worth saying, in one place: words, meaning, and what to do.

The code that finds something says it with ``Condition.say``, so that states, diagnostics and logs use one
wording, and the tables of docs/operations.md are made of what the code says
(``scripts/operations_tables.py --write``). ``recognise`` goes back from a text to its conditions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from string import Formatter
from typing import Any

from emollama_ros.estimate import Status


class Level(IntEnum):
    """Levels of a diagnostic. The values are those of ``diagnostic_msgs/DiagnosticStatus``."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True)
class Condition:
    """One thing that can be said about a running node.

    Attributes:
        name: Stable identifier, ``room.thing``.
        status: Status of the states that say it; ``OK``: it is said on /diagnostics only.
        level: Level of the diagnostic that says it.
        words: What is said, with ``{fields}`` as of ``str.format``.
        meaning: What it means, one sentence.
        advice: What to do.
    """

    name: str
    status: Status
    level: Level
    words: str
    meaning: str
    advice: str

    def say(self, **facts: Any) -> Finding:
        """Fill in the facts.

        Raises:
            KeyError: A fact that the words name is not given.
        """
        return Finding(self, self.words.format(**facts))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What its texts look like."""
        parts = []
        for literal, fact, _, _ in Formatter().parse(self.words):
            parts.append(re.escape(literal) + ("" if fact is None else "(?s:.+?)"))
        return re.compile("".join(parts))


@dataclass(frozen=True)
class Finding:
    """A condition that was met, in words."""

    condition: Condition
    text: str

    def __str__(self) -> str:
        """Return the words."""
        return self.text


def worst(findings: Iterable[Finding]) -> Level:
    """Return the gravest level of some findings; ``OK`` of none."""
    return max((finding.condition.level for finding in findings), default=Level.OK)


def recognise(text: str) -> tuple[Condition, ...]:
    """Return the conditions that a ``status_text`` or a diagnostic's message speaks of."""
    return tuple(condition for condition in all_conditions() if condition.pattern.search(text))


def all_conditions() -> tuple[Condition, ...]:
    """Return the catalogue, in the order of this file."""
    return tuple(value for value in globals().values() if isinstance(value, Condition))


#: What to tell a user whose camera frames are lost on the way.
TRANSPORT_HINT = (
    "set FASTRTPS_DEFAULT_PROFILES_FILE to the package's config/fastdds.xml for the camera driver and this"
    " node (a frame exceeds the shared memory that Fast DDS takes by default), or set image_transport to"
    " compressed"
)

# --- one input ---------------------------------------------------------------------------------------

SILENT = Condition(
    "input.silent",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: silent for {seconds:.1f} s",
    "The topic delivered and stopped: for `timeout_s`, or for three of its own usual intervals if that is"
    " longer. Labels go on from the other inputs.",
    "Look whether the driver still runs and publishes: `ros2 topic hz`, `ros2 node list`, its log, the cable."
    " Nothing has to be done here: the first message that comes again is used.",
)
REFUSED = Condition(
    "input.refused",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: refused, {reason}",
    "Messages arrive that cannot be used; the reason names the field, its value and what is legal.",
    "Correct the driver or its parameters as the reason says. The same reason is logged once.",
)
LOST = Condition(
    "input.lost",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: messages are lost on the way ({count} so far); " + TRANSPORT_HINT,
    "The middleware, or gaps in the messages' own numbers, say that messages were sent and did not arrive.",
    "Use the profile, for the camera driver too, and restart both. On a busy machine: fewer frames, or"
    " smaller ones. Sound is asked for reliable by default: check `audio_reliability`.",
)
LOST_SOUND = Condition(
    "input.lost_sound",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: chunks of sound are lost on the way ({count} so far); ask for reliable delivery, or load the"
    " machine less",
    "Gaps in the chunks' own numbers, or the middleware, say that sound was sent and did not arrive. What is"
    " missing is marked, and masked beyond half a window.",
    "`audio_reliability: reliable` (the default) and a driver that offers it. If it does: the node got too"
    " little of the processor for seconds (`taskset`, `nice`), or the network is full.",
)
GAPS = Condition(
    "input.gaps",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: sound is missing between messages ({count} gap(s) so far, {seconds:.1f} s)",
    "The stamps of two chunks are farther apart than the samples of the first last: the driver left something"
    " out, overran, or sends only while somebody speaks.",
    "Look at the driver's log for overruns; give it larger buffers. Send sound all the time: silence is"
    " information too.",
)
WRONG_RATE = Condition(
    "input.wrong_rate",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: {sound:.2f} s of sound per second of its stamps: its sample rate is stated wrong, or samples"
    " are lost",
    "Samples counted at the stated rate do not fill the time between the stamps, so that pitch and pace of"
    " the voice are measured wrong.",
    "Check rate and channels of the driver: `ros2 topic echo --once --field sample_rate /audio`; for messages"
    " that do not say them, `audio_rate` and `audio_channels`.",
)
FOREIGN_TYPE = Condition(
    "input.foreign_type",
    Status.DEGRADED,
    Level.WARN,
    "{topic} is published as {offered} by {nodes}, and heard as {heard} here: {fix}",
    "Publisher and node use different message types, which DDS never connects: the type asked for is another"
    " one, or the publisher's messages are not installed on this machine, or no adapter reads them.",
    "As the text says: install the messages, change `audio_type`, `transcript_type` or `image_transport`, or"
    " remap the topic. The node looks again every second and needs no restart.",
)
NOT_INSTALLED = Condition(
    "input.not_installed",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: {asked} was asked for, but cannot be used here ({reason}): {fix}",
    "`audio_type` or `transcript_type` names messages that cannot be imported on this machine.",
    "Install them and source their workspace, or set the parameter to `auto`.",
)
SEVERAL_TYPES = Condition(
    "input.several_types",
    Status.DEGRADED,
    Level.WARN,
    "{topic} is published as {offered} by {nodes}, only {heard} is heard: {fix}",
    "Several publishers share a topic and do not agree about its type.",
    "Remap the publishers that are not meant, or choose with `audio_type` or `transcript_type`.",
)
NOT_SUBSCRIBED = Condition(
    "input.not_subscribed",
    Status.DEGRADED,
    Level.WARN,
    "{topic} cannot be subscribed to as {heard}: {error}",
    "The middleware refuses: usually a node of the same process uses the topic for another type.",
    "Remap one of the two. It is tried again every second.",
)
NO_PUBLISHER = Condition(
    "input.no_publisher",
    Status.STALE,
    Level.STALE,
    "{topic} has no publisher",
    "Nobody publishes the topic.",
    "Start the driver; compare the name with `ros2 topic list`, remap with `camera_topic:=`, `audio_topic:=`;"
    " check ROS_DOMAIN_ID on both machines.",
)
BEST_EFFORT = Condition(
    "input.best_effort",
    Status.STALE,
    Level.STALE,
    "{topic} is published best effort, reliable was asked for; set its reliability",
    "The publisher offers less than the subscription asks, so DDS connects them not at all.",
    "Set `image_reliability` or `audio_reliability` to `best_effort`, or the driver to reliable.",
)
LOSES_ALL = Condition(
    "input.loses_all",
    Status.STALE,
    Level.STALE,
    "{topic} loses its messages on the way; " + TRANSPORT_HINT,
    "Messages are sent, and none arrives.",
    "As for lost messages.",
)
QUIET = Condition(
    "input.quiet",
    Status.STALE,
    Level.STALE,
    "{topic} has {count} publisher(s) but sends nothing",
    "A publisher is there and silent: a driver that hangs, a device that is gone, or a network that swallows"
    " large messages.",
    "Look at the driver's log; `ros2 topic hz`; restart it. Across machines: the same middleware and"
    " profile.",
)

STAMPS_STAND = Condition(
    "input.stamps_stand",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: stamps have not advanced for {seconds:.1f} s though messages arrive",
    "The driver sends the same stamp again and again: a frozen camera whose last picture is repeated, or a"
    " driver that does not set the time of capture. No window is ever complete.",
    "Restart the driver; look at `ros2 topic echo --field header.stamp`.",
)
STAMPS_LEAP = Condition(
    "input.stamps_leap",
    Status.DEGRADED,
    Level.WARN,
    "{topic}: stamps leap back and forth ({count} times so far)",
    "Stamps leap by more than a second in both directions; at each leap everything buffered is forgotten."
    " Two publishers with different clocks share the topic, or a clock is being set.",
    "One publisher a topic: `ros2 topic info --verbose`. Synchronise the clocks (chrony). A recording that"
    " loops leaps only back, and is not reported.",
)
STAMPS_APART = Condition(
    "input.stamps_apart",
    Status.DEGRADED,
    Level.WARN,
    "stamps of {ahead} are {seconds:.1f} s ahead of those of {behind}: no window has both",
    "Camera and microphone are stamped by different clocks, or one is delivered much later. Windows follow"
    " the one ahead, and the other is masked.",
    "Synchronise the machines (chrony), use one clock for both drivers, or set `audio_latency_ms` if sound is"
    " stamped too late. Simulated time: `use_sim_time` for both drivers.",
)

# --- one input, said on /diagnostics alone -----------------------------------------------------------

CLOCK_STANDS = Condition(
    "clock.stands",
    Status.OK,
    Level.WARN,
    "this node's clock stands at 0: use_sim_time is true and nothing publishes /clock",
    "Simulated time was asked for and there is none. Perception goes by the stamps of the sensors and works;"
    " words of `transcript` are stamped with 0.",
    "Start the simulation, or `ros2 bag play --clock`; or `use_sim_time: false`.",
)
STAMPS_AHEAD = Condition(
    "input.stamps_ahead",
    Status.OK,
    Level.WARN,
    "{topic}: stamps are {seconds:.1f} s ahead of this node's clock",
    "The sensor says it saw the future: its machine's clock, or this one, is wrong. States carry its stamps,"
    " so what joins them by time (tf, bags) will fail.",
    "Synchronise the machines (chrony, or PTP in the camera); use simulated time everywhere or nowhere.",
)
STAMPS_BEHIND = Condition(
    "input.stamps_behind",
    Status.OK,
    Level.WARN,
    "{topic}: stamps are {seconds:.0f} s behind this node's clock",
    "A recording that is played without /clock, or a driver that stamps with time since boot.",
    "`ros2 bag play --clock` and `use_sim_time:=true`; or correct the driver.",
)
NOT_REAL_TIME = Condition(
    "input.not_real_time",
    Status.OK,
    Level.WARN,
    "{topic}: stamps advance {speed:.1f} times as fast as the time of this machine",
    "A recording is played fast or slow. At 2 the model has half the time for each window, and leaves windows"
    " out if it needs more.",
    "Nothing, if it is meant to be so; otherwise play at rate 1, or raise `hop_s`.",
)
UNUSUAL_RATE = Condition(
    "input.unusual_rate",
    Status.OK,
    Level.WARN,
    "{topic}: {rate:.1f} messages per second, usually {usual:.1f}",
    "The topic is much faster or slower than in the last minute: a second publisher, a camera that exposes"
    " longer in the dark, a link that is full.",
    "`ros2 topic info --verbose`; look at the driver and the load of its machine. The new rate is the"
    " usual one after half a minute.",
)
DUPLICATES = Condition(
    "input.duplicates",
    Status.OK,
    Level.WARN,
    "{topic}: messages come twice ({count} so far)",
    "Messages with the stamp of the one before: two bridges or players on one topic. The copies are dropped.",
    "`ros2 topic info --verbose`; stop one of them, for each costs transport.",
)
DRIFT = Condition(
    "clock.drift",
    Status.OK,
    Level.WARN,
    "microphone and camera do not run together: {drift}",
    "The clocks of camera and microphone run apart by more than crystals do (200 ppm). Beyond 1 s windows"
    " lose one of them.",
    "Stamp both by one clock; synchronise (chrony, PTP). A recording whose sound was resampled does so too.",
)

# --- all inputs --------------------------------------------------------------------------------------

NO_INPUT = Condition(
    "perception.no_input",
    Status.STALE,
    Level.STALE,
    "no input: {reasons}",
    "Neither camera nor microphone delivers anything; label `unknown`, confidence 0.",
    "As for each of the reasons.",
)
NO_USABLE_INPUT = Condition(
    "perception.no_usable_input",
    Status.DEGRADED,
    Level.WARN,
    "no usable input: {reasons}",
    "Messages arrive, but every one of them is refused; label `unknown`, confidence 0.",
    "As for each of the reasons.",
)
SLOW_INPUT = Condition(
    "perception.slow_input",
    Status.STALE,
    Level.STALE,
    "waiting for {topic}, which sends every {seconds:.1f} s",
    "The only input that flows is slower than a state a second; between its messages there is nothing new to"
    " say.",
    "Nothing, if it is meant to be so. Otherwise raise the rate of the driver.",
)
FILLING = Condition(
    "perception.filling",
    Status.STALE,
    Level.OK,
    "input has just begun, the first window is filling",
    "Input flows (again) since less than the second that a first window needs.",
    "Nothing.",
)
MODEL_STUCK = Condition(
    "perception.model_stuck",
    Status.DEGRADED,
    Level.WARN,
    "model is too slow, or stuck: a window has taken {seconds:.1f} s",
    "The engine was given a window and does not come back: a machine that is overloaded, a GPU that hangs.",
    "It is ended by `watchdog_s`, and started again by launch with `use_respawn:=true` or by systemd with"
    " `Restart=on-failure`. On a healthy machine: raise `hop_s`, lower `window_s` or `threads`.",
)
MODEL_FAILS = Condition(
    "perception.model_fails",
    Status.DEGRADED,
    Level.ERROR,
    "input arrives but windows fail: {error}",
    "The engine raises an error with every window; the log has the traceback, once.",
    "Do what the error says; `emollama doctor`, `emollama bundle verify`; another `engine`. Labels come again"
    " with the first window that does not fail.",
)
SLOW_MODEL = Condition(
    "perception.slow_model",
    Status.DEGRADED,
    Level.WARN,
    "input arrives but no estimate for {seconds:.1f} s: the model is too slow, or stuck",
    "Windows are complete and the model does not get done with them.",
    "Raise `hop_s`; lower `window_s`; `reasoning: false`; look at stage times and `busy` on /diagnostics. A"
    " model that is stuck is ended by `watchdog_s`, and started again where launch has `use_respawn:=true`.",
)

# --- one window --------------------------------------------------------------------------------------

FEW_SAMPLES = Condition(
    "window.few_samples",
    Status.DEGRADED,
    Level.WARN,
    "only {share:.0%} of the audio arrived",
    "Less than half of the window's sound is there, so it is not used.",
    "As for lost messages; `audio samples lost` on /diagnostics counts them. Right after sound has begun it"
    " goes away by itself.",
)
SHORT_AUDIO = Condition(
    "window.short_audio",
    Status.DEGRADED,
    Level.WARN,
    "only {heard:.1f} s of audio in a window of {window:.1f} s",
    "Too little sound to judge a voice by.",
    "Raise `window_s`.",
)
BAD_SAMPLES = Condition(
    "window.bad_samples",
    Status.DEGRADED,
    Level.WARN,
    "{share:.1%} of the audio is no number (NaN or infinite)",
    "Samples arrive that no microphone gives; they count as missing. Sound is used as long as half of the"
    " window's samples are good.",
    "Look for a division by zero in what processes the sound: echo or noise suppression, gain control.",
)
CLIPPED_AUDIO = Condition(
    "window.clipped_audio",
    Status.DEGRADED,
    Level.WARN,
    "microphone is clipping ({share:.1%} of the samples at full scale)",
    "The voice is louder than the microphone's gain allows, and is flattened. It is used all the same; loud"
    " and sharp are measured wrongly.",
    "Lower the gain (`alsamixer`), or move the microphone away.",
)
INSTRUCTION = Condition(
    "window.instruction",
    Status.DEGRADED,
    Level.WARN,
    "what was said asks a machine {ask}; its words are not counted",
    "The transcript of the window reads like an instruction to a machine, not like what people say to each"
    " other. Face and voice are used as ever; neither the label nor the reasoning sees the words.",
    "Nothing, if somebody is trying it out. Else look at what publishes the transcript.",
)
SILENT_MICROPHONE = Condition(
    "window.silent_microphone",
    Status.DEGRADED,
    Level.WARN,
    "microphone is silent (below {dbfs:.0f} dBFS)",
    "Samples arrive and all are nearly 0: muted, the wrong device, or gain at zero. A quiet room is louder.",
    "`alsamixer`, the switch on the device; `emollama doctor` lists devices. The label comes from the picture"
    " alone meanwhile.",
)
BLANK_PICTURE = Condition(
    "window.blank_picture",
    Status.DEGRADED,
    Level.WARN,
    "picture is blank (lens covered, or dark)",
    "All pixels are nearly equal.",
    "Uncover the lens, switch on the light; look at it with `ros2 run rqt_image_view rqt_image_view`.",
)
FROZEN_PICTURE = Condition(
    "window.frozen_picture",
    Status.DEGRADED,
    Level.WARN,
    "picture has not changed for {seconds:.1f} s (camera frozen, or a still)",
    "Pictures come with new stamps and every pixel is the same, which the noise of a real sensor never is."
    " From the moment that a whole window shows one picture, the label comes from the other inputs alone.",
    "Restart the camera's driver. For stills, and in a simulation where nothing moves, nothing.",
)
MISSING = Condition(
    "window.missing",
    Status.DEGRADED,
    Level.WARN,
    "no {modality} received in this window",
    "`expect` names an input, and the window has nothing of it.",
    "Start the sensor; or set `expect` to `auto`, or to what the robot has.",
)

# --- the language model ------------------------------------------------------------------------------

REASONING_FAILS = Condition(
    "reasoning.fails",
    Status.DEGRADED,
    Level.WARN,
    "reasoning failed: {error}",
    "The language model, or the server of `reasoning_url`, failed. Labels go on and are not touched by it.",
    "Do what the error says. Too little memory: a smaller language model, or `reasoning: false`. It goes"
    " away with the first reasoning that succeeds.",
)

SPEECH_FAILS = Condition(
    "speech.fails",
    Status.OK,
    Level.WARN,
    "speech-to-text failed: {error}",
    "An utterance could not be written down. Voice and picture are judged all the same; words are not.",
    "Do what the error says; `emollama doctor`; or have another recogniser publish `transcript`.",
)

# --- the node ----------------------------------------------------------------------------------------

PERCEIVING = Condition(
    "node.perceiving",
    Status.OK,
    Level.OK,
    "perceiving",
    "All is well.",
    "Nothing.",
)
WAITING = Condition(
    "node.waiting",
    Status.STALE,
    Level.STALE,
    "waiting for input",
    "The node has just been activated, and nothing has arrived yet.",
    "Nothing; within `timeout_s` it says what is missing.",
)
PAUSED = Condition(
    "node.paused",
    Status.STALE,
    Level.OK,
    "paused by emotion/enable",
    "Somebody switched perception off: nothing is subscribed to, nothing is remembered.",
    "`ros2 service call /emotion/enable std_srvs/srv/SetBool '{data: true}'`; it goes on in milliseconds.",
)
NOT_ACTIVE = Condition(
    "node.not_active",
    Status.STALE,
    Level.STALE,
    "not active",
    "The node runs and is not in the lifecycle state `active`; it publishes diagnostics and no states.",
    "`ros2 lifecycle set /perception_node configure`, then `activate`; or `autostart: true`. If configuring"
    " failed, the log says why.",
)
SKIPPING = Condition(
    "pipeline.skipping",
    Status.OK,
    Level.WARN,
    "{skipped} of the last {total} windows were left out: one takes longer than a hop",
    "The model is slower than `hop_s` asks. What is published is still about now; there is less of it.",
    "Raise `hop_s`; `threads`; `reasoning: false` or a larger `reasoning_interval_s`; keep other programs off"
    " the cores (`taskset`, `nice`). Stage times say where the time goes.",
)
