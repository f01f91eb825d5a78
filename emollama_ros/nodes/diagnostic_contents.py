"""What is on /diagnostics: entries, their values, what those mean. docs/operations.md shows it."""

from __future__ import annotations

from collections.abc import Mapping

#: Entry -> (what it is about, {name of a value: what it means}). ``{...}`` stands for a name.
CONTENTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "perception": (
        "what the states of a source can be relied on for; one entry a source",
        {
            "windows": "estimates since activation",
            "window rate": "estimates a second over the last 10 s; 1 / `hop_s` when all is well",
            "windows left out": "windows skipped because the one before took too long",
            "windows failed": "windows in which the engine raised an error",
            "restarts": "times the sensors' clock jumped and everything buffered was forgotten",
            "fill video": "share of the latest window that pictures cover, 0 to 1",
            "fill audio": "share of the latest window that sound covers, 0 to 1",
            "frames received": "pictures that arrived",
            "frames kept": "pictures that the model looks at; the others come faster than it takes them",
            "audio samples": "samples buffered, at 16 kHz",
            "audio samples lost": "samples that stamps say are missing",
            "buffered video": "time that the buffered pictures span, seconds",
            "buffered audio": "time that the buffered sound spans, seconds",
            "buffers": "memory of the buffers; constant while the node is active",
            "last error": "why the latest failed window did",
            "last error age": "how long ago that was first seen here",
        },
    ),
    "inputs": (
        "what arrives from camera, microphone and speech recogniser; one entry a source",
        {
            "{input} topic": "resolved name of the topic",
            "{input} rate": "messages a second, lately; in brackets what is usual",
            "{input} received": "messages that arrived",
            "{input} refused": "messages that could not be used; the message of the entry has the reason",
            "{input} lost": "messages sent and not arrived, as the middleware or their own count says",
            "{input} duplicates": "messages with the stamp of the one before",
            "{input} reordered": "messages older than the newest",
            "{input} leaps": "times the stamps leapt by more than a second",
            "microphone gaps": "times that stamps say sound was left out, and how much",
            "{input} age": "time since the latest message",
            "{input} ahead": "its stamps against this node's clock; a little behind (-) is transport",
            "clock drift": "clock of the microphone against that of the camera, said after a minute of both",
            "sample count drift": "samples counted against their stamps: the sound card's true rate",
        },
    ),
    "speech": (
        "the node's own speech-to-text, where `speech_to_text` is true; one entry a source",
        {
            "utterances": "pieces of sound with a beginning and an end",
            "texts": "of these, written down and used",
            "dropped": "of these, left out because a newer one came first",
            "left out": "of these, not used, and why",
            "failed": "of these, failed",
            "latest": "how long the latest text took",
            "busy": "how long the present one has been worked on; 0 when idle",
            "last error": "why the latest failed utterance did",
            "last error age": "how long ago that was first seen here",
        },
    ),
    "adaptation": (
        "what was learnt of the person in front of the robot, where the bundle can; one entry a source",
        {
            "evidence": "how long the person has been perceived; windows that overlap count once",
            "neutral reference": "whether `emotion/set_neutral` was called for this person",
            "offset {view}": "largest change of a logit of a view (`audio`, `video`, `video+audio`)",
        },
    ),
    "pipeline": (
        "how fast the model is",
        {
            "stage {stage}": "time of a stage over the last 128 windows; `total` is all stages",
            "busy": "how long the present window has been worked on; 0 when idle",
            "queue": "how long a complete window has waited to be begun",
        },
    ),
    "reasoning": (
        "the explanations in words",
        {
            "reasonings": "texts finished",
            "reasonings failed": "texts that failed; labels are not touched by it",
            "busy": "how long the present text has been worked on; 0 when idle",
            "last error": "why the latest text failed",
            "last error age": "how long ago that was first seen here",
        },
    ),
    "model": (
        "what was loaded, and why it runs where it runs",
        {
            "bundle": "name, version and folder of the model bundle",
            "bundle sha256": "hash of the bundle: which model this is, exactly",
            "engine": "inference engine and device",
            "engine chosen because": "why that engine",
            "reasoning": "whether a language model is loaded",
            "adaptation": "whether the bundle has what is needed to follow a person",
        },
    ),
    "process": (
        "what the process takes of the machine",
        {
            "uptime": "time since the node was made",
            "memory": "resident memory; it stays level once the model is loaded",
            "memory peak": "the most it ever was",
            "processor": "share of one core over the time since the last report",
            "threads": "threads; constant while the node is active",
            "open files": "file descriptors; constant while the node is active",
            "gpu memory": "memory of the first GPU in use by all processes, where the engine uses one",
        },
    ),
}
