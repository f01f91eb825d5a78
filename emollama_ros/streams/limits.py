"""Checks that rings share when they are made: a bound is enforced before memory is taken."""

from __future__ import annotations

from emollama_ros.errors import ConfigError


def require_positive(ring: str, **values: float) -> None:
    """Refuse parameters that are not above zero.

    Args:
        ring: Name of the ring, for the message.
        **values: Parameter names and values.

    Raises:
        ConfigError: A value is zero, negative or NaN; names it.
    """
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{ring}: {name} is {value}; it must be above 0")


def require_fit(ring: str, needed: int, max_bytes: int) -> None:
    """Refuse a ring that needs more memory than it is allowed.

    Raises:
        ConfigError: ``needed`` exceeds ``max_bytes``; says by how much and what to change. A ring
            that silently held less than was asked for would cut every window short instead.
    """
    if needed > max_bytes:
        raise ConfigError(
            f"{ring}: {needed:,} bytes are needed for the seconds and rate asked for, but max_bytes is "
            f"{max_bytes:,}; lower the seconds, the rate or the size, or raise max_bytes"
        )
