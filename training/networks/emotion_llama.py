"""Emotion-LLaMAv2 (Peng et al., arXiv 2601.16449): features to soft tokens to a LLaMA that says what and why.

Features of frozen encoders go two ways. Conv-Attention fuses them, and a head on the fused sequence gives
label scores, valence and arousal at once: the fast path, which is ours. The fused sequence and the three
streams, each through one linear adapter, become soft tokens in the prompt of the language model: [fusion |
image | video | audio], in the released order, under the released names of the weights.

Unlike the released code, a missing modality is masked: its tokens get no attention and take no positions, so
that the prompt is the same as one without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.networks.fusion import Fusion, FusionConfig
from training.networks.perception_net import statistics

#: Order of the soft tokens in the prompt.
STREAMS = ("fusion", "image", "video", "audio")
#: Marks the place of a soft token in token ids; the value that cross entropy ignores, in targets.
SOFT, IGNORED = -1, -100


@dataclass(frozen=True)
class EmotionLlamaConfig:
    """Sizes; the defaults are the released model's.

    Attributes:
        fusion: Of the streams audio, image, video.
        audio: Width of an audio token.
        image: Width of an image token.
        video: Width of a video token.
        image_tokens: Of one image.
        video_tokens: Of the frames.
        audio_tokens: Of the sound.
        audio_layers: Blocks of the audio encoder that are weighed; 1 takes the one that is given.
        normalise: LayerNorm on the streams before anything else; the released model has none.
        language: Width of the language model.
        labels: Of the perception head.
    """

    fusion: FusionConfig = FusionConfig()
    audio: int = 1280
    image: int = 5632
    video: int = 1408
    image_tokens: int = 256
    video_tokens: int = 64
    audio_tokens: int = 64
    audio_layers: int = 1
    normalise: bool = False
    language: int = 4096
    labels: int = 7

    @property
    def layout(self) -> dict[str, int]:
        """How many soft tokens each stream has, in the order of the prompt."""
        fused = 0 if self.fusion.kind == "none" else self.fusion.tokens
        counts = (fused, self.image_tokens, self.video_tokens, self.audio_tokens)
        return dict(zip(STREAMS, counts, strict=True))

    @property
    def soft_tokens(self) -> int:
        """How many soft tokens a prompt has."""
        return sum(self.layout.values())


@dataclass(frozen=True)
class Features:
    """What the encoders give for B clips.

    Attributes:
        audio: (B, L, T, audio), outputs of L blocks.
        image: (B, image_tokens, image), patches of one frame.
        glance: (B, video), that frame as one vector.
        video: (B, T, video), tokens of many frames.
        present: (B, 3) bool: sound, one picture, many. What is not there may hold anything.
    """

    audio: Tensor
    image: Tensor
    glance: Tensor
    video: Tensor
    present: Tensor

    def to(self, *args: Any, **kwargs: Any) -> Features:
        """The same on another device, or in another floating-point type."""
        moved = {k: v.to(*args, **kwargs) if v.is_floating_point() else v for k, v in vars(self).items()}
        device = moved["audio"].device
        return Features(**{k: v.to(device) for k, v in moved.items()})


@dataclass(frozen=True)
class Perceived:
    """What the fast path says: logits (B, labels); valence and arousal (B, 2) in [-1, 1]."""

    logits: Tensor
    affect: Tensor


@dataclass(frozen=True)
class SoftTokens:
    """(B, N, language) in the order of `STREAMS`, and which of them are there, (B, N) bool."""

    tokens: Tensor
    mask: Tensor


class PerceptionHead(nn.Module):
    """Scores of labels, valence and arousal from mean and deviation over time of the fused sequence; ours."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.out = nn.Linear(2 * width, labels + 2)

    def forward(self, fused: Tensor) -> Perceived:
        """Read a fused sequence (B, T, width)."""
        out = self.out(statistics(fused))
        return Perceived(out[:, :-2], torch.tanh(out[:, -2:]))


