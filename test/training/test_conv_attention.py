"""Conv-Attention against vectors of the released code, and its published size."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from emollama_ros.errors import InputError  # noqa: E402
from training.networks.conv_attention import ConvAttention, ConvAttentionConfig  # noqa: E402
from training.released.weights import load_conv_attention  # noqa: E402

SMALL = ConvAttentionConfig(inputs=(5, 7, 3), hidden=8, width=4, output=6, blocks=2)


def test_reproduces_the_released_code(shared_dir):
    vectors = np.load(shared_dir / "conformance" / "conv_attention.npz")
    net = load_conv_attention({n[7:]: vectors[n] for n in vectors.files if n.startswith("weight:")})
    with torch.no_grad():
        output = net([torch.from_numpy(vectors[f"input{i}"]) for i in range(3)]).numpy()
    assert np.abs(output - vectors["output"]).max() < 1e-5


def test_released_sizes_give_the_published_parameter_count():
    with torch.device("meta"):
        net = ConvAttention()
    assert sum(p.numel() for p in net.parameters()) == 2_838_275


def test_all_sizes_are_read_off_the_weights():
    state = {f"conv_pro_module.{k}": v.numpy() for k, v in ConvAttention(SMALL).state_dict().items()}
    net = load_conv_attention(state)
    assert (net.config.inputs, net.config.hidden, net.config.width) == ((5, 7, 3), 8, 4)
    assert (net.config.output, net.config.blocks, net.training) == (6, 2, False)
    assert all(
        torch.equal(v, torch.from_numpy(state[f"conv_pro_module.{k}"])) for k, v in net.state_dict().items()
    )


@pytest.mark.parametrize("damage", ["missing", "foreign", "shape"])
def test_weights_of_something_else_are_refused(damage):
    state = dict(ConvAttention(SMALL).state_dict())
    if damage == "missing":
        del state["fc_final.weight"]
    elif damage == "foreign":
        state["lm_head.weight"] = torch.zeros(1)
    else:
        state["fc_att.weight"] = torch.zeros(2, 4)
    with pytest.raises(InputError, match="fc_final.weight|lm_head.weight|fc_att.weight"):
        load_conv_attention(state)


@pytest.mark.parametrize("branch", ["attention", "conv"])
def test_one_branch_alone_has_no_weights_of_the_other(branch):
    whole = ConvAttention(SMALL).eval()
    one = ConvAttention(ConvAttentionConfig(**{**vars(SMALL), "branches": (branch,)})).eval()
    names = set(one.state_dict())
    one.load_state_dict({k: v for k, v in whole.state_dict().items() if k in names})
    assert names < set(whole.state_dict())
    streams = [torch.randn(2, 9, size) for size in SMALL.inputs]
    with torch.no_grad():
        assert one(streams).shape == (2, 9, 6) and not torch.allclose(one(streams), whole(streams))
