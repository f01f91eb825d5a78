"""The picture encoders: EVA-ViT-G's names and sizes, positions at other sizes, both views of one backbone."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from training.networks.eva_vit import EvaConfig, EvaViT, config_of  # noqa: E402
from training.networks.views import MultiviewEncoder  # noqa: E402

SMALL = EvaConfig(width=176, heads=2, depth=2, hidden=32, patch=4, grid=4)


def small():
    torch.manual_seed(0)
    net = EvaViT(SMALL).eval()
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
