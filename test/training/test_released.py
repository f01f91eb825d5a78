"""The authors' checkpoints: imported key by key, at small sizes with real values and at full shapes."""

import json
import math
import pickle
import struct
from dataclasses import replace

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
transformers = pytest.importorskip("transformers", reason="needs transformers (make test installs it)")
peft = pytest.importorskip("peft", reason="needs peft (make test installs it)")
safetensors_torch = pytest.importorskip(
    "safetensors.torch", reason="needs safetensors (make test installs it)"
)

from emollama_ros.errors import BundleError, InputError  # noqa: E402
from training.networks.backbones import load_eva  # noqa: E402
from training.networks.conv_attention import ConvAttentionConfig  # noqa: E402
from training.networks.emotion_llama import SOFT, EmotionLlama, EmotionLlamaConfig, Features  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT  # noqa: E402
from training.networks.fusion import FusionConfig  # noqa: E402
from training.presets import load_preset  # noqa: E402
from training.released.importing import (  # noqa: E402
    EVA,
    PRESET,
    REPORT,
    WEIGHTS,
    Inputs,
    Sizes,
    import_released,
    lines_of,
)
from training.released.weights import load_released, our_name  # noqa: E402

SIZES = Sizes(
    network=EmotionLlamaConfig(
        FusionConfig(
            sizes=ConvAttentionConfig(inputs=(12, 10, 10), hidden=8, width=8, output=6, blocks=2), tokens=4
        ),
        audio=12, image=14, video=10, image_tokens=2, video_tokens=3, audio_tokens=4, language=32,
    ),
    rank=4,
    eva=EvaConfig(width=16, heads=2, depth=2, hidden=32, patch=4, grid=4),
    llama={
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 50,
    },
    whisper={
        "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 24, "num_mel_bins": 8, "max_source_positions": 20,
    },
)  # fmt: skip
QUERY = "llama_model.base_model.model.model.layers.0.self_attn.q_proj"


def llama_model():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=4, **SIZES.llama))


def network(seed):
    """With LoRA whose second half is not zero, as after training."""
    lora = peft.LoraConfig(r=SIZES.rank, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    torch.manual_seed(seed)
    net = EmotionLlama(SIZES.network, peft.get_peft_model(llama_model(), lora)).eval()
    torch.manual_seed(seed)
    for p in net.parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.3)
    return net


def released_state(net, adapter=""):
    """The network's trained weights under the names of the authors' checkpoints."""
    state = {}
    for name, p in net.named_parameters():
        if p.requires_grad and not name.startswith(("head.", "fusion.absent")):
            name = name.removeprefix("fusion.") if name.startswith("fusion.conv_pro_module.") else name
            state[name.replace(".default.", adapter or ".")] = p.detach().clone()
    return state


def write_checkpoint(path, state):
    rest = {"optimizer": {"state": {}, "param_groups": []}, "config": {"run": {"seed": 42}}, "scaler": None}
    torch.save({"model": state, "epoch": 9, **rest}, path)


def eva_state():
    """All of EVA, as it is trained, and a classifier."""
    torch.manual_seed(3)
    whole = EvaViT(replace(SIZES.eva, is_whole=True)).state_dict()
    return {k: torch.randn_like(v) for k, v in whole.items()} | {"head.bias": torch.zeros(3)}


@pytest.fixture
def inputs(tmp_path):
    """Everything that is imported, small and whole."""
    folders = {name: tmp_path / name for name in ("llama", "whisper")}
    llama_model().save_pretrained(folders["llama"])
    (folders["llama"] / "tokenizer.json").write_text("{}")
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 30}
    special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
    config = transformers.WhisperConfig(**SIZES.whisper, **decoder, **special)
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folders["whisper"])
    (folders["whisper"] / "preprocessor_config.json").write_text('{"feature_size": 8}')
    write_checkpoint(tmp_path / "checkpoint_9.pth", released_state(network(1)))
    torch.save(eva_state(), tmp_path / "eva.pth")
    return Inputs(tmp_path / "checkpoint_9.pth", folders["llama"], tmp_path / "eva.pth", folders["whisper"])


def run(inputs, **options):
    return import_released(inputs, inputs.checkpoint.parent / "out", sizes=SIZES, **options)


