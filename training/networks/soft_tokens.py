"""From what the default bundle's network perceived to soft tokens for its language model.

One linear adapter a stream, in the order of Emotion-LLaMAv2 (Peng et al., arXiv 2601.16449): [fusion | image
| video | audio]. The network below stays as it is; a sense that is missing has no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.networks.emotion_llama import STREAMS, SoftTokens
from training.networks.perception_net import PerceptionNet, statistics


@dataclass(frozen=True)
class SoftTokensConfig:
    """Sizes.

    Attributes:
        layout: Tokens of each stream in the prompt.
        language: Width of the language model.
    """

    layout: Mapping[str, int] = field(
        default_factory=lambda: {"fusion": 4, "image": 1, "video": 4, "audio": 4}
    )
    language: int = 576


#: Standardised features are cut off here: far from all that was seen in training, no single one decides.
FARTHEST = 4.0


class Standard(nn.Module):
    """Features less their mean in training, over their deviation there: a Whisper has a few huge channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def measure(self, found: Tensor) -> None:
        """Take mean and deviation of features (N, width)."""
        self.centre.copy_(found.mean(0))
        self.scale.copy_(found.std(0).clamp(min=1e-3))

    def forward(self, found: Tensor) -> Tensor:
        """Standardise (..., width)."""
        return ((found - self.centre) / self.scale).clamp(-FARTHEST, FARTHEST)


class SoftTokenAdapters(nn.Module):
    """Streams to soft tokens. A token of sound or film is mean and deviation of its part of the window."""

    def __init__(self, net: PerceptionNet, config: SoftTokensConfig | None = None) -> None:
        """Build for the streams of ``net``, which is not kept."""
        super().__init__()
        self.config = config = config or SoftTokensConfig()
        sizes = net.config
        self.blocks = tuple(sizes.voice_blocks)
        widths = (
            2 * sizes.output,
            sizes.vision,
            2 * sizes.vision,
            2 * sizes.audio * len(self.blocks),
        )
        self.norms, self.adapters = nn.ModuleDict(), nn.ModuleDict()
        for name, width in zip(STREAMS, widths, strict=True):
            self.norms[name] = Standard(width)
            self.adapters[name] = nn.Linear(width, config.language)

    def forward(
        self, audio: Tensor, image: Tensor, video: Tensor, fused: Tensor, present: Tensor
    ) -> SoftTokens:
        """Adapt a batch.

        Args:
            audio: (B, L, T, audio) outputs of the audio encoder's blocks.
            image: (B, vision) feature of one frame.
            video: (B, T, vision) tokens of many frames.
            fused: (B, T, output), third result of ``PerceptionNet``.
            present: (B, 2), 1 where audio, vision are there, else 0.
        """
        counts, streams = self.config.layout, self.streams(audio, image, video, fused)
        hears, sees = present[:, :1] > 0.5, present[:, 1:] > 0.5
        here = dict(zip(STREAMS, (hears | sees, sees, sees, hears), strict=True))
        mask = torch.cat([here[name].expand(-1, counts[name]) for name in STREAMS], 1)
        tokens = torch.cat([self.adapters[name](self.norms[name](streams[name])) for name in STREAMS], 1)
        return SoftTokens(torch.where(mask.unsqueeze(-1), tokens, 0.0), mask)

    def streams(self, audio: Tensor, image: Tensor, video: Tensor, fused: Tensor) -> dict[str, Tensor]:
        """What each adapter reads of a batch, (B, tokens, width), by stream."""
        counts = self.config.layout
        return {
            "fusion": parts(fused, counts["fusion"]),
            "image": image.unsqueeze(1).expand(-1, counts["image"], -1),
            "video": parts(video, counts["video"]),
            "audio": torch.cat([parts(audio[:, block], counts["audio"]) for block in self.blocks], -1),
        }


def parts(tokens: Tensor, count: int) -> Tensor:
    """Mean and deviation of ``count`` equal parts of a stream: (B, T, D) to (B, count, 2 D)."""
    length, width = tokens.shape[1:]
    inside = tokens.reshape(-1, length // count, width)
    return statistics(inside).reshape(-1, count, 2 * width)
