"""Audio, visual and fusion agent as models behind any OpenAI-compatible endpoint (vLLM, OpenAI, ...).

Steps 2 to 4 of the annotation of MMEVerse (arXiv 2601.16449): a model that hears describes the voice, one
that sees describes the picture, one that writes joins both with the words and the action units.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emollama_ros.errors import ConfigError
from training.annotation.agents import Agent, AgentError, Finding, Request, Role, Usage
from training.annotation.backends.chat import Chat, Completion, Endpoint
from training.annotation.backends.clip_media import jpegs_of, wav_of
from training.annotation.backends.prompts import Prompt, as_data, load_prompt
from training.annotation.backends.replies import Reply, ReplyFormError, label_words, parse_reply, reply_schema
from training.annotation.cache import completion_key, media_digests
from training.annotation.factories import LocalFactory
from training.annotation.guard import check_text
from training.annotation.limits import Ledger
from training.mmeverse.schema import Record

Message = dict[str, Any]
_NOTHING = Finding({})
#: Measured on this machine even where models behind an endpoint find the words: nobody has to be asked.
_MEASURED: frozenset[Role] = frozenset({"transcript", "face"})


@dataclass(frozen=True)
class Sight:
    """How frames are shown.

    Attributes:
        frames: Besides the peak frame.
        longest_side: Pixels.
        quality: Of the JPEG.
    """

    frames: int = 4
    longest_side: int = 768
    quality: int = 85


@dataclass(frozen=True)
class Models:
    """Names of the models as the endpoint calls them; an empty one leaves its agent out."""

    audio: str = ""
    visual: str = ""
    fusion: str = ""


@dataclass(frozen=True)
class EndpointAgent(ABC):
    """What the three agents share: prompt, question, repair, reading.

    Attributes:
        model: As the endpoint calls it.
        chat: The endpoint.
        words: The prompt.
    """

    model: str
    chat: Chat
    words: Prompt

    role: Role = field(init=False)
    writes: str = field(init=False)

    @property
    def prompt(self) -> str:
        """See `Agent`."""
        return self.words.version

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Agent`."""
        return self.chat.endpoint.settings

    def annotate(self, request: Request) -> Finding:
        """See `Agent`. A clip without what this agent attends to gets nothing from it.

        Raises:
            AgentError: No answer, an answer of another form even after one repair, or one that is written
                like an instruction.
            RunStoppedError: The run cannot go on now.
            ConfigError: The endpoint knows neither the key nor the model.
        """
        content = self.content(request)
        if content is None:
            return _NOTHING
        schema = reply_schema(request.is_guided)
        messages: list[Message] = [
            {"role": "system", "content": self.words.system.replace("$schema", schema)},
            {"role": "user", "content": content},
        ]
        return self._finding(request, messages)

    @abstractmethod
    def content(self, request: Request) -> list[Message] | None:
        """What is asked about a clip, as parts of a message; None where there is nothing to ask."""

    def _finding(self, request: Request, messages: list[Message]) -> Finding:
        media = media_digests(request)
        first = self._asked(messages, media)
        try:
            reply, usage, day = parse_reply(first.text, request.is_guided), first.usage, first.date
        except ReplyFormError as problem:
            second = self._asked([*messages, *_repair(first.text, problem)], media)
            reply, usage = parse_reply(second.text, request.is_guided), first.usage + second.usage
            day = second.date
        return self._as_finding(reply, request.record, usage, day)

    def _asked(self, messages: list[Message], media: Mapping[str, str]) -> Completion:
        said = self.chat.ask(completion_key(self, media, messages), self.model, messages)
        # Before anything else is done with it: a repair would show it to the model once more.
        check_text(said.text, f"the answer of {self.role}")
        return said

    def _as_finding(self, reply: Reply, record: Record, usage: Usage, day: str) -> Finding:
        contradiction = reply.contradiction(record)
        flags = (contradiction,) if contradiction else ()
        return Finding({self.writes: reply.description}, flags, usage, day)

    def _question(self, request: Request, **values: str) -> Message:
        shared = {"label": "", "choices": _choices(request.record)}
        if request.is_guided:
            shared["label"] = as_data(label_words(request.record))
        return {"type": "text", "text": self.words.user(request.is_guided, {**shared, **values})}