def refused(inputs, *words, **options):
    """The import is refused with an error that has these words, and nothing but the report is written."""
    with pytest.raises(InputError) as caught:
        run(inputs, **options)
    assert all(word in str(caught.value) for word in words), caught.value
    out = inputs.checkpoint.parent / "out"
    assert not out.exists() or {file.name for file in out.iterdir()} <= {REPORT}


def changed(path, change):
    """Rewrite a checkpoint with one thing changed."""
    content = torch.load(path, weights_only=True)
    state = content.get("model", content)
    change(state)
    torch.save(content, path)


def clip(config):
    draw = torch.Generator().manual_seed(5)
    shapes = {
        "audio": (1, 1, 4, config.audio), "image": (1, 2, config.image),
        "glance": (1, config.video), "video": (1, 4, config.video),
    }  # fmt: skip
    noise = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return Features(**noise, present=torch.ones(1, 3, dtype=torch.bool))


def said(net):
    ids = torch.tensor([[7, *[SOFT] * net.config.soft_tokens, 9, 10]])
    with torch.no_grad():
        _, soft = net.perceive(clip(net.config))
        return net.llama_model(**net.prompt(ids, torch.ones_like(ids, dtype=torch.bool), soft)).logits


@pytest.mark.parametrize("adapter", ["", ".default."])
def test_an_imported_network_says_what_the_released_one_says(inputs, adapter):
    theirs, ours = network(1), network(2)
    write_checkpoint(inputs.checkpoint, released_state(theirs, adapter))
    run(inputs)
    assert not torch.allclose(said(ours), said(theirs), atol=1e-3)
    untrained = load_released(ours, inputs.checkpoint.parent / "out" / WEIGHTS)
    assert torch.equal(said(ours), said(theirs))
    assert set(untrained) == {"fusion.absent", "head.out.weight", "head.out.bias"}


def test_the_picture_encoder_is_written_with_its_last_block_and_norm(inputs, tmp_path):
    report = run(inputs)
    vision = load_preset(tmp_path / "out" / PRESET).vision
    loaded = load_eva(tmp_path / "out" / EVA, vision.video_depth).vit.state_dict()
    assert vision.video_depth == "last" and vision.video_normalise == "imagenet"
    assert {*loaded, "head.bias"} == set(eva_state())
    assert all(torch.equal(value, eva_state()[name]) for name, value in loaded.items())
    assert (report.files["eva"].unused, report.files["eva"].absent) == (("head.bias",), ())


@pytest.mark.parametrize("lost", ["all", "norm.bias", "blocks.2.attn.q_bias"])
def test_a_picture_encoder_without_its_end_is_taken_for_the_image_and_told(inputs, tmp_path, lost):
    end = {name for name in eva_state() if name.startswith(("norm.", "blocks.2."))}
    gone = end if lost == "all" else {lost}
    changed(inputs.eva, lambda state: [state.pop(name) for name in gone])
    report = run(inputs)
    vision = load_preset(tmp_path / "out" / PRESET).vision
    assert vision.video_depth == "image"
    assert load_eva(tmp_path / "out" / EVA, vision.video_depth).vit.config.depth == SIZES.eva.depth
    with pytest.raises(BundleError, match=r"blocks\.2"):
        load_eva(tmp_path / "out" / EVA, "last")
    found = report.files["eva"]
    assert set(found.absent) == gone and set(found.unused) == end - gone | {"head.bias"}
    lines = list(lines_of(report))
    assert any(line.startswith("absent      ") for line in lines)
    assert any("(video_depth: image), not as released" in line for line in lines)


def test_blocks_that_eva_never_had_are_unexpected(inputs):
    changed(inputs.eva, lambda state: state.update({"blocks.3.norm1.bias": torch.ones(16)}))
    refused(inputs, "eva.pth", "unexpected: blocks.3.norm1.bias")


def test_a_wrong_shape_in_the_last_block_is_never_taken(inputs):
    changed(inputs.eva, lambda state: state.update({"norm.bias": torch.ones(8)}))
    refused(inputs, "wrong shape: norm.bias is (8,), (16,) is needed", allow_partial=True)


def test_a_picture_encoder_in_our_form_is_not_copied(inputs, tmp_path):
    run(inputs)
    mine = (tmp_path / "out" / EVA).rename(tmp_path / "mine.safetensors")
    run(Inputs(inputs.checkpoint, inputs.llama, mine, inputs.whisper))
    assert not (tmp_path / "out" / EVA).exists()
    assert load_preset(tmp_path / "out" / PRESET).vision.weights == str(mine)


