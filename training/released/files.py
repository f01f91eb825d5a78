"""Files of other people's weights, read without trusting them: no pickle runs code, damage is named."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from emollama_ros.errors import InputError

Shape = tuple[int, ...]
#: What a zip archive begins with, the form of torch.save since 1.6; only that form can be mapped to memory.
_ZIP = b"PK\x03\x04"
#: Weights of a folder of the transformers library, the safe form first.
_FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of weights, mapped to memory where its form allows.

    Args:
        path: ``.safetensors``, or what torch.save wrote: a dict of tensors, or a dict that holds one as
            ``model``, as the authors' checkpoints do beside their optimiser.

    Raises:
        InputError: No such file; it is cut off or damaged; it is a pickle with code in it, which is never
            run; it holds something else than tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _read_pickle(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    return _only_tensors(content, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: is cut off, damaged or no safetensors ({error})") from None


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: is damaged, or holds code besides weights, which is not run: {_first(error)}. "
            "Get the file from its authors again, or as .safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise InputError(f"{path}: is cut off, damaged or no checkpoint: {_first(error)}") from None


def _first(error: Exception) -> str:
    """What torch found, without its advice to switch the check off."""
    text = str(error).replace("\n", " ")
    _, found, rest = text.partition("WeightsUnpickler error: ")
    words = " ".join((rest if found else text).split())[:120]
    return words if " " in words else f"{type(error).__name__} {words}".strip()


def _only_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}; a dict of tensors is needed")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{path}: {name!r} is a {type(value).__name__}; a tensor is needed")
    return {str(name): value for name, value in content.items()}


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Shapes by name."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are no numbers.

    Raises:
        InputError: One is NaN or infinite; says where.
    """
    for name, value in tensors.items():
        # The least and the greatest are NaN where any is, and take a tenth of the time of asking each.
        if value.is_floating_point() and value.numel() and not torch.stack(value.aminmax()).isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity; the file is damaged, get it again")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: No such file, or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}; a JSON object is needed")
    return content


def folder_shapes(folder: Path) -> dict[str, Shape]:
    """Shapes by name of all weights in a folder of the transformers library, whole or in shards.

    Weights are not loaded: of safetensors only the headers are read, of pickles the structure.

    Raises:
        InputError: There are no weights, a shard is missing or damaged, or the index names what no shard has.
    """
    for name in _FOLDER_FILES:
        if (folder / f"{name}.index.json").is_file():
            return _sharded_shapes(folder / f"{name}.index.json")
        if (folder / name).is_file():
            return _file_shapes(folder / name)
    raise InputError(f"{folder}: has no weights; looked for {', '.join(_FOLDER_FILES)} and their .index.json")


def _sharded_shapes(index: Path) -> dict[str, Shape]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict):
        raise InputError(f"{index}: has no weight_map")
    found: dict[str, Shape] = {}
    for shard in sorted(set(map(str, places.values()))):
        if Path(shard).name != shard:
            raise InputError(f"{index}: names {shard!r}, which is not in its folder")
        found.update(_file_shapes(index.parent / shard))
    if absent := sorted(set(places) - set(found)):
        raise InputError(f"{index}: names {absent[0]}, which {places[absent[0]]} does not hold")
    return found


def _file_shapes(path: Path) -> dict[str, Shape]:
    if path.suffix != ".safetensors":
        return shapes_of(read_tensors(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is cut off, damaged or no safetensors ({error})") from None
