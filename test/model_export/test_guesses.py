"""A bundle's own texts in the bundle: written once, the same bytes again, and read by whoever loads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
transformers = pytest.importorskip("transformers")

from small_llama import HIDDEN, llama  # noqa: E402
from test_trained_bundle import SHAPES, trained, window  # noqa: E402, F401

from emollama_ros.bundle import Bundle, packaged_path  # noqa: E402
from emollama_ros.errors import BundleError, ConfigError  # noqa: E402
from emollama_ros.estimate import Modality  # noqa: E402
from emollama_ros.free_reasoning import FreeReasoner  # noqa: E402
from emollama_ros.language.guesses import GUESSES, read_guesses  # noqa: E402
from emollama_ros.language.tokenizer import _document  # noqa: E402
from model_export import guesses as module  # noqa: E402
from model_export.checkpoint import Trained  # noqa: E402
from model_export.guesses import add_guesses  # noqa: E402
from model_export.trained_bundle import Choices, write_trained_bundle  # noqa: E402
from model_export.verification import Clip  # noqa: E402
from training.curriculum.network import config_of  # noqa: E402
from training.networks.emotion_llama import EmotionLlama  # noqa: E402


def byte_tokens() -> list[str]:
    """Control tokens, and the 256 characters that stand for bytes in byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    names = {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(names[b] for b in range(256)), "Ġt"]


@pytest.fixture(scope="module")
def speaking(trained: Trained) -> Trained:  # noqa: F811
    """The tiny preset with random weights and a small language model that knows bytes."""
    tokens = byte_tokens()
    tokenizer = json.dumps(_document(tokens, [3 if t.startswith("<|") else 1 for t in tokens], ["Ġ t"]))
    model = llama(vocab_size=len(tokens), max_position_embeddings=2048)
    language = SimpleNamespace(codec=SimpleNamespace(start=(1,)), model=model)
    net = EmotionLlama(config_of(trained.preset, SHAPES, HIDDEN)).eval().requires_grad_(False)
    return replace(trained, net=net, language=language, tokenizer=tokenizer.encode())


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(prepared: Path, root: Path, count: int, split: str) -> list[Clip]:
        assert split == "train"
        return [Clip(str(i), window(words="we won", seed=i)) for i in range(count)]

    monkeypatch.setattr(module, "read_clips", read)


@pytest.fixture(scope="module")
def bundle(speaking: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("speaking") / "bundle"
    write_trained_bundle(speaking, out, Choices())
    return out


@pytest.mark.usefixtures("clips")
def test_a_bundle_guesses_from_its_own_texts(bundle: Path):
    assert GUESSES not in Bundle.load(bundle).manifest.files, "bundles without it work as ever"
    cold = FreeReasoner.load(Bundle.load(bundle))
    found = add_guesses(bundle, Path("prepared"), Path("root"), clips=2, threads=1)
    content = (bundle / GUESSES).read_bytes()
    texts = read_guesses(bundle / GUESSES, vocab=260)
    assert len(texts) == 2 * len(found.manifest.prompt.questions)
    assert "2 clips of the training splits" in found.manifest.files[GUESSES].origin
    assert add_guesses(bundle, Path("prepared"), Path("root"), 2, 1).sha256 == found.sha256
    assert (bundle / GUESSES).read_bytes() == content

    warm = FreeReasoner.load(Bundle.load(bundle))
    assert warm.guesses.last == texts[-1]
    estimate = module._perceived(module.Perception(found), Clip("", window(words="we won")))
    assert estimate.modalities & Modality.VIDEO
    said = {(made := reasoner.explain(estimate, "we won")).text for reasoner in (cold, warm)}
    assert len(said) == 1, "a text does not depend on what was guessed"
    assert made.final


@pytest.mark.usefixtures("clips")
def test_damaged_texts_are_refused(bundle: Path):
    add_guesses(bundle, Path("prepared"), Path("root"), clips=1, threads=1)
    whole = (bundle / GUESSES).read_bytes()
    (bundle / GUESSES).write_bytes(whole[:-1] + b"\x00")
    with pytest.raises(BundleError, match=r"guesses\.bin: sha256"):
        Bundle.load(bundle)
    (bundle / GUESSES).write_bytes(whole)


def test_a_bundle_that_writes_under_a_grammar_has_nothing_to_guess():
    with pytest.raises(ConfigError, match="nothing to guess"):
        add_guesses(packaged_path(), Path("prepared"), Path("root"))
