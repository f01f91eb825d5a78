"""The authors' checkpoints, brought into our form with an account of every key.

The released code filters a checkpoint down to the keys it knows and loads the rest with ``strict=False``: a
checkpoint of another model would load without a word. Here every key is matched, missing, unexpected, of a
wrong shape, or known and not used, and a load that is not whole is refused unless it is asked for.

Names and sizes: Emotion-LLaMAv2 (arXiv 2601.16449, code of 2026-04-21), BLIP-2's ``eva_vit_g.pth``, LLaMA-2
and Whisper-large-v3 as the transformers library keeps them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from emollama_ros.errors import InputError
from emollama_ros.hashes import file_sha256
from training.networks.emotion_llama import EmotionLlama, EmotionLlamaConfig
from training.networks.eva_vit import EvaConfig, EvaViT
from training.presets import CONFIGS, parse_preset
from training.released.files import (
    Shape,
    check_finite,
    folder_shapes,
    read_json,
    read_tensors,
    shapes_of,
)
from training.released.weights import is_ours_alone, our_name

WEIGHTS, EVA, REPORT, PRESET = (
    "emotion_llama.safetensors",
    "eva_vit_g.safetensors",
    "report.json",
    "preset.yaml",
)
#: Parts of BLIP-2's file that no view needs.
_EVA_UNUSED = ("fc_norm.", "head.")
_LLAMA = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}
_WHISPER = {
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "num_mel_bins": 128,
    "max_source_positions": 1500,
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of everything that is imported; the defaults are the released model's.

    Attributes:
        network: Fusion and adapters.
        rank: Of LoRA on q_proj and v_proj.
        eva: The picture encoder.
        llama: Keys of the language model's ``config.json``.
        whisper: Keys of the sound encoder's ``config.json``.
    """

    network: EmotionLlamaConfig = EmotionLlamaConfig()
    rank: int = 64
    eva: EvaConfig = EvaConfig()
    llama: Mapping[str, int] = field(default_factory=lambda: _LLAMA)
    whisper: Mapping[str, int] = field(default_factory=lambda: _WHISPER)


@dataclass(frozen=True)
class Inputs:
    """What is imported.

    Attributes:
        checkpoint: The authors' ``checkpoint_9.pth``, or the same as safetensors.
        llama: Folder of LLaMA-2-7B-chat in the form of the transformers library.
        eva: BLIP-2's ``eva_vit_g.pth``, or the same as safetensors.
        whisper: Folder of Whisper-large-v3 in the form of the transformers library.
    """

    checkpoint: Path
    llama: Path
    eva: Path
    whisper: Path


@dataclass(frozen=True)
class Comparison:
    """What a file holds beside what is expected of it.

    Attributes:
        path: The file or folder.
        matched: Our names to the file's.
        missing: Our names that it lacks.
        unexpected: Its names that nothing here has.
        wrong_shape: Its names, with the shape found and the shape needed.
        unused: Its names that are known and not needed.
        absent: Our names that it lacks and that can be done without: EVA's last block and norm.
    """

    path: str
    matched: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[str, ...]
    unused: tuple[str, ...]
    absent: tuple[str, ...] = ()

    def problems(self, *, lacks: bool = True, has_more: bool = True) -> tuple[str, ...]:
        """Why it is not taken as it is; missing (``lacks``) and unexpected (``has_more``) can be forgiven."""
        found = [f"wrong shape: {text}" for text in self.wrong_shape]
        found += [f"missing: {name}" for name in self.missing if lacks]
        found += [f"unexpected: {name}" for name in self.unexpected if has_more]
        return tuple(found)

    @property
    def counts(self) -> str:
        """One line."""
        return (
            f"{self.path}: {len(self.matched)} matched, {len(self.missing)} missing, "
            f"{len(self.unexpected)} unexpected, {len(self.wrong_shape)} of a wrong shape, "
            f"{len(self.unused)} not used"
        )


@dataclass(frozen=True)
class Report:
    """The account of an import.

    Attributes:
        files: A comparison each: checkpoint, eva, llama, whisper.
        untrained: Our parameters that no released file holds: the perception head, what stands for a stream
            that is missing, and in a partial load what the checkpoint lacks.
        parameters: Numbers in the weights that were taken from the checkpoint.
        sha256: Of the checkpoint and of EVA's file.
        is_partial: Something was missing or left out, and that was allowed.
    """

    files: dict[str, Comparison]
    untrained: tuple[str, ...]
    parameters: int
    sha256: dict[str, str]
    is_partial: bool = False


