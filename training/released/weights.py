"""What the authors of Emotion-LLaMAv2 released, loaded into our modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from emollama_ros.errors import InputError
from training.networks.conv_attention import ConvAttention, ConvAttentionConfig

if TYPE_CHECKING:
    from training.networks.emotion_llama import EmotionLlama

#: What released checkpoints put before the names of the Conv-Attention module.
FUSION_PREFIX = "conv_pro_module."
#: Parameters that we added to the released model: the perception head, and what stands for a missing stream.
OURS_ALONE = ("head.", "fusion.absent")


def our_name(name: str) -> str:
    """The name here of a weight in a released checkpoint; a name that is not known stays as it is.

    The adapters have the same names. LoRA's have none of an adapter in them where peft 0.2.0 wrote them, as
    the authors' version did, and ``default`` where a newer one did.
    """
    if name.startswith(FUSION_PREFIX):
        return f"fusion.{name}"
    stem, _, last = name.rpartition(".")
    return f"{stem}.default.{last}" if stem.endswith((".lora_A", ".lora_B")) else name


def is_ours_alone(name: str) -> bool:
    """Whether no released checkpoint has this parameter."""
    return name.startswith(OURS_ALONE)


def load_released(net: EmotionLlama, path: Path) -> tuple[str, ...]:
    """Load what `import-released` wrote, or any file of trained weights under our names, into a network.

    Args:
        net: With its language model, under LoRA.
        path: ``emotion_llama.safetensors``.

    Returns:
        Names of parameters that the file leaves as they are; only what is ours alone can be among them.

    Raises:
        InputError: The file cannot be read, or does not hold the trained weights of such a network.
    """
    from training.released.files import read_tensors

    found = read_tensors(path)
    needed = {name: p for name, p in net.named_parameters() if p.requires_grad}
    absent = tuple(name for name in needed if name not in found)
    if lacking := [name for name in absent if not is_ours_alone(name)]:
        raise InputError(f"{path}: lacks {lacking[0]} and {len(lacking) - 1} more of this network's weights")
    for name, value in found.items():
        if name not in needed:
            raise InputError(f"{path}: {name} is no trained weight of this network")
        if value.shape != needed[name].shape:
            found_shape, needed_shape = tuple(value.shape), tuple(needed[name].shape)
            raise InputError(f"{path}: {name} is {found_shape}, {needed_shape} is needed")
    net.load_state_dict(found, strict=False)
    return absent


def load_conv_attention(state: Mapping[str, ArrayLike | Tensor]) -> ConvAttention:
    """Build the module from released weights; every size is read off their shapes.

    Args:
        state: Released names (``feats_prep.0.0.weight``, ..., ``fc_final.bias``), with or without the prefix
            ``conv_pro_module.``, to arrays or tensors. ``global_avg_pool`` has no weights.

    Returns:
        The module, without dropout until `train` is called.

    Raises:
        InputError: Weights are missing, unknown, or of shapes that do not fit together.
    """
    tensors = {name.removeprefix(FUSION_PREFIX): torch.as_tensor(value) for name, value in state.items()}
    try:
        net = ConvAttention(_config_of(tensors))
        net.load_state_dict(tensors, strict=True)
    except KeyError as error:
        raise InputError(f"no weight {error.args[0]!r} among {sorted(tensors)[:6]}...") from None
    except RuntimeError as error:
        raise InputError(f"not the weights of a Conv-Attention module: {error}") from None
    return net.eval()


def _config_of(tensors: Mapping[str, Tensor]) -> ConvAttentionConfig:
    streams = len({name.split(".")[1] for name in tensors if name.startswith("feats_prep.")})
    blocks = len({name.split(".")[2] for name in tensors if name.startswith("conv_module.")})
    output, width = tensors["fc_final.weight"].shape
    return ConvAttentionConfig(
        inputs=tuple(tensors[f"feats_prep.{i}.0.weight"].shape[1] for i in range(streams)),
        hidden=tensors["attention_mlp.0.weight"].shape[0],
        width=width,
        output=output,
        blocks=blocks,
    )
