"""A preset: the whole system as one yaml file, checked before anything is built.

``tiny`` runs on two CPU cores, ``v2_7b`` is the paper's; what lies between needs a yaml file and nothing
else. The fields below are the whole schema; a wrong key, or parts that do not fit together, are refused with
what is available.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from emollama_ros.errors import ConfigError
from emollama_ros.labels import DEFAULT_LABELS
from training.mmeverse.instructions.template import TEMPLATES

CONFIGS = Path(__file__).parent / "configs"

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
#: Backbones that are known by name.
VISION_BACKBONES = ("efficientnet-lite0", "eva-vit-g")
AUDIO_BACKBONES = ("whisper-tiny.en",)
LANGUAGE_MODELS = ("smollm2-135m",)
#: What names of other models begin with: the library that loads them.
LIBRARIES = {"vision": ("hf:", "timm:"), "audio": ("hf:",), "language": ("hf:",)}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class VisionPreset(_Part):
    """The picture encoder and its two views.

    Attributes:
        backbone: One of `VISION_BACKBONES`, or ``hf:PATH_OR_ID``, ``timm:NAME``.
        weights: File of the weights where the name alone does not tell it (eva-vit-g).
        image_size: Side of the one large image, pixels.
        image_frame: Which frame that is. The authors train on the peak and infer on the first frame.
        joined: Neighbouring patches that become one image token.
        video_size: Side of the many small frames, pixels.
        frames: How many, uniformly over the clip.
        cells: Tokens a side that each is averaged to.
        video_depth: Where frames are read: where the ``image`` is, or behind the ``last`` block and norm of
            eva-vit-g, as the authors do.
        normalise: Statistics of the pixels: ``clip``, ``imagenet`` or ``own`` (inside the backbone).
        video_normalise: Of the frames' pixels; None takes those of the image.
        precision: Of the frozen weights.
    """

    backbone: str
    weights: str | None = None
    image_size: Count
    image_frame: Literal["middle", "first", "peak"] = "middle"
    joined: Count = 1
    video_size: Count
    frames: Count
    cells: Count = 1
    video_depth: Literal["image", "last"] = "image"
    normalise: Literal["clip", "imagenet", "own"] = "own"
    video_normalise: Literal["clip", "imagenet", "own"] | None = None
    precision: Literal["float32", "float16", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _views_fit_the_backbone(self) -> VisionPreset:
        if self.video_depth == "last" and self.backbone != "eva-vit-g":
            raise ValueError(f"video_depth: last is for eva-vit-g; {self.backbone} takes image")
        pair = {self.normalise, self.video_normalise or self.normalise}
        if len(pair) > 1 and "own" in pair:
            raise ValueError("normalise and video_normalise: own is inside the backbone, so for both or none")
        return self

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Kept features and runs to resume are known by what is written here: it stays as it was for presets
        # that do not use what came later.
        defaults = {"video_depth": "image", "video_normalise": None}
        return {name: value for name, value in write(self).items() if (name, value) not in defaults.items()}


class AudioPreset(_Part):
    """The sound encoder.

    Attributes:
        backbone: One of `AUDIO_BACKBONES`, or ``hf:PATH_OR_ID`` (Whisper, HuBERT).
        pad_to_s: Pad every clip to so many seconds, as the paper does; None encodes the clip as it is.
        layers: Blocks whose outputs are weighed; 1 takes the last.
        precision: Of the frozen weights.
    """

    backbone: str
    pad_to_s: Positive | None = None
    layers: Count = 1
    precision: Literal["float32", "float16", "bfloat16"] = "float32"


class TokensPreset(_Part):
    """Soft tokens in the prompt, a stream."""

    fusion: Count
    image: Count
    video: Count
    audio: Count


class FusionPreset(_Part):
    """Pre-fusion; see `training.networks.fusion.FusionConfig`."""

    kind: Literal["none", "attention", "conv", "qformer", "conv_attention"] = "conv_attention"
    hidden: Count = 512
    width: Count = 128
    output: Count = 256
    blocks: Count = 4
    layers: Count = 2
    dropout: Share = 0.1
    normalise: bool = False


class LoraPreset(_Part):
    """LoRA (Hu et al., arXiv 2106.09685) through peft."""

    rank: Count = 64
    alpha: Positive = 16.0
    dropout: Share = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")


class LanguagePreset(_Part):
    """The language model.

    Attributes:
        model: One of `LANGUAGE_MODELS`, or ``hf:PATH_OR_ID`` of any LLaMA-architecture causal LM.
        template: Name of the prompt template (`training.mmeverse.instructions.template`).
        lora: What is trained of it.
        longest: Most text tokens of prompt and answer; longer transcripts are cut.
        precision: Of the frozen weights.
        checkpointing: Compute activations twice rather than keep them.
    """

    model: str
    template: str
    lora: LoraPreset = LoraPreset()
    longest: Count = 1024
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    checkpointing: bool = False


class HeadPreset(_Part):
    """The perception head: its labels, and how much it counts beside the language model's loss."""

    labels: tuple[str, ...] = DEFAULT_LABELS
    weight: Annotated[float, Field(ge=0)] = 1.0
    affect_weight: Annotated[float, Field(ge=0)] = 0.5
    smoothing: Share = 0.0