def compare(
    path: Path,
    expected: Mapping[str, Shape],
    found: Mapping[str, Shape],
    rename: Callable[[str], str] = str,
    is_unused: Callable[[str], bool] = lambda name: False,
) -> Comparison:
    """Hold the names and shapes of a file against what is expected.

    Raises:
        InputError: Two names of the file mean the same weight.
    """
    matched: dict[str, str] = {}
    unexpected, wrong, unused = [], [], []
    for theirs, shape in found.items():
        ours = rename(theirs)
        if ours not in expected:
            (unused if is_unused(theirs) else unexpected).append(theirs)
        elif ours in matched:
            raise InputError(f"{path}: {matched[ours]} and {theirs} are the same weight; one has to go")
        else:
            matched[ours] = theirs
            if shape != expected[ours]:
                wrong.append(f"{theirs} is {shape}, {expected[ours]} is needed")
    missing = sorted(set(expected) - set(matched))
    return Comparison(
        str(path), matched, tuple(missing), tuple(unexpected), tuple(wrong), tuple(unused)
    )  # fmt: skip


def trained_shapes(sizes: Sizes | None = None) -> dict[str, Shape]:
    """Names and shapes of all that is trained, read off the network itself, built without memory."""
    import peft
    import transformers

    sizes = sizes or Sizes()
    lora = peft.LoraConfig(r=sizes.rank, target_modules=["q_proj", "v_proj"])
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_heads(sizes.llama)))
        net = EmotionLlama(sizes.network, peft.get_peft_model(llama, lora))
    return {name: tuple(p.shape) for name, p in net.named_parameters() if p.requires_grad}


def _heads(llama: Mapping[str, int]) -> dict[str, int]:
    """LLaMA-2-7B has a key and a value a head, which ``config.json`` may leave unsaid."""
    return {"num_key_value_heads": llama["num_attention_heads"], **llama}


def _meta_shapes(build: Callable[[], nn.Module]) -> dict[str, Shape]:
    with torch.device("meta"):
        return shapes_of(build().state_dict())


def check_checkpoint(path: Path, tensors: Mapping[str, Tensor], trained: Mapping[str, Shape]) -> Comparison:
    """Compare a checkpoint with what is trained here (`trained_shapes`), less what is ours alone."""
    expected = {k: v for k, v in trained.items() if not is_ours_alone(k)}
    return compare(
        path, expected, shapes_of(tensors), our_name, lambda name: name.endswith("rotary_emb.inv_freq")
    )


def check_eva(path: Path, tensors: Mapping[str, Tensor], sizes: Sizes) -> Comparison:
    """Compare BLIP-2's file with EVA-ViT-G; its last block and norm are taken where all of both is there."""
    image = _meta_shapes(lambda: EvaViT(sizes.eva))
    whole = _meta_shapes(lambda: EvaViT(replace(sizes.eva, is_whole=True)))
    absent = tuple(name for name in whole if name not in image and name not in tensors)
    found = compare(
        path,
        image if absent else whole,
        shapes_of(tensors),
        is_unused=lambda name: name in whole or name.startswith(_EVA_UNUSED),
    )
    return replace(found, absent=absent)


def check_llama(folder: Path, sizes: Sizes) -> Comparison:
    """Compare a folder with LLaMA-2-7B by its configuration, its names and shapes; nothing is loaded.

    Raises:
        InputError: It is another model, or no folder of one.
    """
    import transformers

    _check_config(folder, sizes.llama, "LLaMA-2-7B-chat")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise InputError(f"{folder}: has no tokenizer.json and no tokenizer.model")
    config = transformers.LlamaConfig(**_heads(sizes.llama))
    expected = _meta_shapes(lambda: transformers.LlamaForCausalLM(config))
    return compare(
        folder, expected, folder_shapes(folder), is_unused=lambda name: name.endswith("rotary_emb.inv_freq")
    )


def check_whisper(folder: Path, sizes: Sizes) -> Comparison:
    """Compare a folder with the encoder of Whisper-large-v3; its decoder is not needed.

    Raises:
        InputError: It is another model, or no folder of one.
    """
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    _check_config(folder, sizes.whisper, "Whisper-large-v3")
    mels = read_json(folder / "preprocessor_config.json").get("feature_size")
    if mels != sizes.whisper["num_mel_bins"]:
        raise InputError(
            f"{folder / 'preprocessor_config.json'}: feature_size is {mels}, "
            f"{sizes.whisper['num_mel_bins']} is needed; it belongs to another Whisper"
        )
    expected = _meta_shapes(lambda: WhisperEncoder(WhisperConfig(**sizes.whisper)))
    return compare(
        folder,
        expected,
        folder_shapes(folder),
        lambda name: name.removeprefix("model.").removeprefix("encoder."),
        lambda name: name.removeprefix("model.").startswith(("decoder.", "proj_out.")),
    )


def _check_config(folder: Path, needed: Mapping[str, int], what: str) -> None:
    found = read_json(folder / "config.json")
    for key, value in needed.items():
        if found.get(key) != value:
            raise InputError(
                f"{folder / 'config.json'}: {key} is {found.get(key)}, {value} is needed; "
                f"give the folder of {what} in the form of the transformers library"
            )