class EmotionLlama(nn.Module):
    """Fusion, adapters, head, and a causal language model that takes ``inputs_embeds``."""

    def __init__(self, config: EmotionLlamaConfig, llama_model: nn.Module | None = None) -> None:
        """Build; without a language model only the fast path and the soft tokens can be had."""
        super().__init__()
        self.config = config
        if config.audio_layers > 1:
            self.layer_weights = nn.Parameter(torch.zeros(config.audio_layers))
        sizes = {"audio": config.audio, "image": config.image, "video": config.video}
        norms = {k: nn.LayerNorm(v) if config.normalise else nn.Identity() for k, v in sizes.items()}
        self.norms = nn.ModuleDict(norms)
        self.fusion = Fusion(config.fusion)
        self.head = PerceptionHead(config.fusion.sizes.output, config.labels)
        if config.fusion.kind != "none":
            self.llama_proj_fusion = nn.Linear(config.fusion.sizes.output, config.language)
        self.llama_proj = nn.Linear(config.image, config.language)
        self.llama_proj_video = nn.Linear(config.video, config.language)
        self.llama_proj_audio = nn.Linear(config.audio, config.language)
        self.llama_model = llama_model

    def perceive(self, features: Features) -> tuple[Perceived, SoftTokens]:
        """Run the fast path and make the soft tokens, without the language model."""
        audio, image, video, glance = self._streams(features)
        hears, sees, watches = features.present.unbind(-1)
        count = self.config.fusion.tokens
        streams = [
            _resample(audio, count),
            glance.unsqueeze(1).expand(-1, count, -1),
            _resample(video, count),
        ]
        fused = self.fusion(streams, features.present)
        adapted = [self.llama_proj_fusion(fused)] if self.config.fusion.kind != "none" else []
        adapted += [
            self.llama_proj(image),
            self.llama_proj_video(_resample(video, self.config.video_tokens)),
            self.llama_proj_audio(_resample(audio, self.config.audio_tokens)),
        ]
        here = dict(zip(STREAMS, (features.present.any(-1), sees, watches, hears), strict=True))
        mask = torch.cat(
            [here[name].unsqueeze(-1).expand(-1, n) for name, n in self.config.layout.items()], -1
        )
        tokens = torch.where(mask.unsqueeze(-1), torch.cat(adapted, dim=1), 0.0)
        return self.head(fused), SoftTokens(tokens, mask)

    def _streams(self, features: Features) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Audio, image, video and glance, normalised; zeros where they are not there."""
        hears, sees, watches = (flag[:, None, None] for flag in features.present.unbind(-1))
        layers = self.layer_weights.softmax(0) if self.config.audio_layers > 1 else features.audio.new_ones(1)
        audio = (torch.where(hears[..., None], features.audio, 0.0) * layers[:, None, None]).sum(1)
        glance = torch.where(sees[..., 0], features.glance, 0.0)
        return (
            self.norms["audio"](audio),
            self.norms["image"](torch.where(sees, features.image, 0.0)),
            self.norms["video"](torch.where(watches, features.video, 0.0)),
            self.norms["video"](glance),
        )

    def forward(
        self, features: Features, ids: Tensor, mask: Tensor, targets: Tensor, further: Features | None = None
    ) -> tuple[Perceived, Tensor]:
        """Perceive, and read the prompt with its answer.

        Args:
            features: Of B clips.
            ids: As in `prompt`.
            mask: As in `prompt`.
            targets: (B, S) token ids of the answer, `IGNORED` everywhere else.
            further: Of clips that are perceived too, but not asked about.

        Returns:
            What the fast path says of the B clips and the further ones, and the mean cross entropy of the
            answers' tokens.
        """
        perceived, soft = self.perceive(features)
        if further is not None:
            more, _ = self.perceive(further)
            logits, affect = (
                torch.cat([perceived.logits, more.logits]),
                torch.cat([perceived.affect, more.affect]),
            )
            perceived = Perceived(logits, affect)
        return perceived, answer_losses(self.llama_model, ids, mask, soft, targets)[0].mean()

    def prompt(self, ids: Tensor, mask: Tensor, soft: SoftTokens) -> dict[str, Tensor]:
        """Put soft tokens into their places among the embedded words; see `prompt_inputs`."""
        assert self.llama_model is not None
        return prompt_inputs(self.llama_model, ids, mask, soft)


def prompt_inputs(llama_model: nn.Module, ids: Tensor, mask: Tensor, soft: SoftTokens) -> dict[str, Tensor]:
    """Put soft tokens into their places among the embedded words.

    Args:
        llama_model: A causal language model, with LoRA or without.
        ids: (B, S) token ids, `SOFT` where a soft token belongs: as many a row as there are soft tokens.
        mask: (B, S) bool, False for padding.
        soft: The soft tokens.

    Returns:
        ``inputs_embeds``, ``attention_mask`` and ``position_ids`` for the language model. Masked tokens
        take no positions, so that a prompt with a masked stream is the same as one without it.
    """
    is_soft = ids == SOFT
    words = llama_model.get_input_embeddings()(ids.clamp(min=0))
    embedded = words.masked_scatter(is_soft.unsqueeze(-1), soft.tokens.to(words.dtype))
    attended = mask.masked_scatter(is_soft, soft.mask)
    positions = (attended.long().cumsum(-1) - 1).clamp(min=0)
    return {"inputs_embeds": embedded, "attention_mask": attended.long(), "position_ids": positions}


def answer_losses(
    llama_model: nn.Module | None, ids: Tensor, mask: Tensor, soft: SoftTokens, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross entropy of each token of the answers (N,), and the row that it is of (N,).

    No other position pays for the vocabulary.

    Args:
        llama_model: A causal language model, with LoRA or without.
        ids: As for `prompt_inputs`.
        mask: As for `prompt_inputs`.
        soft: The soft tokens.
        targets: (B, S) token ids of the answer, `IGNORED` everywhere else.
    """
    assert llama_model is not None
    llama = getattr(llama_model, "get_base_model", lambda: llama_model)()
    prompt = prompt_inputs(llama_model, ids, mask, soft)
    hidden = llama.model(**prompt, use_cache=False).last_hidden_state[:, :-1]
    wanted = targets[:, 1:] != IGNORED
    logits = llama.lm_head(hidden[wanted]).float()
    losses = F.cross_entropy(logits, targets[:, 1:][wanted], reduction="none")
    return losses, wanted.nonzero()[:, 0]


def _resample(tokens: Tensor, count: int) -> Tensor:
    """Average (B, T, D) over time to ``count`` tokens (adaptive average pooling, as the released code)."""
    if tokens.shape[1] == count:
        return tokens
    return F.adaptive_avg_pool1d(tokens.transpose(1, 2), count).transpose(1, 2)
