"""The picture encoders: EVA-ViT-G's names and sizes, positions at other sizes, both views of one backbone."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
safetensors_torch = pytest.importorskip(
    "safetensors.torch", reason="needs safetensors (make test installs it)"
)

from emollama_ros.errors import BundleError  # noqa: E402
from training.curriculum.encoders import Encoders  # noqa: E402
from training.mmeverse.decoding import DecodedClip  # noqa: E402
from training.networks.backbones import load_eva  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT, config_of  # noqa: E402
from training.networks.views import MultiviewEncoder  # noqa: E402
from training.presets import load_preset  # noqa: E402

SMALL = EvaConfig(width=176, heads=2, depth=2, hidden=32, patch=4, grid=4)
WHOLE = replace(SMALL, is_whole=True)


def small(config=SMALL):
    torch.manual_seed(0)
    net = EvaViT(config).eval()
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return net


def test_eva_has_the_size_of_blip2s():
    with torch.device("meta"):
        net = EvaViT()
    assert sum(p.numel() for p in net.parameters()) == 985_894_528
    state = net.state_dict()
    assert state["blocks.38.attn.qkv.weight"].shape == (4224, 1408) and "blocks.39.norm1.weight" not in state
    assert config_of(state) == EvaConfig()


def test_a_whole_eva_has_a_block_and_a_norm_more():
    with torch.device("meta"):
        state = EvaViT(EvaConfig(is_whole=True)).state_dict()
    assert sum(p.numel() for p in state.values()) == 985_894_528 + 25_248_768 + 2 * 1408
    assert {"blocks.39.norm1.weight", "norm.weight", "norm.bias"} <= set(state)
    assert config_of(state) == EvaConfig(is_whole=True)


@pytest.mark.parametrize("behind", ["norm.", "blocks.39."])
def test_an_image_is_never_read_at_another_depth_because_something_is_missing(behind):
    with torch.device("meta"):
        state = EvaViT(EvaConfig(is_whole=True)).state_dict()
    with pytest.raises(ValueError, match="blocks (and|without) norm"):
        config_of({name: value for name, value in state.items() if not name.startswith(behind)})


def test_the_table_of_positions_fits_other_sizes():
    net = small()
    with torch.no_grad():
        assert torch.equal(net._positions(4, 4), net.pos_embed)
        assert net._positions(8, 8).shape == (1, 65, 176)
        assert torch.equal(net._positions(8, 8)[:, 0], net.pos_embed[:, 0])
        whole, patches = net(torch.randn(2, 3, 32, 32))
    assert whole.shape == (2, 176) and patches.shape == (2, 64, 176)


def test_keys_have_no_bias():
    net = small()
    names = {name for name, _ in net.blocks[0].attn.named_parameters()}
    assert names == {"q_bias", "v_bias", "qkv.weight", "proj.weight", "proj.bias"}


def test_both_views_come_from_one_backbone():
    net = small()
    views = MultiviewEncoder(net, joined=4, cells=2, batch=3)
    image, frames = torch.randn(2, 3, 32, 32), torch.randn(2, 5, 3, 16, 16)
    with torch.no_grad():
        whole, tokens = views.image(image)
        moving = views.video(frames)
        _, patches = net(frames[1, 4:5])
        quarter = patches.reshape(4, 4, 176)[:2, 2:].reshape(-1, 176).mean(0)
    assert whole.shape == (2, 176) and tokens.shape == (2, 16, 4 * 176) and moving.shape == (2, 20, 176)
    assert torch.allclose(moving[1, 4 * 4 + 1], quarter, atol=1e-5)
    assert sum(p.numel() for p in views.parameters()) == sum(p.numel() for p in net.parameters())


def test_neighbours_along_a_row_are_joined():
    class Grid(torch.nn.Module):
        def forward(self, images):
            count = torch.arange(16.0).reshape(1, 16, 1).expand(len(images), -1, -1)
            return count[:, 0], count

    _, tokens = MultiviewEncoder(Grid()).image(torch.zeros(1, 3, 8, 8))
    assert tokens[0, 1].tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="16 patches cannot be joined by 3"):
        MultiviewEncoder(Grid(), joined=3).image(torch.zeros(1, 3, 8, 8))


# Both views of a clip against a forward pass that is written out here, formula by formula.

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def layer_norm(x, weight=1.0, bias=0.0, eps=1e-6):
    middle = x.mean(-1, keepdim=True)
    return (x - middle) / torch.sqrt(((x - middle) ** 2).mean(-1, keepdim=True) + eps) * weight + bias


def block(x, state, i, heads):
    def of(name):
        return state[f"blocks.{i}.{name}"]

    size = x.shape[-1] // heads
    seen = layer_norm(x, of("norm1.weight"), of("norm1.bias"))
    query, key, value = (seen @ part.T for part in of("attn.qkv.weight").chunk(3))
    query, value = query + of("attn.q_bias"), value + of("attn.v_bias")
    mixed = []
    for h in range(heads):
        q, k, v = (part[:, h * size : (h + 1) * size] for part in (query, key, value))
        mixed.append(torch.softmax(q @ k.T / math.sqrt(size), dim=-1) @ v)
    x = x + torch.cat(mixed, dim=1) @ of("attn.proj.weight").T + of("attn.proj.bias")
    seen = layer_norm(x, of("norm2.weight"), of("norm2.bias"))
    seen = seen @ of("mlp.fc1.weight").T + of("mlp.fc1.bias")
    seen = seen * 0.5 * (1 + torch.erf(seen / math.sqrt(2)))
    return x + seen @ of("mlp.fc2.weight").T + of("mlp.fc2.bias")


def tokens_of(picture, state, statistics, depth):
    """One picture (16, 16, 3) through the patches and ``depth`` blocks: 1 + 16 tokens."""
    mean, deviation = (torch.tensor(row, dtype=torch.float64) for row in statistics)
    pixels = (torch.from_numpy(picture).double() / 255 - mean) / deviation
    kernel = state["patch_embed.proj.weight"]
    rows = [
        (kernel * pixels[y : y + 4, x : x + 4].permute(2, 0, 1)).sum((1, 2, 3))
        for y in range(0, 16, 4)
        for x in range(0, 16, 4)
    ]
    patches = torch.stack(rows) + state["patch_embed.proj.bias"]
    tokens = torch.cat([state["cls_token"][0], patches]) + state["pos_embed"][0]
    for i in range(depth):
        tokens = block(tokens, state, i, heads=2)
    return tokens


def quarters(patches):
    """Means of 16 patches over the four quarters of the frame, row by row."""
    grid = patches.reshape(4, 4, -1)
    parts = [grid[y : y + 2, x : x + 2] for y in (0, 2) for x in (0, 2)]
    return torch.stack([part.reshape(4, -1).mean(0) for part in parts])


@pytest.fixture
def file(tmp_path):
    def write(config):
        path = tmp_path / "eva.safetensors"
        safetensors_torch.save_file(small(config).state_dict(), path)
        return path

    return write


def encoders(monkeypatch, path, **vision):
    """The paper's preset over a small EVA, with frames of 16 x 16."""
    monkeypatch.setattr("training.curriculum.encoders.audio_backbone", lambda preset: torch.nn.Identity())
    preset = load_preset("v2_7b")
    sizes = {"weights": str(path), "image_size": 16, "video_size": 16, "frames": 3, "precision": "float32"}
    return Encoders(
        preset.model_copy(
            update={
                "vision": preset.vision.model_copy(update=sizes | vision),
                "tokens": preset.tokens.model_copy(update={"image": 4}),
            }
        )
    )


