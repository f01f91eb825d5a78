"""Finding the Fast DDS profile that makes camera frames arrive, and putting it into an environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROFILE = "fastdds.xml"
#: Fast DDS 2.x (Humble, Jazzy) reads the first name, 3.x (Kilted and later) the second.
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def config_file(name: str) -> Path | None:
    """Return a file of the package's ``config`` folder, installed or in the checkout; ``None`` if absent."""
    beside = Path(__file__).resolve().parents[2] / "config" / name
    if beside.is_file():
        return beside
    try:
        from ament_index_python.packages import get_package_share_directory

        installed = Path(get_package_share_directory("emollama_ros")) / "config" / name
    except (ImportError, LookupError, OSError):
        return None  # no ROS, or none that knows the package
    return installed if installed.is_file() else None


def with_profile(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for ROS processes that has the profile, unless the user set one.

    Args:
        environment: What to start from; ``None`` for that of this process.
    """
    result = dict(os.environ if environment is None else environment)
    profile = config_file(PROFILE)
    if profile is not None and not any(result.get(name) for name in VARIABLES):
        result.update(dict.fromkeys(VARIABLES, str(profile)))
    return result
