"""Features of a window to label scores, valence and arousal: Conv-Attention and the perception head.

Two additions to Emotion-LLaMAv2 that a robot needs: a head on the fused features, so that a label does
not wait for the language model, and modality masks that really mask. A missing modality is replaced by a
learned embedding before anything reads it, so that whatever stands in its place cannot change one bit.

Each sense also has a direct path to the scores, linear in mean and deviation over time. With few people to
learn from it is what carries over to new ones; the fused path adds what the senses say together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.networks.conv_attention import ConvAttention, ConvAttentionConfig


@dataclass(frozen=True)
class PerceptionNetConfig:
    """Sizes of the perception network.

    Attributes:
        audio_layers: Blocks of the audio encoder whose outputs are weighed.
        voice_blocks: Blocks that the direct path of the voice reads, counted from 0. The middle ones know
            most of how something is said; the last one prepares for words.
        audio: Feature size of an audio token.
        vision: Feature size of a vision token.
        tokens: Length of every stream.
        labels: Number of labels.
        hidden: Width of the first layer of Conv-Attention's projections.
        width: Width of a projected stream.
        output: Width of a fused token.
        dropout: Dropout of the projections and before the heads.
    """

    audio_layers: int = 4
    voice_blocks: tuple[int, ...] = (1, 2)
    audio: int = 384
    vision: int = 256
    tokens: int = 16
    labels: int = 7
    hidden: int = 256
    width: int = 128
    output: int = 256
    dropout: float = 0.3

    def fusion(self) -> ConvAttentionConfig:
        """Sizes of the Conv-Attention inside."""
        inputs = (self.audio, self.vision, self.vision)
        return ConvAttentionConfig(inputs, self.hidden, self.width, self.output, dropout=self.dropout)


class DirectPath(nn.Module):
    """Mean and deviation of a sense over time, standardised, to scores: linear, to be regularised.

    Args:
        size: Length of the statistics.
        outputs: Labels, valence and arousal.
        dropout: Of the statistics.
    """

    def __init__(self, size: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(size, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def standardise(self, found: Tensor) -> None:
        """Take centre and scale from statistics (N, size) of training windows."""
        self.centre.copy_(found.mean(0))
        self.scale.copy_(found.std(0).clamp(min=1e-3))

    def forward(self, found: Tensor) -> Tensor:
        """Map statistics (B, size) to (B, outputs)."""
        return self.linear(self.dropout((found - self.centre) / self.scale))


class PerceptionNet(nn.Module):
    """Streams: audio, image (one frame, repeated), video. Masks: audio, and vision for the other two."""

    def __init__(self, config: PerceptionNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PerceptionNetConfig()
        outputs = config.labels + 2
        self.layer_weights = nn.Parameter(torch.zeros(config.audio_layers))
        self.audio_norm, self.vision_norm = nn.LayerNorm(config.audio), nn.LayerNorm(config.vision)
        self.fusion = ConvAttention(config.fusion())
        self.absent = nn.Parameter(torch.zeros(3, config.width))
        self.dropout = nn.Dropout(config.dropout)
        # Mean and deviation over time: how a voice varies says as much as where it lies.
        self.head = nn.Linear(2 * config.output, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.voice = DirectPath(2 * config.audio * len(config.voice_blocks), outputs, config.dropout)
        self.face = DirectPath(2 * config.vision, outputs, config.dropout)

    def forward(
        self, audio: Tensor, image: Tensor, video: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Perceive a batch of windows.

        Args:
            audio: (B, L, T, audio) outputs of the audio encoder's blocks.
            image: (B, vision) feature of one frame.
            video: (B, T, vision) tokens of many frames.
            present: (B, 2), 1 where audio, vision are there, else 0.

        Returns:
            Logits (B, labels); valence and arousal (B, 2) in [-1, 1]; fused tokens (B, T, output).
        """
        here = present.unsqueeze(-1).unsqueeze(-1) > 0.5
        fused = self._fuse(*self._streams(audio, image, video, here), here)
        out = self.head(self.dropout(statistics(fused)))
        for path, found, is_there in (
            (self.voice, self.voice_statistics(audio), here[:, 0, 0]),
            (self.face, statistics(video), here[:, 1, 0]),
        ):
            out = out + torch.where(is_there, path(found), 0.0)
        return out[:, :-2], torch.tanh(out[:, -2:]), fused

    def voice_statistics(self, audio: Tensor) -> Tensor:
        """What the voice's direct path reads of (B, L, T, audio)."""
        return torch.cat([statistics(audio[:, block]) for block in self.config.voice_blocks], -1)

    def _streams(self, audio: Tensor, image: Tensor, video: Tensor, here: Tensor) -> tuple[Tensor, ...]:
        layers = self.layer_weights.softmax(0).view(1, -1, 1, 1)
        audio = torch.where(here[:, 0], self.audio_norm((audio * layers).sum(1)), 0.0)
        image = torch.where(here[:, 1], self.vision_norm(image).unsqueeze(1).expand_as(video), 0.0)
        video = torch.where(here[:, 1], self.vision_norm(video), 0.0)
        return audio, image, video

    def _fuse(self, audio: Tensor, image: Tensor, video: Tensor, here: Tensor) -> Tensor:
        projected = self.fusion.project([audio, image, video])
        masks = (here[:, 0], here[:, 1], here[:, 1])
        return self.fusion.fuse(
            [
                torch.where(mask, stream, self.absent[i])
                for i, (mask, stream) in enumerate(zip(masks, projected, strict=True))
            ]
        )


def statistics(tokens: Tensor) -> Tensor:
    """Mean and standard deviation over time: (B, T, D) to (B, 2 D)."""
    mean = tokens.mean(1)
    variance = (tokens - mean.unsqueeze(1)).square().mean(1)
    return torch.cat([mean, (variance + 1e-5).sqrt()], -1)
