"""Memory that is worked out must be the memory that is taken."""

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
transformers = pytest.importorskip("transformers", reason="needs transformers (make test installs it)")

from small_system import SHAPES, small_preset  # noqa: E402
from torch.multiprocessing.reductions import StorageWeakRef  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from training.__main__ import app  # noqa: E402
from training.curriculum import memory  # noqa: E402
from training.curriculum.network import config_of  # noqa: E402
from training.networks.emotion_llama import IGNORED, SOFT, EmotionLlama, Features  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT  # noqa: E402
from training.networks.language import with_lora  # noqa: E402
from training.presets import CONFIGS, load_preset  # noqa: E402

BATCH, WORDS, ANSWERS, VOCABULARY, LAYERS = 2, 96, 12, 256, 6


def system(precision, checkpointing, layers=LAYERS):
    preset = small_preset()
    lora = preset.language.lora.model_copy(update={"rank": 8})
    changed = {"precision": precision, "checkpointing": checkpointing, "lora": lora, "longest": WORDS}
    preset = preset.model_copy(update={"language": preset.language.model_copy(update=changed)})
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=176, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).to(getattr(torch, precision))
    net = EmotionLlama(
        config_of(preset, SHAPES, 64), with_lora(model, lora, checkpointing=checkpointing)
    ).train()
    return preset, net


def inputs(net):
    length = WORDS + net.config.soft_tokens
    ids = torch.randint(0, VOCABULARY, (BATCH, length))
    ids[:, : net.config.soft_tokens] = SOFT
    targets = torch.full_like(ids, IGNORED)
    targets[:, -ANSWERS:] = ids[:, -ANSWERS:]
    drawn = {
        "audio": torch.randn(BATCH, *SHAPES.audio), "image": torch.randn(BATCH, *SHAPES.image),
        "glance": torch.randn(BATCH, SHAPES.video[1]), "video": torch.randn(BATCH, *SHAPES.video),
    }  # fmt: skip
    return Features(**drawn, present=torch.ones(BATCH, 3).bool()), ids, ids.ge(SOFT), targets


def kept_bytes(net):
    """Bytes of every storage that the forward pass keeps for the backward pass, weights aside."""
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _, loss = net(*inputs(net))
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_block_keeps_for_the_backward_pass_what_was_worked_out(precision):
    (preset, many), (_, few) = (system(precision, False, layers) for layers in (LAYERS, LAYERS - 3))
    told = memory.bytes_a_token(memory.sizes_of_network(many, preset), memory.BYTES[precision])
    tokens = BATCH * (WORDS + many.config.soft_tokens)
    assert 3 * tokens * told == pytest.approx(kept_bytes(many) - kept_bytes(few), rel=0.03)


def storage_of(tensor):
    return tensor.untyped_storage()._cdata


class Live(TorchDispatchMode):
    """The most bytes that tensors made meanwhile took at once."""

    def __init__(self, weights):
        super().__init__()
        self.peak, self._storages, self._known = 0, {}, {storage_of(p) for p in weights}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and storage_of(tensor) not in self._known:
                storage = tensor.untyped_storage()
                self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._storages = {key: v for key, v in self._storages.items() if not v[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._storages.values()))
        return out


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_whole_step_takes_what_was_worked_out(precision, checkpointing):
    preset, net = system(precision, checkpointing)
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad])
    given = inputs(net)
    with Live(net.parameters()) as live:  # first, so that gradients and moments are among what is counted
        for _ in range(2):
            net(*given)[1].backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=False)
    taken = live.peak + sum(p.nbytes for p in net.parameters())
    sizes = memory.sizes_of_network(net, preset)
    told = memory.needed(sizes, preset.language, BATCH, answers=ANSWERS)
    assert told.total == pytest.approx(taken, rel=0.05)


def test_the_papers_preset_is_counted_as_published():
    preset = load_preset("v2_7b")
    sizes = memory.sizes_of(preset)
    assert (sizes.trained, sizes.frozen, sizes.soft_tokens) == (71_541_388, 6_738_415_616, 448)
    with torch.device("meta"):
        eva = sum(p.numel() for p in EvaViT(EvaConfig(is_whole=True)).parameters())
    assert memory.vision_size(preset.vision) == (1408, eva)


def test_shards_are_parts_and_copies_are_whole():
    preset = load_preset("tiny")
    sizes = memory.sizes_of(preset)
    one = memory.needed(sizes, preset.language, 8)
    copied = memory.needed(sizes, preset.language, 8, 4, "ddp")
    shared = memory.needed(sizes, preset.language, 8, 4, "fsdp")
    assert (copied.weights, copied.gradients, copied.optimiser) == (
        one.weights,
        one.gradients,
        one.optimiser,
    )
    assert copied.exchange == one.gradients and one.exchange == 0
    assert (shared.weights, shared.optimiser) == (one.weights // 4, one.optimiser // 4)
    assert shared.exchange > 0 and one.activations == shared.activations


def test_the_command_prints_a_table_and_refuses_what_it_does_not_know(tmp_path):
    result = CliRunner().invoke(app, ["memory", "--config", "tiny", "--gpus", "2"])
    table = memory.table(load_preset("tiny"), 2)
    assert result.exit_code == 0 and result.stdout == table + "\n"
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:5]] == ["1", "2, DDP", "2, FSDP"]
    text = (CONFIGS / "tiny.yaml").read_text().replace("whisper-tiny.en", "hf:no/such")
    (tmp_path / "other.yaml").write_text(text)
    result = CliRunner().invoke(app, ["memory", "--config", str(tmp_path / "other.yaml")])
    assert result.exit_code == 1 and "audio: sizes of 'hf:no/such' are not known" in result.stderr
    assert CliRunner().invoke(app, ["memory", "--config", "tiny", "--gpus", "0"]).exit_code == 2


def test_the_document_holds_these_tables():
    text = (CONFIGS.parents[1] / "docs" / "training.md").read_text()
    assert memory.table(load_preset("tiny"), 1) in text, "run: python -m training memory --config tiny"
    assert memory.table(load_preset("v2_7b"), 4) in text, "the same with v2_7b and --gpus 4"
