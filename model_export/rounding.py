"""What rounding the weights of a language model costs: the same tokens, and the divergence of what follows.

    python -m model_export rounding --report model_export/reports/rounding

Weights are rounded as the export's formats do and computed with in single precision, so that nothing but the
rounding is measured. Texts are greedy continuations by the model itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emollama_ros.language.packing import BLOCK

#: Said to a person, or of one.
TEXTS = (
    'The person speaks quickly and loudly. "I told you not to touch it!" What does this one feel, and why?',
    'The voice is quiet and slow, the face looks down. "It does not matter any more." What is the emotion?',
    'She laughs. "We won, can you believe it?" Name the emotion and give a reason.',
    'He says nothing for a long time and then: "Where did you get that?" What might he feel?',
    '"Please do not go in there," she whispers. What emotion does the transcript show?',
    'A calm voice reads: "The train leaves at nine." Which emotion, if any?',
    '"That smells terrible, take it away." What does the speaker feel?',
    'The speaker raises the pitch at the end: "You came all this way for me?" Explain the emotion.',
    '"I miss the old house. Nobody lives there now." Explain what the person feels.',
    'The brows are lowered and the voice is tense. "Say that again." What emotion is it?',
    '"Oh! I did not see you there!" Which emotion, and what shows it?',
    "The mouth corners are raised and the eyes are narrow. Which emotion is likely?",
)
_CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
_LONGEST = 28


def _blocks(weight: Tensor) -> Tensor:
    return weight.reshape(len(weight), -1, BLOCK)


def _scaled(values: Tensor, scale: Tensor, least: int, most: int) -> Tensor:
    scale = torch.where(scale == 0, 1.0, scale)
    return torch.clamp(torch.round(values / scale), least, most) * scale


def int8(weight: Tensor) -> Tensor:
    """8 bits, a scale for 32."""
    blocks = _blocks(weight)
    return _scaled(blocks, blocks.abs().amax(-1, keepdim=True) / 127, -127, 127)


def int8_channel(weight: Tensor) -> Tensor:
    """8 bits, a scale for each output (TensorRT)."""
    return _scaled(weight, weight.abs().amax(-1, keepdim=True) / 127, -127, 127)


def int4(weight: Tensor) -> Tensor:
    """4 bits, a scale and a minimum for 32."""
    blocks = _blocks(weight)
    least = blocks.amin(-1, keepdim=True)
    return _scaled(blocks - least, (blocks.amax(-1, keepdim=True) - least) / 15, 0, 15) + least


def int4_rounded_zero(weight: Tensor) -> Tensor:
    """4 bits, a scale and a whole zero point for 32 (what MatMulNBits packs)."""
    blocks = _blocks(weight)
    least, most = blocks.amin(-1, keepdim=True).clamp(max=0), blocks.amax(-1, keepdim=True).clamp(min=0)
    scale = torch.where(most == least, 1.0, (most - least) / 15)
    zero = torch.round(-least / scale)
    return (torch.clamp(torch.round(blocks / scale) + zero, 0, 15) - zero) * scale


def int4_symmetric(weight: Tensor) -> Tensor:
    """4 bits, a scale for 32."""
    blocks = _blocks(weight)
    least, most = blocks.amin(-1, keepdim=True), blocks.amax(-1, keepdim=True)
    return _scaled(blocks, torch.where(most > -least, most, least) / -8, -8, 7)


ROUNDINGS: tuple[Callable[[Tensor], Tensor], ...] = (
    int8, int8_channel, int4, int4_rounded_zero, int4_symmetric,
)  # fmt: skip


@torch.no_grad()
def measure(
    model: nn.Module, prompts: Sequence[Sequence[int]], end: int, longest: int = _LONGEST
) -> list[dict[str, Any]]:
    """Round every matrix of a LLaMA in each way and compare what it says of its own continuations.

    Args:
        model: A ``LlamaForCausalLM`` in single precision; its weights are put back in the end.
        prompts: Token ids.
        end: Token that ends a text.
        longest: Tokens of a continuation.

    Returns:
        A row for each rounding: ``agree``, the share of positions with the same best token; ``kl``, the mean
        divergence in nats of the rounded from the plain distribution; ``tokens``, how many positions.
    """
    texts = [_continued(model, prompt, end, longest) for prompt in prompts]
    plain = [_log_probabilities(model, text, len(p)) for text, p in zip(texts, prompts, strict=True)]
    kept = {name: weight.clone() for name, weight in model.named_parameters() if "proj" in name}
    rows = []
    for rounding in ROUNDINGS:
        for name, weight in model.named_parameters():
            if name in kept:
                weight.copy_(rounding(kept[name]).reshape(weight.shape))
        found = [_log_probabilities(model, text, len(p)) for text, p in zip(texts, prompts, strict=True)]
        rows.append(
            {
                "format": rounding.__name__,
                "what": str(rounding.__doc__).rstrip("."),
                **_compared(found, plain),
            }
        )
    for name, weight in model.named_parameters():
        if name in kept:
            weight.copy_(kept[name])
    return rows


def _continued(model: Any, prompt: Sequence[int], end: int, longest: int) -> Tensor:
    ids = torch.tensor([list(prompt)])
    return model.generate(ids, max_new_tokens=longest, do_sample=False, eos_token_id=end, pad_token_id=end)


def _log_probabilities(model: Any, text: Tensor, start: int) -> Tensor:
    return torch.log_softmax(model(text).logits[0, start - 1 : -1], -1)


def _compared(found: Sequence[Tensor], plain: Sequence[Tensor]) -> dict[str, float]:
    rounded, exact = torch.cat(list(found)), torch.cat(list(plain))
    same = (rounded.argmax(-1) == exact.argmax(-1)).float().mean()
    divergence = (exact.exp() * (exact - rounded)).sum(-1).mean()
    return {"agree": round(float(same), 4), "kl": round(float(divergence), 4), "tokens": len(exact)}


def measure_smollm2() -> dict[str, Any]:
    """Measure SmolLM2-135M from its package.

    Raises:
        BundleError: The package is not installed, or its file is not the pinned one.
    """
    from training.networks.language import smollm2

    language = smollm2()
    prompts = [language.codec.encode(_CHAT.format(text)) for text in TEXTS]
    return {"model": "SmolLM2-135M-Instruct", "rows": measure(language.model.float(), prompts, end=2)}


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the report as ``path`` with .json and with .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    rows = report["rows"]
    lines = [
        f"# What rounding the weights costs: {report['model']}",
        "",
        "    python -m model_export rounding --report model_export/reports/rounding",
        "",
        f"{rows[0]['tokens']} tokens of {len(TEXTS)} greedy continuations; weights rounded, computed with in",
        "single precision. They come from a GGUF file in Q4_1, blocks with a scale and a minimum, which",
        "`int4` gives back as they were; other weights would not come back so.",
        "",
        "| format | weights | same best token | KL |",
        "|---|---|---|---|",
        *(f"| `{row['format']}` | {row['what']} | {row['agree']:.1%} | {row['kl']:.4f} |" for row in rows),
    ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
