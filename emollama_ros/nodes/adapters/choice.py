"""Which adapter hears a topic: the one for what is really published, among what can be imported here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from emollama_ros import conditions
from emollama_ros.conditions import Finding
from emollama_ros.errors import ConfigError

AUTO = "auto"


@dataclass(frozen=True)
class Adapter:
    """How messages of one type are read.

    Attributes:
        type: ``package/Name``.
        convert: Makes a plain value of a message; raises ``InputError``.
        fields: Fields that the message must have: different packages share a name.
        install: How to get the messages.
        time: Where the time comes from, for the documentation.
        stamped: Whether a message says when it was captured; if not, its arrival counts.
        described: Whether its bytes are described by a second topic, ``audio_info``.
        value: What a parameter says to choose it; empty for ``type``.
    """

    type: str
    convert: Callable[..., Any]
    fields: tuple[str, ...] = ()
    install: str = "source the workspace that has it"
    time: str = ""
    stamped: bool = True
    described: bool = False
    value: str = ""

    @property
    def setting(self) -> str:
        """Value of the parameter that chooses this adapter."""
        return self.value or self.type


@dataclass(frozen=True)
class Choice:
    """What to listen for.

    Attributes:
        adapter: ``None``: nothing can be listened for.
        kind: Its message class.
        obstacle: Why a publisher is not heard, if one is not.
    """

    adapter: Adapter | None
    kind: Any = None
    obstacle: Finding | None = None


@dataclass(frozen=True)
class Wish:
    """What a user asked for.

    Attributes:
        topic: Resolved name.
        parameter: Name of the parameter that chooses.
        asked: Its value: a ``setting``, or ``auto``.
        adapters: What may be chosen, the most preferred first.
        steady: Whether a publisher sends all the time, so that its silence says something.
    """

    topic: str
    parameter: str
    asked: str
    adapters: tuple[Adapter, ...]
    steady: bool = True

    @property
    def wanted(self) -> tuple[Adapter, ...]:
        """The adapters that agree with the parameter."""
        return (
            self.adapters
            if self.asked == AUTO
            else tuple(a for a in self.adapters if a.setting == self.asked)
        )


@cache  # an error is not kept: a package may be installed while the node runs
def message_class(adapter: Adapter) -> Any:
    """Import the class of an adapter's messages, with its type support.

    Raises:
        ConfigError: It is not installed, cannot be loaded, or is another package's of the same name.
    """
    from rclpy.type_support import check_for_type_support

    package, name = adapter.type.split("/")
    try:
        module = importlib.import_module(f"{package}.msg")
        kind = getattr(module, name, None)
        if kind is not None:
            check_for_type_support(kind)
    except Exception as error:  # not installed, or compiled for another Python, NumPy or ROS
        raise ConfigError(f"{type(error).__name__}: {error}") from error
    if kind is None:
        raise ConfigError(f"the {package} installed here has no {name}")
    missing = sorted(set(adapter.fields) - set(kind.get_fields_and_field_types()))
    if missing:
        raise ConfigError(f"{name} of the {package} installed here has no {', '.join(missing)}")
    return kind


def choose(
    wish: Wish,
    offered: Mapping[str, Iterable[str]],
    present: Adapter | None,
    load: Callable[[Adapter], Any] = message_class,
    *,
    deaf: bool = False,
) -> Choice:
    """Choose the adapter for a topic.

    Args:
        wish: What the user asked for.
        offered: Names of the publishing nodes by the type that they publish, ``package/Name``.
        present: What is listened for now; kept while nothing else fits better.
        load: Imports a message class.
        deaf: Nothing came for a while, so that another publisher, if there is one, is given a turn.
    """
    usable = [a for a in wish.wanted if a.type in offered and _loads(a, load)]
    if present in usable:
        adapter = usable[(usable.index(present) + deaf) % len(usable)]
    else:
        adapter = next(iter(usable), present or wish.wanted[0])
    if not _loads(adapter, load):
        return Choice(None, None, _not_installed(wish, adapter, load))
    return Choice(adapter, load(adapter), _obstacle(wish, offered, adapter, bool(usable), load))


def _loads(adapter: Adapter, load: Callable[[Adapter], Any]) -> bool:
    return not _why_not(adapter, load)


def _why_not(adapter: Adapter, load: Callable[[Adapter], Any]) -> str:
    try:
        load(adapter)
    except ConfigError as error:
        return str(error)
    return ""


def _not_installed(wish: Wish, adapter: Adapter, load: Callable[[Adapter], Any]) -> Finding:
    return conditions.NOT_INSTALLED.say(
        topic=wish.topic,
        asked=adapter.type,
        reason=_why_not(adapter, load),
        fix=f"{adapter.install}, or set {wish.parameter} to {AUTO}",
    )


def _obstacle(
    wish: Wish,
    offered: Mapping[str, Iterable[str]],
    adapter: Adapter,
    heard: bool,
    load: Callable[[Adapter], Any],
) -> Finding | None:
    """Say which publishers are not heard, and what to do."""
    if not offered or (heard and (len(offered) == 1 or wish.asked != AUTO)):
        return None
    facts = {
        "topic": wish.topic,
        "offered": " and ".join(sorted(offered)),
        "nodes": ", ".join(sorted({node for nodes in offered.values() for node in nodes})),
        "heard": adapter.type,
    }
    if heard:
        others = f"remap the other publisher, or set {wish.parameter} to the type that is meant"
        return conditions.SEVERAL_TYPES.say(**facts, fix=others)
    return conditions.FOREIGN_TYPE.say(**facts, fix=_fix(wish, sorted(offered), load))


def _fix(wish: Wish, offered: Sequence[str], load: Callable[[Adapter], Any]) -> str:
    known = next((a for a in wish.adapters if a.type in offered), None)
    if known is None:
        return f"publish {', '.join(a.type for a in wish.wanted)}, or remap the topic"
    if why := _why_not(known, load):
        return f"{known.install} on this machine ({why})"
    return f"set {wish.parameter} to {known.setting}, or publish {wish.wanted[0].type}"