class StagePreset(_Part):
    """One stage of the curriculum.

    Attributes:
        stage: 1 perception, 2 cognition: which tasks its samples have; ``joint`` takes turns between them.
        steps: Optimiser steps.
        batch: Samples a step and process.
        accumulate: Batches a step.
        rate: Peak learning rate.
        least_rate: At the end of the cosine, and at the start of the warm-up.
        warmup: Steps of the linear warm-up.
        weight_decay: AdamW's.
        betas: AdamW's.
        clip_norm: Largest norm of the gradient; None leaves it as it is.
        modality_dropout: Chance that a clip with sound and pictures loses one of them; either is as likely.
        weights: Share of each source and replay set by name, in any unit: instead of, or besides, the paper's
            (``training/mmeverse/instructions/mixes.yaml``). Sources that are not there are left out.
        head_clips: Labelled clips a batch that the perception head learns from besides; they cost next to
            nothing, because the language model does not read them.
        save_every: Steps between checkpoints.
    """

    stage: Literal[1, 2, "joint"]
    steps: Count
    batch: Count = 1
    accumulate: Count = 1
    rate: Positive = 1e-4
    least_rate: Positive = 1e-6
    warmup: Annotated[int, Field(ge=0)] = 1000
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: Positive | None = None
    modality_dropout: Share = 0.0
    weights: dict[str, Positive] = {}
    head_clips: Annotated[int, Field(ge=0)] = 0
    save_every: Count = 500

    @property
    def mixes(self) -> tuple[int, ...]:
        """The stages whose tasks its samples have."""
        return (1, 2) if self.stage == "joint" else (self.stage,)

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs to resume are known by what is written here: see `VisionPreset`.
        return {name: value for name, value in write(self).items() if (name, value) != ("head_clips", 0)}

    @model_validator(mode="after")
    def _ends_after_its_warmup(self) -> StagePreset:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} is not shorter than steps {self.steps}")
        return self


class Preset(_Part):
    """The whole system.

    Attributes:
        name: Of lower-case letters, digits and underscores.
        vision: The picture encoder.
        audio: The sound encoder.
        tokens: Soft tokens.
        fusion: Of the streams.
        language: The language model.
        head: The perception head.
        curriculum: Stages, in order.
        seed: Of everything that is drawn.
        start: Weights to begin with, of a network of the same sizes: a file, the folder of an earlier run, or
            what `import-released` wrote; None begins anew. What is frozen is never in them.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    vision: VisionPreset
    audio: AudioPreset
    tokens: TokensPreset
    fusion: FusionPreset = FusionPreset()
    language: LanguagePreset
    head: HeadPreset = HeadPreset()
    curriculum: tuple[StagePreset, ...]
    seed: int = 42
    start: str | None = None

    @model_serializer(mode="wrap")
    def _without_later_fields(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Runs to resume are known by what is written here: see `VisionPreset`.
        return {name: value for name, value in write(self).items() if (name, value) != ("start", None)}

    @model_validator(mode="after")
    def _backbones_are_known(self) -> Preset:
        for part, name, known in (
            ("vision", self.vision.backbone, VISION_BACKBONES),
            ("audio", self.audio.backbone, AUDIO_BACKBONES),
            ("language", self.language.model, LANGUAGE_MODELS),
        ):
            libraries = LIBRARIES[part]
            if name not in known and not name.startswith(libraries):
                available = ", ".join((*known, *(f"{prefix}NAME" for prefix in libraries)))
                raise ValueError(f"{part}: no backbone {name!r}; available: {available}")
        return self

    @model_validator(mode="after")
    def _template_is_known(self) -> Preset:
        if self.language.template not in TEMPLATES:
            available = ", ".join(TEMPLATES)
            raise ValueError(
                f"language.template: none named {self.language.template!r}; available: {available}"
            )
        return self

    @model_validator(mode="after")
    def _tokens_fit(self) -> Preset:
        if self.vision.backbone == "eva-vit-g":
            patches = (self.vision.image_size // 14) ** 2
            if self.vision.image_size % 14 or self.vision.video_size % 14:
                raise ValueError("vision: eva-vit-g needs image_size and video_size that 14 divides")
            if patches != self.tokens.image * self.vision.joined:
                raise ValueError(
                    f"tokens.image {self.tokens.image}: {patches} patches joined by {self.vision.joined} "
                    f"are {patches // self.vision.joined} tokens"
                )
            if self.vision.weights is None:
                raise ValueError("vision.weights: eva-vit-g needs the path of eva_vit_g.pth or .safetensors")
        return self


def load_preset(name: str | Path) -> Preset:
    """Read a preset.

    Args:
        name: A yaml file, or the name of one in ``training/configs``.

    Raises:
        ConfigError: No such file, no yaml, a wrong key or value, or parts that do not fit together.
    """
    path = Path(name)
    if not path.suffix and (CONFIGS / f"{name}.yaml").is_file():
        path = CONFIGS / f"{name}.yaml"
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"{name}: no such preset file; presets by name: {known}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not yaml: {error}") from None
    return parse_preset(data, str(path))


def parse_preset(data: Any, where: str = "preset") -> Preset:
    """Check a preset that was read already; ``where`` is what the errors call it.

    Raises:
        ConfigError: As `load_preset`.
    """
    try:
        return Preset.model_validate_json(json.dumps(data, default=str))  # its lists are taken for tuples
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "preset"
    if first["type"] == "extra_forbidden":
        available = ", ".join(_fields_at(first["loc"][:-1]))
        return f"{field}: no such key; available: {available}"
    found = "" if first["type"] in ("missing", "value_error") else f" (found {first['input']!r})"
    return f"{field}: {first['msg'].removeprefix('Value error, ')}{found}"


def _fields_at(place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the part at a place of the preset."""
    parts: dict[str, type[_Part]] = {
        "vision": VisionPreset,
        "audio": AudioPreset,
        "tokens": TokensPreset,
        "fusion": FusionPreset,
        "language": LanguagePreset,
        "lora": LoraPreset,
        "head": HeadPreset,
        "curriculum": StagePreset,
    }
    names = [step for step in place if isinstance(step, str)]
    return list((parts[names[-1]] if names else Preset).model_fields)