def test_the_preset_is_the_papers_with_these_files(inputs, tmp_path):
    run(inputs)
    made, papers = load_preset(tmp_path / "out" / PRESET), load_preset("v2_7b")
    assert made.vision.weights == str(tmp_path / "out" / EVA)
    assert made.language.model == f"hf:{inputs.llama}" and made.audio.backbone == f"hf:{inputs.whisper}"
    assert (made.curriculum, made.fusion, made.tokens) == (papers.curriculum, papers.fusion, papers.tokens)


def test_the_report_accounts_for_every_key(inputs, tmp_path):
    report = run(inputs)
    written = json.loads((tmp_path / "out" / REPORT).read_text())
    checkpoint = written["files"]["checkpoint"]
    assert sorted(checkpoint["matched"].values()) == sorted(released_state(network(1)))
    assert checkpoint["matched"][f"{QUERY}.lora_A.default.weight"] == f"{QUERY}.lora_A.weight"
    assert written["parameters"] == sum(v.numel() for v in released_state(network(1)).values())
    assert written["untrained"] == list(report.untrained) and "head.out.weight" in report.untrained
    assert len(report.files["whisper"].unused) > 10  # the decoder
    assert not any(file.problems() for file in report.files.values()) and not report.is_partial


def test_safetensors_are_taken_as_well(inputs, tmp_path):
    safetensors_torch.save_file(released_state(network(1)), tmp_path / "c.safetensors")
    report = run(Inputs(tmp_path / "c.safetensors", inputs.llama, inputs.eva, inputs.whisper))
    assert len(report.sha256[str(tmp_path / "c.safetensors")]) == 64


def test_a_missing_key_is_named(inputs):
    changed(inputs.checkpoint, lambda state: state.pop("llama_proj_audio.bias"))
    refused(inputs, "checkpoint_9.pth", "missing: llama_proj_audio.bias", "--allow-partial")


def test_an_unexpected_key_is_named(inputs):
    changed(inputs.checkpoint, lambda state: state.update({"feats_llama_proj1.weight": torch.zeros(2)}))
    refused(inputs, "checkpoint_9.pth", "unexpected: feats_llama_proj1.weight")


def test_a_wrong_shape_is_named_and_never_taken(inputs):
    changed(inputs.checkpoint, lambda state: state.update({"llama_proj.weight": torch.zeros(32, 13)}))
    refused(inputs, "wrong shape: llama_proj.weight is (32, 13), (32, 14) is needed", allow_partial=True)


def test_a_refused_import_leaves_the_report(inputs, tmp_path):
    changed(inputs.checkpoint, lambda state: state.pop("llama_proj_audio.bias"))
    refused(inputs, REPORT)
    written = json.loads((tmp_path / "out" / REPORT).read_text())
    assert written["files"]["checkpoint"]["missing"] == ["llama_proj_audio.bias"]


def test_a_partial_load_is_taken_when_asked_for_and_says_so(inputs, tmp_path):
    changed(inputs.checkpoint, lambda state: state.pop("llama_proj_audio.bias"))
    changed(inputs.checkpoint, lambda state: state.update(more=torch.zeros(2)))
    report = run(inputs, allow_partial=True)
    assert report.is_partial and "llama_proj_audio.bias" in report.untrained
    assert "more" not in safetensors_torch.load_file(tmp_path / "out" / WEIGHTS)
    with pytest.raises(InputError, match=r"lacks llama_proj_audio\.bias"):
        load_released(network(2), tmp_path / "out" / WEIGHTS)


def test_two_names_of_one_weight_are_refused(inputs):
    extra = {f"{QUERY}.lora_A.default.weight": torch.zeros(4, 32)}
    changed(inputs.checkpoint, lambda state: state.update(extra))
    refused(inputs, f"{QUERY}.lora_A.weight", "the same weight")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(inputs, value):
    changed(inputs.checkpoint, lambda state: state["llama_proj.bias"][3].fill_(value))
    refused(inputs, "checkpoint_9.pth", "llama_proj.bias", "NaN", allow_partial=True)


class Payload:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


