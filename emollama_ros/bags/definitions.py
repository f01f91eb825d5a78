"""Our messages for ``rosbags``, the library that reads and writes bags without ROS."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emollama_ros.errors import ConfigError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

PACKAGE = "emollama_ros"
#: The same range as the extra ``bags`` of pyproject.toml.
INSTALL = "pip install 'rosbags>=0.11,<0.12'"
#: Messages of ours, by what they say.
STATE, EVENT, REASONING, CHUNK = (
    f"{PACKAGE}/msg/{name}" for name in ("EmotionState", "EmotionEvent", "EmotionReasoning", "AudioChunk")
)


def require_rosbags() -> None:
    """Make sure that bags can be read and written.

    Raises:
        ConfigError: The package is not installed; says how to get it.
    """
    try:
        import rosbags.rosbag2  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"bags need the Python package rosbags, which cannot be imported ({error}); run: {INSTALL}"
        ) from error


def definition_folder(package: str = PACKAGE) -> Path | None:
    """Return the folder of a package's ``.msg`` files: in this checkout, or installed; ``None`` if absent."""
    beside = Path(__file__).resolve().parents[2] / "msg"
    if package == PACKAGE and beside.is_dir():
        return beside
    try:
        from ament_index_python.packages import get_package_share_directory

        installed = Path(get_package_share_directory(package)) / "msg"
    except (ImportError, LookupError, OSError):
        return None  # no ROS, or none that knows the package
    return installed if installed.is_dir() else None


@cache
def typestore() -> Typestore:
    """Return the messages of ROS 2 and, where their definitions are found, ours."""
    require_rosbags()
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    folder = definition_folder()
    if folder is not None:
        for path in sorted(folder.glob("*.msg")):
            add(store, f"{PACKAGE}/msg/{path.stem}", path.read_text(encoding="utf-8"))
    return store


def add(store: Typestore, name: str, text: str) -> None:
    """Teach a store a message, given the text of its ``.msg`` file."""
    from rosbags.typesys import get_types_from_msg

    store.register(get_types_from_msg(text, name))


def known(store: Typestore, name: str) -> bool:
    """Make a store know a message, from the files of an installed package if need be; return whether it does.

    Args:
        store: What ``typestore`` returns, or another.
        name: ``package/msg/Name``.
    """
    if name in store.fielddefs:
        return True
    package, _, kind = name.partition("/msg/")
    folder = definition_folder(package)
    path = folder / f"{kind}.msg" if folder is not None else None
    if path is None or not path.is_file():
        return False
    add(store, name, path.read_text(encoding="utf-8"))
    return all(known(store, inner) for inner in _parts(store, name))


def _parts(store: Typestore, name: str) -> list[str]:
    """Return the names of the messages that a message is made of."""
    from rosbags.interfaces import Nodetype

    found: list[str] = []
    fields: Any = store.fielddefs[name][1]
    for _, (kind, detail) in fields:
        if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, detail = detail[0]
        if kind == Nodetype.NAME:
            found.append(str(detail))
    return found
