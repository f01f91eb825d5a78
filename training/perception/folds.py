"""Each person told by weights that never saw that person: the folds of ``leave-one-out`` on disturbed clips.

Sound and pictures go through the encoders of a bundle, exactly as on the robot; what they give goes through
direct paths and fusion that were trained without the person. The encoders never saw the people who are held
out (``training.perception.recipe``), so that they are the same for all folds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from emollama_ros.bundle import Bundle
from emollama_ros.encoders import Encoders, StageTimer, WindowFeatures
from emollama_ros.engines import EngineOptions
from emollama_ros.errors import InputError
from emollama_ros.estimate import Modality
from emollama_ros.graphs import load_graph
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.perception import fusion_inputs
from emollama_ros.streams import Window
from emollama_ros.usable import usable_modalities
from training.evaluation.adapters.bundle import window_of
from training.mmeverse.decoding import FRAME_HZ, DecodedClip
from training.networks.perception_net import PerceptionNet
from training.whole_files import write_whole

if TYPE_CHECKING:
    from training.perception.recipe import Workshop

Nets = Callable[[str], PerceptionNet]
_NOTHING = np.zeros(0, np.float32)
#: What the networks take, in their order.
_INPUTS = ("audio", "image", "video", "present")
#: Encoded inputs that are kept: the clean one of a clip is asked for beside each disturbed one.
_KEPT = 4


class Folds:
    """The networks of the held-out people of a run; fitted where they are asked for and not there yet."""

    def __init__(self, workshop: Workshop) -> None:
        """Take the folder of a run of the recipe; its windows are read only where a fold has to be fitted."""
        self._workshop = workshop
        self._nets: dict[str, PerceptionNet] = {}

    def __call__(self, person: str) -> PerceptionNet:
        """The network that was trained on everybody but this person.

        Args:
            person: ``source:person``.

        Raises:
            InputError: The run knows nothing of the person.
        """
        if person not in self._nets:
            path = self.path(person)
            if not path.exists():
                self._fit(person, path)
            net = PerceptionNet()
            net.load_state_dict(load_file(path))
            self._nets[person] = net.eval().requires_grad_(False)
        return self._nets[person]

    def path(self, person: str) -> Path:
        """Where the weights of a fold are kept."""
        name = f"{person.replace(':', '-')}-seed{self._workshop.seed}.safetensors"
        return self._workshop.folder / "folds" / name

    def _fit(self, person: str, path: Path) -> None:
        from training.perception.fit import fit
        from training.perception.recipe import FUSION

        data, shop = self._workshop.features, self._workshop
        others = data.persons != person
        if others.all():
            raise InputError(f"{shop.folder}: {person} is not among the people of this run")
        net = fit(data.take(others), replace(FUSION, seed=shop.seed), device=shop.device)
        state = {name: t.detach().cpu().contiguous() for name, t in net.state_dict().items()}
        write_whole(path, lambda part: save_file(state, part))


class FoldPredictor:
    """Tells clips as a robot would whose model never saw the person."""

    def __init__(self, nets: Nets, bundle: Bundle, threads: int = 1) -> None:
        """Take the networks and whose encoders to use.

        Args:
            nets: The network for a person, such as `Folds`.
            bundle: Its encoders must be those that the networks were trained on.
            threads: CPU threads of the encoders.

        Raises:
            InputError: The bundle's fusion takes other features than the networks.
        """
        self._nets, self._bundle = nets, bundle
        self._encoders = Encoders(bundle, EngineOptions("auto", threads), load_graph)
        self._heard, self._seen = _Recent(_KEPT), _Recent(_KEPT)
        inputs = bundle.manifest.graphs["fusion"].inputs
        if set(inputs) != set(_INPUTS) or inputs["present"].shape[-1] != 2:
            raise InputError(f"{bundle.path}: its fusion does not take {', '.join(_INPUTS)} as `tiny` does")

    def predict(
        self, samples: NDArray[np.float32] | None, frames: NDArray[np.uint8] | None, person: str
    ) -> NDArray[np.float32]:
        """Logits (7,) of what the robot would use of a clip; zeros where it would say ``unknown``."""
        window = _window(samples, frames)
        usable, _ = usable_modalities(window)
        if not usable:
            return np.zeros(len(DEFAULT_LABELS), np.float32)
        features = self._features(window, usable)
        row = fusion_inputs(features, [usable], self._bundle.manifest)
        with torch.no_grad():
            logits, *_ = self._nets(person)(*(torch.from_numpy(row[name]) for name in _INPUTS))
        return np.asarray(logits[0].numpy(), np.float32)

    def _features(self, window: Window, usable: Modality) -> WindowFeatures:
        """Of both senses, each encoded once for all conditions that it is clean in."""
        found = WindowFeatures()
        if Modality.VIDEO in usable and window.frames is not None:
            only = replace(window, audio=None)
            found = self._seen(window.frames.images, lambda: self._encode(only, Modality.VIDEO))
        if Modality.AUDIO in usable and window.audio is not None:
            alone = replace(window, frames=None)
            heard = self._heard(window.audio.samples, lambda: self._encode(alone, Modality.AUDIO))
            found = replace(found, audio=heard.audio)
        return found

    def _encode(self, window: Window, usable: Modality) -> WindowFeatures:
        # Frames are known by their stamps, and every clip begins at 0.
        self._encoders.reset()
        return self._encoders.encode([window], [usable], [0], StageTimer())[0]


def _window(samples: NDArray[np.float32] | None, frames: NDArray[np.uint8] | None) -> Window:
    pictures = () if frames is None else tuple(frames)
    stamps = tuple(round(i * 1e9 / FRAME_HZ) for i in range(len(pictures)))
    return window_of(DecodedClip(_NOTHING if samples is None else samples, pictures, stamps))


class _Recent:
    """The last results by the content of what they were made of."""

    def __init__(self, most: int) -> None:
        self._most, self._known = most, OrderedDict[bytes, Any]()

    def __call__(self, array: NDArray[Any], make: Callable[[], Any]) -> Any:
        key = blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()
        if key not in self._known:
            self._known[key] = make()
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return self._known[key]