@pytest.mark.parametrize("which", ["checkpoint", "eva"])
@pytest.mark.parametrize("form", ["zip", "bare"])
def test_code_in_a_checkpoint_is_never_run(inputs, which, form):
    path = getattr(inputs, which)
    hostile = {"model": {"llama_proj.weight": torch.zeros(2), "x": Payload()}}
    if form == "zip":
        torch.save(hostile, path)
    else:
        path.write_bytes(pickle.dumps(hostile))
    refused(inputs, path.name, "code")


def test_code_in_a_language_model_is_never_run(inputs):
    (inputs.llama / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Payload()}, inputs.llama / "pytorch_model.bin")
    refused(inputs, "pytorch_model.bin", "code")


@pytest.mark.parametrize("which", ["checkpoint", "eva"])
def test_a_file_that_is_cut_off_is_named(inputs, which):
    path = getattr(inputs, which)
    path.write_bytes(path.read_bytes()[:-200])
    refused(inputs, path.name, "cut off")


def test_safetensors_that_are_cut_off_are_named(inputs):
    path = inputs.llama / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    refused(inputs, "model.safetensors", "cut off")


@pytest.mark.parametrize("text", ["", "junk\n", "<html>404</html>"])
def test_what_is_no_checkpoint_is_named(inputs, text):
    inputs.checkpoint.write_text(text)
    refused(inputs, "checkpoint_9.pth: is", "Error" if text == "junk\n" else "damaged")


def test_something_besides_tensors_is_named(inputs):
    changed(inputs.checkpoint, lambda state: state.update(epoch=9))
    refused(inputs, "'epoch' is a int")


def test_a_missing_file_is_named(inputs):
    inputs.checkpoint.unlink()
    refused(inputs, "checkpoint_9.pth: no such file")


def test_folders_that_were_swapped_are_named(inputs):
    swapped = Inputs(inputs.checkpoint, inputs.whisper, inputs.eva, inputs.llama)
    refused(swapped, "whisper/config.json", "LLaMA-2-7B-chat")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_language_model_without_a_file_is_named(inputs, name):
    (inputs.llama / name).unlink()
    refused(inputs, str(inputs.llama), name)


def test_a_sound_encoder_of_another_size_is_named(inputs):
    config = json.loads((inputs.whisper / "config.json").read_text())
    (inputs.whisper / "config.json").write_text(json.dumps({**config, "encoder_layers": 6}))
    refused(inputs, "whisper/config.json: encoder_layers is 6, 2 is needed")


def test_mel_bands_of_another_whisper_are_named(inputs):
    (inputs.whisper / "preprocessor_config.json").write_text('{"feature_size": 80}')
    refused(inputs, "feature_size is 80, 8 is needed")


def test_what_a_sound_encoder_lacks_is_refused_even_in_part(inputs):
    path = inputs.whisper / "model.safetensors"
    state = safetensors_torch.load_file(path)
    del state["model.encoder.layer_norm.bias"]
    safetensors_torch.save_file(state, path)
    refused(inputs, f"{inputs.whisper}: missing: layer_norm.bias", allow_partial=True)


@pytest.mark.parametrize("damage", ["missing", "foreign", "shape"])
def test_another_picture_encoder_is_refused_even_in_part(inputs, damage):
    state = eva_state()
    if damage == "missing":
        del state["blocks.1.attn.q_bias"]
    elif damage == "foreign":
        state["rope.periods"] = torch.ones(2)
    else:
        state["pos_embed"] = torch.zeros(1, 26, 16)
    torch.save(state, inputs.eva)
    key = {"missing": "blocks.1.attn.q_bias", "foreign": "rope.periods", "shape": "pos_embed is (1, 26, 16)"}
    refused(inputs, "eva.pth", key[damage], allow_partial=False)
    if damage != "foreign":
        refused(inputs, "eva.pth", key[damage], allow_partial=True)


def test_an_index_is_checked_against_its_shards(inputs):
    shard = inputs.llama / "model-00001-of-00001.safetensors"
    (inputs.llama / "model.safetensors").rename(shard)
    index = inputs.llama / "model.safetensors.index.json"
    names = safetensors_torch.load_file(shard)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, shard.name)}))
    run(inputs)
    index.write_text(json.dumps({"weight_map": {"model.extra.weight": shard.name}}))
    with pytest.raises(InputError, match=r"names model\.extra\.weight"):
        run(inputs)
    index.write_text(json.dumps({"weight_map": {"a": "../../x.safetensors"}}))
    with pytest.raises(InputError, match="not in its folder"):
        run(inputs)


