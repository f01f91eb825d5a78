"""Exported graphs equal the modules they come from, at shapes that were not exported."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("onnxscript", reason="exporting needs onnxscript")

from emollama_ros.engines import EngineOptions, load_engine  # noqa: E402
from model_export.perception_graphs import (  # noqa: E402
    FusionGraph,
    export_audio,
    export_fusion,
    export_text,
)
from training.networks.perception_net import PerceptionNet, PerceptionNetConfig  # noqa: E402
from training.networks.soft_tokens import SoftTokenAdapters, SoftTokensConfig  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402
from training.perception.text import NgramClassifier  # noqa: E402

CPU = EngineOptions("cpu", threads=1)


def halved(module):
    """Round the weights as the graph stores them, so that what is left to differ is the arithmetic."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(p.half().float())
    return module.eval()


def agree(path, module, *inputs):
    names = list(load_engine(path, CPU).inputs)
    found = load_engine(path, CPU).run(dict(zip(names, (i.numpy() for i in inputs), strict=True)))
    with torch.no_grad():
        expected = module(*inputs)
    for f, e in zip(found.values(), expected if isinstance(expected, tuple) else (expected,), strict=True):
        assert np.abs(f.astype(float) - e.numpy()).max() < 1e-4


def test_audio_takes_any_length(tmp_path):
    torch.manual_seed(0)
    encoder = WhisperEncoder(width=32, heads=2, layers=2, mels=80)
    torch.nn.init.normal_(encoder.positions)
    encoder = halved(encoder)
    path = export_audio(encoder, tmp_path / "audio.onnx")
    for length in (40, 401, 2999):
        agree(path, encoder, torch.randn(1, 80, length))


@pytest.mark.parametrize("speaks", [False, True], ids=["scores", "soft tokens too"])
def test_fusion_takes_any_batch_and_masks_to_the_last_bit(tmp_path, speaks):
    torch.manual_seed(0)
    net = halved(PerceptionNet(PerceptionNetConfig(hidden=32, width=16, output=16)))
    adapters = halved(SoftTokenAdapters(net, SoftTokensConfig(language=24))) if speaks else None
    path, graph = export_fusion(net, tmp_path / "fusion.onnx", adapters), FusionGraph(net, adapters).eval()
    config = net.config
    for batch in (1, 3):
        audio = torch.randn(batch, config.audio_layers, config.tokens, config.audio)
        image, video = torch.randn(batch, config.vision), torch.randn(batch, config.tokens, config.vision)
        agree(path, graph, audio, image, video, torch.ones(batch, 2))
    engine = load_engine(path, CPU)
    present = np.array([[1, 0]] * batch, np.float32)
    runs = [
        engine.run({"audio": audio.numpy(), "image": i, "video": v, "present": present})
        for i, v in ((image.numpy(), video.numpy()), (image.numpy() * 50, video.numpy() - 7))
    ]
    assert len(runs[0]) == (4 if speaks else 2)
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_text_takes_any_number_of_words(tmp_path):
    model = NgramClassifier(1024)
    torch.nn.init.normal_(model.table)
    model = halved(model)
    path = export_text(model, tmp_path / "text.onnx")
    for count in (1, 2, 40):
        agree(path, model, torch.randint(0, 1024, (count,)))


def test_graphs_tell_nothing_of_the_machine_that_made_them(tmp_path):
    path = export_text(NgramClassifier(64), tmp_path / "text.onnx")
    assert b"site-packages" not in path.read_bytes()
    assert str(tmp_path).encode() not in path.read_bytes()
