"""What the authors of Emotion-LLaMAv2 released, loaded into our modules."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from emollama_ros.errors import InputError
from training.networks.conv_attention import ConvAttention, ConvAttentionConfig

#: What released checkpoints put before the names of the Conv-Attention module.
FUSION_PREFIX = "conv_pro_module."


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