def test_old_tables_of_positions_in_a_language_model_are_known(inputs):
    path = inputs.llama / "model.safetensors"
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    safetensors_torch.save_file(safetensors_torch.load_file(path) | {name: torch.ones(4)}, path)
    assert run(inputs).files["llama"].unused == (name,)


def test_names_that_are_the_same_here_stay():
    assert our_name("llama_proj.weight") == "llama_proj.weight"
    assert our_name("conv_pro_module.fc_att.bias") == "fusion.conv_pro_module.fc_att.bias"
    assert our_name(f"{QUERY}.lora_B.weight") == f"{QUERY}.lora_B.default.weight"


# Full shapes: names and sizes as the authors' code makes them, written out here so that they do not come from
# the code under test.


def released_shapes():
    shapes = {
        "llama_proj.weight": (4096, 5632), "llama_proj_video.weight": (4096, 1408),
        "llama_proj_audio.weight": (4096, 1280), "llama_proj_fusion.weight": (4096, 256),
    }  # fmt: skip
    shapes |= {name.replace("weight", "bias"): (4096,) for name in shapes}
    fusion = {}
    for part, size in (
        ("feats_prep.0", 1280),
        ("feats_prep.1", 1408),
        ("feats_prep.2", 1408),
        ("attention_mlp", 384),
    ):
        fusion |= {f"{part}.0.weight": (512, size), f"{part}.0.bias": (512,)}
        fusion |= {f"{part}.3.weight": (128, 512), f"{part}.3.bias": (128,)}
    fusion |= {"fc_att.weight": (3, 128), "fc_att.bias": (3,), "conv_entry.weight": (128, 384, 1)}
    fusion |= {"conv_entry.bias": (128,), "fc_final.weight": (256, 128), "fc_final.bias": (256,)}
    for i in range(4):
        block = f"conv_module.conv_blocks.{i}.conv_block.0"
        fusion |= {f"{block}.weight": (128, 128, 3), f"{block}.bias": (128,)}
    shapes |= {f"conv_pro_module.{name}": shape for name, shape in fusion.items()}
    for layer in range(32):
        for part in ("q_proj", "v_proj"):
            lora = f"llama_model.base_model.model.model.layers.{layer}.self_attn.{part}.lora"
            shapes |= {f"{lora}_A.weight": (64, 4096), f"{lora}_B.weight": (4096, 64)}
    return shapes


def llama_shapes():
    shapes = dict.fromkeys(("model.embed_tokens.weight", "lm_head.weight"), (32000, 4096))
    shapes["model.norm.weight"] = (4096,)
    for i in range(32):
        layer = f"model.layers.{i}"
        shapes |= {f"{layer}.self_attn.{k}_proj.weight": (4096, 4096) for k in "qkvo"}
        shapes |= {f"{layer}.mlp.{k}_proj.weight": (11008, 4096) for k in ("gate", "up")}
        shapes |= {f"{layer}.mlp.down_proj.weight": (4096, 11008)}
        shapes |= {f"{layer}.{k}_layernorm.weight": (4096,) for k in ("input", "post_attention")}
    return shapes


def whisper_shapes():
    shapes = {"conv1.weight": (1280, 128, 3), "conv1.bias": (1280,), "conv2.weight": (1280, 1280, 3)}
    shapes |= {"conv2.bias": (1280,), "embed_positions.weight": (1500, 1280)}
    shapes |= {"layer_norm.weight": (1280,), "layer_norm.bias": (1280,)}
    for i in range(32):
        layer = f"layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{layer}.self_attn.{part}.weight"] = (1280, 1280)
            if part != "k_proj":
                shapes[f"{layer}.self_attn.{part}.bias"] = (1280,)
        for norm in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= {f"{layer}.{norm}.weight": (1280,), f"{layer}.{norm}.bias": (1280,)}
        shapes |= {f"{layer}.fc1.weight": (5120, 1280), f"{layer}.fc1.bias": (5120,)}
        shapes |= {f"{layer}.fc2.weight": (1280, 5120), f"{layer}.fc2.bias": (1280,)}
    decoder = {"model.decoder.layer_norm.weight": (1280,), "proj_out.weight": (51866, 1280)}
    return {f"model.encoder.{name}": shape for name, shape in shapes.items()} | decoder