def clip():
    rng = np.random.default_rng(0)
    pictures = tuple(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8) for _ in range(3))
    return DecodedClip(np.zeros(0, np.float32), pictures)


def near(found, told):
    return torch.allclose(found.double(), told, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("depth", ["last", "image"])
def test_both_views_are_computed_as_released(monkeypatch, file, depth):
    seen = encoders(monkeypatch, file(WHOLE), video_depth=depth).encode(clip())
    state = {name: value.double() for name, value in small(WHOLE).state_dict().items()}
    image = layer_norm(tokens_of(clip().pictures[1], state, CLIP, depth=2), eps=1e-5)
    assert near(seen["glance"], image[0])
    assert near(seen["image"], image[1:].reshape(4, 4 * 176))
    frames = []
    for picture in clip().pictures:
        if depth == "last":
            tokens = tokens_of(picture, state, IMAGENET, depth=3)
            frames.append(quarters(layer_norm(tokens, state["norm.weight"], state["norm.bias"])[1:]))
        else:
            frames.append(quarters(layer_norm(tokens_of(picture, state, IMAGENET, depth=2), eps=1e-5)[1:]))
    assert seen["video"].shape == (12, 176) and near(seen["video"], torch.cat(frames))


def test_frames_have_the_statistics_of_the_image_unless_told_otherwise(monkeypatch, file):
    path = file(WHOLE)
    ours, clips, none = (
        encoders(monkeypatch, path, video_normalise=name).encode(clip())
        for name in ("imagenet", "clip", None)
    )
    assert torch.equal(clips["video"], none["video"]) and not near(ours["video"], none["video"].double())
    assert torch.equal(ours["image"], none["image"])


def test_what_no_view_goes_through_is_not_held(file):
    image, both = (load_eva(file(WHOLE), depth).vit for depth in ("image", "last"))
    assert set(both.state_dict()) - set(image.state_dict()) == {
        name for name in both.state_dict() if name.startswith(("norm.", "blocks.2."))
    }
    assert image.config == SMALL and both.config == WHOLE
    assert set(load_eva(file(SMALL)).vit.state_dict()) == set(image.state_dict())


def test_an_eva_without_its_end_is_refused_for_frames_that_need_it(file):
    with pytest.raises(
        BundleError, match=r"eva\.safetensors: has no blocks\.2\.\* and norm\.\*.*video_depth"
    ):
        load_eva(file(SMALL), "last")


@pytest.mark.parametrize("name", ["norm.bias", "blocks.2.attn.v_bias"])
def test_an_end_that_is_not_whole_is_refused_by_name(file, name):
    path = file(WHOLE)
    state = safetensors_torch.load_file(path)
    del state[name]
    safetensors_torch.save_file(state, path)
    with pytest.raises(BundleError, match=name):
        load_eva(path, "last")