@dataclass(frozen=True)
class AudioAgent(EndpointAgent):
    """Hears the clip.

    Attributes:
        longest_s: What is longer is cut off.
    """

    longest_s: float = 60.0
    role: Role = field(default="audio", init=False)
    writes: str = field(default="clues.audio", init=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Agent`."""
        return {**super().settings, "longest_s": self.longest_s}

    def content(self, request: Request) -> list[Message] | None:
        """The recording and the question."""
        wav = wav_of(request.record, request.root, self.longest_s)
        if wav is None:
            return None
        sound = {"data": base64.b64encode(wav).decode("ascii"), "format": "wav"}
        question = self._question(request, transcript=as_data(request.record.transcript))
        return [{"type": "input_audio", "input_audio": sound}, question]


@dataclass(frozen=True)
class VisualAgent(EndpointAgent):
    """Sees the clip.

    Attributes:
        sight: Which frames.
    """

    sight: Sight = field(default_factory=Sight)
    role: Role = field(default="visual", init=False)
    writes: str = field(default="clues.visual", init=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Agent`."""
        return {**super().settings, **vars(self.sight)}

    def content(self, request: Request) -> list[Message] | None:
        """The frames and the question."""
        sight, record = self.sight, request.record
        jpegs = jpegs_of(record, request.root, sight.frames, sight.longest_side, sight.quality)
        if not jpegs:
            return None
        is_peak_first = record.clues.peak_frame is not None and record.media.video is not None
        order = (
            "The first is the frame with the strongest expression, the others follow in time."
            if (is_peak_first)
            else "They follow in time."
        )
        question = self._question(request, frames=order, action_units=as_data(_action_units(record)))
        return [*(_image(jpeg) for jpeg in jpegs), question]


@dataclass(frozen=True)
class FusionAgent(EndpointAgent):
    """Reads what the others found."""

    role: Role = field(default="fusion", init=False)
    writes: str = field(default="reasoning", init=False)

    def content(self, request: Request) -> list[Message] | None:
        """The notes and the question.

        Raises:
            AgentError: Nothing is known of the clip.
        """
        record = request.record
        notes = {
            "subtitle": record.transcript,
            "audio_clues": record.clues.audio,
            "visual_clues": record.clues.visual,
            "action_units": _action_units(record),
        }
        notes = {name: value for name, value in notes.items() if value}
        if not notes:
            raise AgentError("neither words nor clues to reason from")
        return [self._question(request, notes=as_data(notes))]


def endpoint_agents(
    endpoint: Endpoint, models: Models, ledger: Ledger, sight: Sight = Sight(), prompt: str = "v1"
) -> tuple[Agent, ...]:
    """The agents whose models are named.

    Raises:
        ConfigError: None is named, a prompt is missing, or there is no key.
    """
    if not any(vars(models).values()):
        raise ConfigError("no model is named: give --audio-model, --visual-model or --fusion-model")
    endpoint.key()  # Missing is better told now than in every clip.
    chat = Chat(endpoint, ledger)
    agents: list[Agent] = []
    if models.audio:
        agents.append(AudioAgent(models.audio, chat, load_prompt("audio", prompt)))
    if models.visual:
        agents.append(VisualAgent(models.visual, chat, load_prompt("visual", prompt), sight=sight))
    if models.fusion:
        agents.append(FusionAgent(models.fusion, chat, load_prompt("fusion", prompt)))
    return tuple(agents)


@dataclass(frozen=True)
class EndpointFactory:
    """Models behind an endpoint, after face and words were measured here.

    Attributes:
        endpoint: Where.
        models: Which.
        sight: How frames are shown.
        prompt: Name of the prompts' version.
        measuring: Measures face and words; None to leave them out.
    """

    endpoint: Endpoint
    models: Models
    sight: Sight = field(default_factory=Sight)
    prompt: str = "v1"
    measuring: LocalFactory | None = None

    def __call__(self, ledger: Ledger) -> Sequence[Agent]:
        """Make the agents.

        Raises:
            ConfigError: See `endpoint_agents` and `LocalFactory`.
        """
        asked = endpoint_agents(self.endpoint, self.models, ledger, self.sight, self.prompt)
        if self.measuring is None:
            return asked
        measured = [agent for agent in self.measuring(ledger) if agent.role in _MEASURED]
        return [*measured, *asked]


def _repair(text: str, problem: ReplyFormError) -> list[Message]:
    return [
        {"role": "assistant", "content": text},
        {"role": "user", "content": f"This does not fit: {problem}. Give only the corrected JSON object."},
    ]


def _choices(record: Record) -> str:
    if not record.label_space:
        return ""
    return f"Choose from: {', '.join(record.label_space)}."


def _action_units(record: Record) -> list[str]:
    return [f"{unit.unit} {unit.intensity:.1f}" for unit in record.clues.action_units]


def _image(jpeg: bytes) -> Message:
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}
