"""Importing the web server, which needs packages that the rest does not. No ROS in it."""

from __future__ import annotations

import importlib
from types import ModuleType

from emollama_ros.errors import ConfigError

#: What to do where it is missing.
INSTALL = (
    "pip install 'starlette>=0.31' 'uvicorn>=0.27' (the extra `dashboard` of the package), or"
    " sudo apt install python3-starlette python3-uvicorn"
)


def web_server() -> ModuleType:
    """Import ``emollama_ros.dashboard.server``.

    Raises:
        ConfigError: Starlette or uvicorn is missing; the message says how to install them.
    """
    try:
        return importlib.import_module("emollama_ros.dashboard.server")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio", "h11", "click"):
            raise
        raise ConfigError(f"the dashboard needs {error.name}, which is not installed: {INSTALL}") from None