def eva_shapes():
    shapes = {"cls_token": (1, 1, 1408), "pos_embed": (1, 257, 1408)}
    shapes |= {"patch_embed.proj.weight": (1408, 3, 14, 14), "patch_embed.proj.bias": (1408,)}
    shapes |= {"norm.weight": (1408,), "norm.bias": (1408,)}
    shapes |= {"head.weight": (1024, 1408), "head.bias": (1024,)}
    for i in range(40):
        block = f"blocks.{i}"
        shapes |= {f"{block}.{n}.{k}": (1408,) for n in ("norm1", "norm2") for k in ("weight", "bias")}
        shapes |= {f"{block}.attn.{k}": (1408,) for k in ("q_bias", "v_bias", "proj.bias")}
        shapes |= {f"{block}.attn.qkv.weight": (4224, 1408), f"{block}.attn.proj.weight": (1408, 1408)}
        shapes |= {f"{block}.mlp.fc1.weight": (6144, 1408), f"{block}.mlp.fc1.bias": (6144,)}
        shapes |= {f"{block}.mlp.fc2.weight": (1408, 6144), f"{block}.mlp.fc2.bias": (1408,)}
    return shapes


def write_sparse(path, shapes):
    """Safetensors of half-precision zeros that take no room on disk."""
    header, place = {}, 0
    for name, shape in shapes.items():
        end = place + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + place)


@pytest.fixture
def full(tmp_path):
    """All four at the released sizes; the trained weights random, each row of a matrix the same."""
    torch.manual_seed(0)
    state = {k: torch.randn(s[-1]).half().expand(s) for k, s in released_shapes().items()}
    write_checkpoint(tmp_path / "checkpoint_9.pth", state)
    (tmp_path / "llama").mkdir()
    (tmp_path / "whisper").mkdir()
    config = {
        "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "vocab_size": 32000,
    }  # fmt: skip
    (tmp_path / "llama" / "config.json").write_text(json.dumps(config))
    (tmp_path / "llama" / "tokenizer.model").write_bytes(b"")
    names = list(llama_shapes().items())
    places = {}
    for number, part in enumerate((names[:150], names[150:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        write_sparse(tmp_path / "llama" / file, dict(part))
        places |= {name: file for name, _ in part}
    (tmp_path / "llama" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    config = {
        "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120,
        "num_mel_bins": 128, "max_source_positions": 1500,
    }  # fmt: skip
    (tmp_path / "whisper" / "config.json").write_text(json.dumps(config))
    (tmp_path / "whisper" / "preprocessor_config.json").write_text('{"feature_size": 128}')
    write_sparse(tmp_path / "whisper" / "model.safetensors", whisper_shapes())
    write_sparse(tmp_path / "eva.safetensors", eva_shapes())
    return tmp_path, state


def arguments(folder):
    files = {
        "checkpoint": "checkpoint_9.pth",
        "llama": "llama",
        "eva": "eva.safetensors",
        "whisper": "whisper",
    }
    named = [word for name, file in files.items() for word in (f"--{name}", str(folder / file))]
    return ["import-released", *named, "--out", str(folder / "out")]


def test_the_released_sizes_from_the_command_line(full):
    from training.__main__ import app

    folder, state = full
    result = CliRunner().invoke(app, arguments(folder))
    assert result.exit_code == 0, result.output
    assert "71,536,387 parameters from the checkpoint" in result.output
    assert "conv_pro_module.fc_att.bias -> fusion.conv_pro_module.fc_att.bias" in result.output
    assert "untrained   head.out.weight" in result.output and "untrained   fusion.absent" in result.output
    written = safetensors_torch.load_file(folder / "out" / WEIGHTS)
    assert sum(value.numel() for value in written.values()) == 71_536_387
    assert all(torch.equal(written[our_name(name)], value) for name, value in state.items())
    counts = {
        k: len(v["matched"]) for k, v in json.loads((folder / "out" / REPORT).read_text())["files"].items()
    }
    assert counts == {"checkpoint": 166, "eva": 526, "llama": 291, "whisper": 487}


def test_an_error_on_the_command_line_is_one_without_a_traceback(inputs):
    from training.__main__ import app

    files = {**vars(inputs), "out": inputs.checkpoint.parent / "out"}
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    result = CliRunner().invoke(app, ["import-released", *words])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("error: ") and "hidden_size is 32, 4096 is needed" in result.stderr
