"""The figures in docs/model.md are those of the presets and of the networks made from them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import cache

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
transformers = pytest.importorskip("transformers", reason="needs transformers (make test installs it)")
peft = pytest.importorskip("peft", reason="needs peft (make test installs it)")

from training.curriculum.encoders import Shapes  # noqa: E402
from training.curriculum.network import config_of, trained_state  # noqa: E402
from training.networks.efficientnet import FEATURES, EfficientNetLite0  # noqa: E402
from training.networks.emotion_llama import STREAMS, EmotionLlama  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT  # noqa: E402
from training.networks.language import with_lora  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402
from training.presets import FusionPreset, load_preset  # noqa: E402

#: Widths of vision, audio and language model, and the sizes of the language model, as published.
WIDTHS = {"tiny": (FEATURES, 384, 576), "v2_7b": (1408, 1280, 4096)}
LLAMAS = {
    "tiny": {
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
    },
    "v2_7b": {},  # transformers' own defaults are LLaMA-2-7B's
}  # fmt: skip
PARTS = {
    "fusion": ("fusion.conv_pro_module.",),
    "adapters": ("llama_proj",),
    "LoRA": ("llama_model.",),
    "perception head": ("head.",),
    "absent embeddings": ("fusion.absent",),
    "norms and layer weights": ("norms.", "layer_weights"),
}

columns = pytest.mark.parametrize(("column", "name"), [(0, "tiny"), (1, "v2_7b")])


@cache
def network(name: str, kind: str = "") -> EmotionLlama:
    preset = load_preset(name)
    if kind:
        preset = preset.model_copy(update={"fusion": FusionPreset(**{**vars(preset.fusion), "kind": kind})})
    vision, audio, language = WIDTHS[name]
    tokens = preset.tokens
    shapes = Shapes(
        audio=(preset.audio.layers, max(tokens.audio, tokens.fusion), audio),
        image=(tokens.image, vision * preset.vision.joined),
        video=(preset.vision.frames * preset.vision.cells**2, vision),
    )
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMAS[name]))
        return EmotionLlama(
            config_of(preset, shapes, language), with_lora(llama, preset.language.lora)
        )  # fmt: skip


@pytest.fixture(scope="module")
def page(root) -> str:
    return (root / "docs" / "model.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> dict[str, list[str]]:
    """The first table below a heading: first cell of each row to the others."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[2:]}


@columns
def test_the_layout_of_the_soft_tokens(page, column, name):
    layout, rows = network(name).config.layout, table(page, "Soft tokens")
    assert list(layout) == list(STREAMS) == list(rows)[: len(STREAMS)]
    assert {stream: int(rows[stream][column]) for stream in STREAMS} == layout
    assert int(rows["together"][column]) == network(name).config.soft_tokens


@columns
def test_what_is_trained(page, column, name):
    trained, rows = trained_state(network(name)), table(page, "Parameters")
    counted = {
        part: sum(p.numel() for key, p in trained.items() if key.startswith(prefixes))
        for part, prefixes in PARTS.items()
    }
    assert sum(counted.values()) == sum(p.numel() for p in trained.values())
    assert {part: int(rows[part][column].replace(",", "")) for part in PARTS} == counted
    assert int(rows["trained together"][column].replace(",", "")) == sum(counted.values())


@columns
def test_what_is_frozen(page, column, name):
    rows = table(page, "Parameters")
    with torch.device("meta"):
        whisper = transformers.models.whisper.modeling_whisper.WhisperEncoder
        large = transformers.WhisperConfig(
            d_model=1280,
            encoder_layers=32,
            encoder_attention_heads=20,
            encoder_ffn_dim=5120,
            num_mel_bins=128,
        )
        encoders = {
            "tiny": (EfficientNetLite0(), WhisperEncoder()),
            "v2_7b": (EvaViT(EvaConfig(is_whole=True)), whisper(large)),
        }[name]
    sizes = [sum(p.numel() for p in encoder.parameters()) for encoder in encoders]
    frozen = network(name).llama_model.parameters()
    sizes.append(sum(p.numel() for p in frozen if not p.requires_grad))
    named = ("picture encoder (frozen)", "sound encoder (frozen)", "language model (frozen)")
    assert [int(rows[row][column].replace(",", "")) for row in named] == sizes


def test_the_published_number_is_what_is_trained_less_what_is_ours(page):
    rows = table(page, "Parameters")
    parts = ("trained together", "perception head", "absent embeddings")
    whole, head, absent = (int(rows[part][1].replace(",", "")) for part in parts)
    assert whole - head - absent == 71_536_387 and "71,536,387" in page


@pytest.mark.parametrize("name", ["tiny", "v2_7b"])
def test_the_fusions(page, name):
    rows = table(page, "Fusions")
    kinds = FusionPreset.model_fields["kind"].annotation.__args__
    assert set(rows) == {f"`{kind}`" for kind in kinds}
    column = ("tiny", "v2_7b").index(name)
    for kind in kinds:
        net = network(name, kind)
        mixing = [
            p for key, p in net.named_parameters() if key.startswith("fusion.") and key != "fusion.absent"
        ]
        assert int(rows[f"`{kind}`"][column].replace(",", "")) == sum(p.numel() for p in mixing), kind


def test_the_figure_is_drawn_for_light_and_dark_and_names_the_streams(root):
    path = root / "docs" / "images" / "model.svg"
    text = path.read_text(encoding="utf-8")
    words = " ".join(
        "".join(node.itertext()) for node in ET.fromstring(text).iter() if node.tag.endswith("text")
    )
    assert "prefers-color-scheme: dark" in text
    assert all(stream in words for stream in (*STREAMS, "Conv-Attention", "head", "LoRA"))
    counts = {int(number) for number in re.findall(r"\b\d+\b", words)}
    assert set(network("v2_7b").config.layout.values()) <= counts


def test_the_page_names_files_that_are_there(page, root):
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page):
        assert link.startswith("http") or (root / "docs" / link).exists(), link
    for path in re.findall(r"`((?:training|emollama_ros|test)/[\w/.]+\.(?:py|yaml))`", page):
        assert (root / path).is_file(), path
