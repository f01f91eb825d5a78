"""The recipe of the default bundle's cognition: which scenes, into which weights.

bundle + generated people + real people -> scenes -> adapters and LoRA -> soft_tokens.safetensors, lora.npz
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from emollama_ros.bundle import Bundle
from emollama_ros.language.lora import LORA, LowRank, write_lora
from training.cognition.fit import Cognition, CognitionConfig, fit
from training.cognition.likelihood import report, tell
from training.cognition.scenes import (
    Observer,
    Scene,
    SceneStore,
    generated_scenes,
    read_scenes,
    real_scenes,
)
from training.cognition.start import start_from_words
from training.cognition.texts import Lesson
from training.evaluation.reasoning_truth import read_truth
from training.networks.language import LanguageModel, load_language_model, permuted
from training.networks.perception_net import PerceptionNet
from training.networks.soft_tokens import SoftTokenAdapters
from training.presets import LanguagePreset, LoraPreset
from training.whole_files import write_whole

#: Real people who may be trained on.
REAL = ("javanese_av", "emodb")
SOFT_TOKENS, REPORT = "soft_tokens.safetensors", "cognition.json"
#: Matrices that LoRA may change, by their names in transformers -> in GGUF.
_MATRICES = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output"}


@dataclass(frozen=True)
class Sources:
    """Where scenes come from.

    Attributes:
        synthesis: Folder of ``python -m training.synthesis``; its split ``train`` is learnt from, the others
            are measured on.
        root: Folder that holds the sources of real people; None goes without.
    """

    synthesis: Path
    root: Path | None = None


@dataclass(frozen=True)
class Studio:
    """The folder of a run.

    Attributes:
        folder: Where scenes, checkpoint and log are kept.
        bundle: Finished perception, with its detectors of cues; its language model is not needed.
        weights: Folder that ``python -m training fit`` wrote for it.
        config: How it is trained.
    """

    folder: Path
    bundle: Bundle
    weights: Path
    config: CognitionConfig = CognitionConfig()

    def learn(self, sources: Sources, out: Path) -> dict[str, Any]:
        """Train, measure on people who were not trained on, and write weights and report into ``out``.

        Returns:
            The report.
        """
        known, unseen = self.scenes(sources)
        model = self.untrained(known)
        fit(model, known, self.config, self.folder)
        save_weights(model, self.config.lora, out)
        counted = {
            name: sum(scene.person.startswith(f"{name}:") for scene in known) for name in ("synthesis", *REAL)
        }
        return {"scenes": counted, "settings": self.config.to_json(), **report(tell(model, unseen))}

    def scenes(self, sources: Sources) -> tuple[list[Scene], list[Scene]]:
        """Scenes to learn from, and of generated people to measure on; each observed once."""
        store, observer = SceneStore(self.folder / "scenes", self.bundle), Observer(self.bundle)
        records = read_truth(sources.synthesis)
        generated_scenes(observer, store, sources.synthesis, records)
        real = real_scenes(observer, store, sources.root, REAL) if sources.root else []
        learnt = [r["id"] for r in records if r["split"] == "train"]
        other = [r["id"] for r in records if r["split"] != "train"]
        return list(read_scenes(store, [*learnt, *real])), list(read_scenes(store, other))

    def untrained(self, scenes: Sequence[Scene]) -> Cognition:
        """The network as training begins."""
        torch.manual_seed(self.config.seed)
        net, language = self._perception(), self._language()
        adapters = SoftTokenAdapters(net)
        whole = [Lesson(scene, scene.has, "reason", "", "", "") for scene in scenes]
        words = language.model.get_input_embeddings()
        start_from_words(adapters, net, whole, words, language.codec)
        return Cognition(net, adapters, language)

    def _perception(self) -> PerceptionNet:
        net = PerceptionNet()
        state = load_file(self.weights / "fusion.safetensors")
        net.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        return net.eval()

    def _language(self) -> LanguageModel:
        preset = LanguagePreset(
            model="smollm2-135m",
            template="smollm2",
            lora=self.config.lora,
            longest=192,
            precision="bfloat16",
        )
        return load_language_model(preset)


def save_weights(model: Cognition, lora: LoraPreset, out: Path) -> None:
    """Write what was trained: adapters in half precision, LoRA under the names of GGUF, rows in its order."""
    state = {name: value.half().contiguous() for name, value in model.adapters.state_dict().items()}
    write_whole(out / SOFT_TOKENS, lambda part: save_file(state, part))
    found = low_rank(model.trained(), lora.alpha / lora.rank, model.llama_model.config)
    write_whole(out / LORA, lambda part: write_lora(found, part))


def low_rank(trained: Mapping[str, Tensor], scale: float, config: Any) -> dict[str, LowRank]:
    """LoRA of peft by GGUF's names of the matrices.

    Args:
        trained: By peft's names of parameters.
        scale: alpha / rank.
        config: The ``LlamaConfig``: GGUF keeps the rows of rotary heads in another order.
    """
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    found = {}
    for name, a in trained.items():
        if not name.endswith("lora_A.default.weight"):
            continue
        parts = name.split(".")
        layer, matrix = parts[parts.index("layers") + 1], parts[parts.index("lora_A") - 1]
        ours = _MATRICES[matrix]
        b = trained[name.replace("lora_A", "lora_B")].detach().float() * scale
        b = permuted(b, heads[ours]) if ours in heads else b
        found[f"blk.{layer}.{ours}.weight"] = LowRank(_array(a), _array(b))
    return found


def _array(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().cpu().numpy()
