"""Modality masks reach every output."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from training.networks.perception_net import PerceptionNet, PerceptionNetConfig, statistics  # noqa: E402


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = PerceptionNet(
        PerceptionNetConfig(audio=12, vision=10, tokens=5, hidden=16, width=8, output=6)
    ).eval()
    # What starts at zero learns; untrained it would hide everything.
    for values in (net.absent, net.head.weight, net.voice.linear.weight, net.face.linear.weight):
        torch.nn.init.normal_(values)
    return net


def inputs(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 4, 5, 12), (2, 10), (2, 5, 10))
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("absent", [0, 1])
def test_noise_in_a_masked_modality_changes_no_output_bit(net, absent):
    present = torch.ones(2, 2)
    present[:, absent] = 0
    clean, noisy = inputs(1), inputs(1)
    for i in ((0,), (1, 2))[absent]:
        noisy[i] = noisy[i] * 100 + torch.randn_like(noisy[i])
    for a, b in zip(net(*clean, present), net(*noisy, present), strict=True):
        assert torch.equal(a, b)


def test_an_unmasked_modality_matters(net):
    both = torch.ones(2, 2)
    assert not torch.equal(net(*inputs(1), both)[0], net(*inputs(2), both)[0])


def test_affect_stays_in_range(net):
    audio, image, video = (x * 1e3 for x in inputs(3))
    affect = net(audio, image, video, torch.ones(2, 2))[1]
    assert affect.shape == (2, 2)
    assert affect.abs().max() <= 1


def test_statistics_are_mean_and_deviation():
    tokens = torch.tensor([[[1.0], [3.0]]])
    assert torch.allclose(statistics(tokens), torch.tensor([[2.0, 1.0]]), atol=1e-4)