def import_released(
    inputs: Inputs, out: Path, *, allow_partial: bool = False, sizes: Sizes | None = None
) -> Report:
    """Check all four, then write the weights, the report, and a preset that points at them.

    Nothing but ``report.json`` is written unless all of them pass. EVA's file is copied only where it is not
    already in the form that is needed.

    Args:
        inputs: What the authors and others released.
        out: Folder for the results; made if it is not there.
        allow_partial: Take a checkpoint that lacks keys, and leave out keys that nothing here has. What
            other files lack, wrong shapes, and NaN are never taken.
        sizes: Of the model; the released ones unless told otherwise.

    Raises:
        InputError: Something cannot be read, or does not fit; names the file and the first keys.
    """
    sizes = sizes or Sizes()
    checkpoint, eva = read_tensors(inputs.checkpoint), read_tensors(inputs.eva)
    trained = trained_shapes(sizes)
    files = {
        "checkpoint": check_checkpoint(inputs.checkpoint, checkpoint, trained),
        "eva": check_eva(inputs.eva, eva, sizes),
        "llama": check_llama(inputs.llama, sizes),
        "whisper": check_whisper(inputs.whisper, sizes),
    }
    report = _report(files, checkpoint, inputs, trained)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / REPORT, json.dumps(asdict(report), indent=1) + "\n")
    _refuse(report, allow_partial, out / REPORT)
    weights, pictures = _taken(files["checkpoint"], checkpoint), _taken(files["eva"], eva)
    check_finite(weights, inputs.checkpoint)
    check_finite(pictures, inputs.eva)
    _save(weights, out / WEIGHTS)
    is_our_form = inputs.eva.suffix == ".safetensors" and len(pictures) == len(eva)
    if not is_our_form:
        _save(pictures, out / EVA)
    depth = "image" if files["eva"].absent else "last"
    _write(out / PRESET, preset_text(inputs, inputs.eva if is_our_form else out / EVA, depth))
    return report


def _report(
    files: dict[str, Comparison],
    checkpoint: Mapping[str, Tensor],
    inputs: Inputs,
    trained: Mapping[str, Shape],
) -> Report:
    taken, read = files["checkpoint"].matched, files["checkpoint"]
    return Report(
        files=files,
        untrained=tuple(name for name in trained if name not in taken),
        parameters=sum(checkpoint[theirs].numel() for theirs in taken.values()),
        sha256={str(path): file_sha256(path) for path in (inputs.checkpoint, inputs.eva)},
        is_partial=bool(read.missing or any(file.unexpected for file in files.values())),
    )


def _refuse(report: Report, allow_partial: bool, where: Path) -> None:
    """Stop at what may not be taken, with the first problems of every file."""
    lines = []
    for name, file in report.files.items():
        lacks = name != "checkpoint" or not allow_partial
        problems = file.problems(lacks=lacks, has_more=not allow_partial)
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        lines += [f"{file.path}: {'; '.join(problems[:3])}{more}"] if problems else []
    if lines:
        advice = "; --allow-partial takes a checkpoint with missing or unexpected keys"
        lines.append(f"nothing was imported; every key: {where}{'' if allow_partial else advice}")
        raise InputError("\n".join(lines))


def _taken(file: Comparison, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {ours: tensors[theirs] for ours, theirs in file.matched.items()}


def preset_text(inputs: Inputs, eva: Path, video_depth: str = "last") -> str:
    """``v2_7b`` with the places of these files in it, and where frames are read, as yaml."""
    data: dict[str, Any] = yaml.safe_load((CONFIGS / "v2_7b.yaml").read_text(encoding="utf-8"))
    data["vision"] |= {"weights": str(eva.resolve()), "video_depth": video_depth}
    data["audio"]["backbone"] = f"hf:{inputs.whisper.resolve()}"
    data["language"]["model"] = f"hf:{inputs.llama.resolve()}"
    parse_preset(data, PRESET)
    header = f"# v2_7b with the released weights; what was trained stands beside this file in {WEIGHTS}.\n"
    return header + yaml.dump(data, Dumper=_Plain, sort_keys=False, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes the two stages out instead of one as a reference to the other."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    draft = path.with_suffix(".part")
    save_file({name: value.contiguous() for name, value in tensors.items()}, draft)
    os.replace(draft, path)


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def lines_of(report: Report) -> Iterable[str]:
    """The report for reading: every key of the checkpoint, and of the other files what is not as expected."""
    for ours, theirs in report.files["checkpoint"].matched.items():
        yield f"matched     {theirs}" + (f" -> {ours}" if ours != theirs else "")
    for file in report.files.values():
        yield from (f"missing     {name}" for name in file.missing)
        yield from (f"unexpected  {name}" for name in file.unexpected)
        yield from (f"wrong shape {text}" for text in file.wrong_shape)
        yield from _short("not used    ", file.unused)
        yield from _short("absent      ", file.absent)
        if file.absent:
            yield f"{file.path}: frames are read where the image is (video_depth: image), not as released"
    yield from (f"untrained   {name}: no released file has it" for name in report.untrained)
    yield from (file.counts for file in report.files.values())
    yield f"{report.parameters:,} parameters from the checkpoint"


def _short(word: str, names: tuple[str, ...], most: int = 8) -> Iterable[str]:
    """Names that are many and without surprise."""
    yield from (word + name for name in names[:most])
    if len(names) > most:
        yield f"{word}and {len(names) - most} more"
