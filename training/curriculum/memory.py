"""What training a preset takes of a GPU's memory, worked out from sizes alone; nothing is loaded.

The parts are those of the ZeRO paper (Rajbhandari et al., arXiv 1910.02054): weights, gradients, the moments
of AdamW, and the activations that are kept for the backward pass. Frozen weights have neither gradients nor
moments, and a frozen layer keeps no input: its weights alone give the gradient of what was before it. So
activations are fewer than in full training. docs/training.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from emollama_ros.errors import ConfigError
from training.presets import AudioPreset, LanguagePreset, Preset, VisionPreset

Sharding = Literal["ddp", "fsdp"]
BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
#: Gradients, and each of AdamW's two moments: what is trained is kept in single precision.
_SINGLE = 4
#: Width and number of parameters of encoders whose sizes are published, so that they need not be loaded.
_VISION = {"efficientnet-lite0": (1280, 3_371_008), "eva-vit-g": (1408, 985_894_528)}
#: EVA-ViT-G's last block and final norm, which `VisionPreset.video_depth` ``last`` loads too.
_EVA_LAST = 25_251_584
_AUDIO = {"whisper-tiny.en": (384, 8_209_920), "hf:openai/whisper-large-v3": (1280, 636_968_960)}
#: Names whose sizes are the defaults of transformers' ``LlamaConfig``.
_LLAMA2_7B = ("hf:meta-llama/Llama-2-7b-chat-hf", "hf:meta-llama/Llama-2-7b-hf")


@dataclass(frozen=True)
class Sizes:
    """Of the network, as far as memory depends on them.

    Attributes:
        frozen: Parameters of the language model that are not trained.
        trained: Parameters that are: LoRA, fusion, adapters, head.
        layers: Blocks of the language model.
        width: Of its hidden states.
        ffn: Of its MLP.
        vocabulary: Its tokens.
        rank: Of LoRA.
        adapted: Projections a block that have LoRA.
        soft_tokens: In a prompt.
        soft_inputs: Numbers a clip that the adapters and the fusion's projections are given.
        largest_block: Parameters of its largest part that is gathered at once: a block, or the embedding.
    """

    frozen: int
    trained: int
    layers: int
    width: int
    ffn: int
    vocabulary: int
    rank: int
    adapted: int
    soft_tokens: int
    soft_inputs: int
    largest_block: int


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights: Frozen in the preset's precision, trained ones in single precision.
        gradients: Of what is trained.
        optimiser: Both moments.
        activations: Kept for the backward pass, and at work in it, when they are most.
        exchange: Buffers between GPUs: DDP's buckets, or the blocks that FSDP has gathered.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    exchange: int = 0

    @property
    def total(self) -> int:
        """All of it; what the CUDA context (about 0.5 GB) and fragmentation take comes on top."""
        return sum(asdict(self).values())


def sizes_of(preset: Preset) -> Sizes:
    """Count a preset's parameters on the meta device.

    Raises:
        ConfigError: Sizes of a backbone are not known and cannot be looked up.
    """
    return sizes_of_network(skeleton(preset), preset)


def sizes_of_network(net: Any, preset: Preset) -> Sizes:
    """Count the parameters of a network that was built already."""
    llama = net.llama_model.get_base_model().config
    counts = {True: 0, False: 0}
    for weight in net.parameters():
        counts[weight.requires_grad] += weight.numel()
    block = sum(p.numel() for p in net.llama_model.get_base_model().model.layers[0].parameters())
    tokens = preset.tokens
    fused = tokens.fusion * (net.config.audio + 2 * net.config.video) * (preset.fusion.kind != "none")
    soft = tokens.image * net.config.image + tokens.video * net.config.video + tokens.audio * net.config.audio
    return Sizes(
        frozen=counts[False],
        trained=counts[True],
        layers=llama.num_hidden_layers,
        width=llama.hidden_size,
        ffn=llama.intermediate_size,
        vocabulary=llama.vocab_size,
        rank=preset.language.lora.rank,
        adapted=len(preset.language.lora.targets),
        soft_tokens=net.config.soft_tokens,
        soft_inputs=fused + soft,
        largest_block=max(block, llama.vocab_size * llama.hidden_size),
    )


def skeleton(preset: Preset) -> Any:
    """The network of a preset on the meta device: all shapes, no numbers.

    Raises:
        ConfigError: As `sizes_of`.
    """
    import torch
    from transformers import LlamaForCausalLM

    from training.curriculum.network import config_of
    from training.networks.emotion_llama import EmotionLlama
    from training.networks.language import with_lora

    config = llama_config(preset.language)
    with torch.device("meta"):
        language = with_lora(LlamaForCausalLM(config), preset.language.lora)
        return EmotionLlama(config_of(preset, encoder_shapes(preset), config.hidden_size), language)


def encoder_shapes(preset: Preset) -> Any:
    """Shapes of the features (`training.curriculum.encoders.Shapes`), without the encoders.

    Raises:
        ConfigError: Sizes of an encoder are not known.
    """
    from training.curriculum.encoders import Shapes

    vision, audio = vision_size(preset.vision)[0], audio_size(preset.audio)[0]
    tokens = preset.tokens
    return Shapes(
        audio=(preset.audio.layers, max(tokens.audio, tokens.fusion), audio),
        image=(tokens.image, vision * preset.vision.joined),
        video=(preset.vision.frames * preset.vision.cells**2, vision),
    )


def vision_size(preset: VisionPreset) -> tuple[int, int]:
    """Width and parameters of a picture encoder.

    Raises:
        ConfigError: They are not known.
    """
    width, count = _known(_VISION, preset.backbone, "vision")
    return width, count + (_EVA_LAST if preset.video_depth == "last" else 0)


def audio_size(preset: AudioPreset) -> tuple[int, int]:
    """Width and parameters of a sound encoder.

    Raises:
        ConfigError: They are not known.
    """
    return _known(_AUDIO, preset.backbone, "audio")


def _known(table: dict[str, tuple[int, int]], name: str, part: str) -> tuple[int, int]:
    if name not in table:
        raise ConfigError(f"{part}: sizes of {name!r} are not known here; known: {', '.join(table)}")
    return table[name]


def llama_config(preset: LanguagePreset) -> Any:
    """Sizes of a language model: known, or from ``config.json`` of a folder or of the Hugging Face hub.

    Raises:
        ConfigError: There is none.
    """
    from transformers import AutoConfig, LlamaConfig

    from training.networks.language import smollm2_config

    if preset.model == "smollm2-135m":
        return smollm2_config()
    if preset.model in _LLAMA2_7B:
        return LlamaConfig()
    try:
        return AutoConfig.from_pretrained(preset.model[3:])
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"language: sizes of {preset.model} cannot be had: {str(error).splitlines()[0]}"
        ) from None


def needed(
    sizes: Sizes, language: LanguagePreset, batch: int, gpus: int = 1, sharding: Sharding = "ddp",
    answers: int = 64,
) -> Memory:  # fmt: skip
    """Memory of one of ``gpus`` GPUs.

    Args:
        sizes: Of the network.
        language: Precision, checkpointing, longest text.
        batch: Clips at once on a GPU.
        gpus: How many share the work.
        sharding: ``ddp``: everything on each; ``fsdp``: weights, gradients and moments in equal parts.
        answers: Tokens of an answer: only these pay for the vocabulary.
    """
    item = BYTES[language.precision]
    frozen, trained = sizes.frozen * item, sizes.trained * _SINGLE
    parts = gpus if sharding == "fsdp" else 1
    length = language.longest + sizes.soft_tokens
    exchange = 0
    if gpus > 1:
        # One block is gathered while the next one is fetched; DDP's buckets hold every gradient once more.
        exchange = 2 * sizes.largest_block * item if sharding == "fsdp" else trained
    return Memory(
        weights=(frozen + trained) // parts,
        gradients=trained // parts,
        optimiser=2 * trained // parts,
        activations=activations(sizes, language, batch, length, answers),
        exchange=exchange,
    )


def activations(sizes: Sizes, language: LanguagePreset, batch: int, length: int, answers: int) -> int:
    """Bytes that forward and backward pass take besides what stays, when they take most.

    With checkpointing only the input of each block is kept, and one block at a time is computed again.

    Args:
        sizes: Of the network.
        language: Precision and checkpointing.
        batch: Clips.
        length: Tokens of prompt and answer, soft ones among them.
        answers: Tokens of an answer.
    """
    item, tokens = BYTES[language.precision], batch * length
    block = tokens * bytes_a_token(sizes, item)
    # Gradients within the block that is gone back through: three as wide as its MLP, two as its states.
    working = tokens * (3 * sizes.ffn + 2 * sizes.width) * item
    # The logits, their copy in single precision, and its log-softmax.
    head = batch * answers * sizes.vocabulary * (2 * _SINGLE + (item if item < _SINGLE else 0))
    soft = batch * sizes.soft_inputs * _SINGLE
    if language.checkpointing:
        return soft + sizes.layers * tokens * sizes.width * item + max(block + working, head)
    return soft + sizes.layers * block + max(head, working)


def bytes_a_token(sizes: Sizes, item: int) -> int:
    """What one block keeps of a token.

    Two norms keep their input in single precision. Each projection with LoRA keeps its input after dropout
    and the mask of that dropout, both in single precision (CUDA keeps a mask in a quarter of that), and what
    lies between LoRA's two matrices. Attention keeps queries, keys and values, one for every head, and its
    output. The gated MLP keeps what goes into the activation, what comes out of it, and what it is
    multiplied with.
    """
    norms = 2 * sizes.width * _SINGLE
    lora = sizes.adapted * (2 * sizes.width + sizes.rank) * _SINGLE
    return norms + lora + (4 * sizes.width + 3 * sizes.ffn) * item


def rows(preset: Preset, gpus: int) -> Iterator[tuple[str, Memory]]:
    """The table of a preset: one GPU, and so many with each sharding; the largest batch of its curriculum."""
    sizes, batch = sizes_of(preset), max(stage.batch for stage in preset.curriculum)
    yield "1", needed(sizes, preset.language, batch)
    if gpus > 1:
        yield f"{gpus}, DDP", needed(sizes, preset.language, batch, gpus, "ddp")
        yield f"{gpus}, FSDP", needed(sizes, preset.language, batch, gpus, "fsdp")


def table(preset: Preset, gpus: int) -> str:
    """The same as Markdown, GB (10^9 bytes), and below it what the frozen encoders take before training."""
    head = "| GPUs | weights | gradients | optimiser | activations | exchange | together |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, memory in rows(preset, gpus):
        values = (*asdict(memory).values(), memory.total)
        lines.append(f"| {name} | " + " | ".join(f"{value / 1e9:.2f}" for value in values) + " |")
    encoders = {
        "pictures": vision_size(preset.vision)[1] * BYTES[preset.vision.precision],
        "sound": audio_size(preset.audio)[1] * BYTES[preset.audio.precision],
    }
    told = ", ".join(f"{name} {value / 1e9:.2f}" for name, value in encoders.items())
    return "\n".join(
        [*lines, "", f"GB. Frozen encoders, while features are computed and not after: {told} GB."]
    )
