"""What is wrong in the released code of Emotion-LLaMAv2 (of 2026-04-21), and that it is not so here.

One part for each defect, in the words of what a user would see.
"""

from __future__ import annotations

import importlib
import pkgutil
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
transformers = pytest.importorskip("transformers", reason="needs transformers (make test installs it)")
peft = pytest.importorskip("peft", reason="needs peft (make test installs it)")
safetensors_torch = pytest.importorskip(
    "safetensors.torch", reason="needs safetensors (make test installs it)"
)

import training  # noqa: E402
from emollama_ros.errors import BundleError  # noqa: E402
from emollama_ros.preprocess.tokens import choose_frames, spread  # noqa: E402
from training.curriculum.encoders import Encoders, batch_of  # noqa: E402
from training.mmeverse.decoding import DecodedClip  # noqa: E402
from training.mmeverse.instructions import instructions_of  # noqa: E402
from training.mmeverse.label_sets import LABEL_SPACES  # noqa: E402
from training.mmeverse.schema import Media, Record  # noqa: E402
from training.networks import backbones  # noqa: E402
from training.networks.conv_attention import ConvAttentionConfig  # noqa: E402
from training.networks.emotion_llama import SOFT, EmotionLlama, EmotionLlamaConfig, Features  # noqa: E402
from training.networks.eva_vit import EvaConfig, EvaViT  # noqa: E402
from training.networks.fusion import FusionConfig  # noqa: E402
from training.networks.whisper import WhisperEncoder  # noqa: E402
from training.presets import load_preset  # noqa: E402

RATE = 16000


class Brightness(torch.nn.Module):
    """A picture encoder that says how bright each picture is, and counts the pictures it was given."""

    width = 4

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        levels = images.mean(dim=(1, 2, 3))
        self.seen.append(len(images))
        whole = levels[:, None].expand(-1, self.width)
        return whole, whole[:, None].expand(-1, 9, -1)


class Length(torch.nn.Module):
    """A sound encoder that remembers how much sound it was given; a token for 20 ms."""

    width = 6

    def __init__(self):
        super().__init__()
        self.samples = []

    def forward(self, samples):
        self.samples.append(samples.shape[1])
        time = samples.shape[1] // 320
        return (
            samples[:, : time * 320]
            .reshape(len(samples), 1, time, 320)
            .mean(-1, keepdim=True)
            .expand(-1, 4, -1, self.width)
        )


@pytest.fixture
def encoders(monkeypatch):
    """The tiny preset's way of looking and listening, with encoders whose answers can be told by hand."""
    monkeypatch.setattr("training.curriculum.encoders.vision_backbone", lambda preset: Brightness())
    monkeypatch.setattr("training.curriculum.encoders.audio_backbone", lambda preset: Length())
    return Encoders(load_preset("tiny"))


def brightening(count, seconds=1.0):
    """A clip whose i-th picture has the grey level i."""
    pictures = tuple(np.full((32, 32, 3), level, np.uint8) for level in range(count))
    return DecodedClip(np.full(round(seconds * RATE), 0.1, np.float32), pictures)


def levels(features, name):
    return features[name].float()[..., 0].reshape(-1).round().int().tolist()


# 1. Of a long clip, the released code takes a random run of 16 neighbouring frames, half a second.


@pytest.mark.parametrize("count", [17, 75, 250])
def test_frames_are_taken_uniformly_over_the_whole_clip(encoders, count):
    chosen = levels(encoders.encode(brightening(count)), "video")
    gaps = np.diff(chosen)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, count - 1, 16)
    assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1


def test_a_short_clip_repeats_frames_in_order(encoders):
    chosen = levels(encoders.encode(brightening(5)), "video")
    assert set(chosen) == set(range(5)) and chosen == sorted(chosen)


# 2. The released code trains on the frame at the peak, and shows the model the first one afterwards.


@pytest.mark.parametrize("count", [1, 2, 7, 16, 100])
def test_training_and_robot_look_at_the_same_picture_and_frames(encoders, count):
    found = encoders.encode(brightening(count))
    image, frames = choose_frames(np.arange(count, dtype=np.float32)[:, None], 16)
    assert levels(found, "glance") == [int(image[0])] == [count // 2]
    if count > 1:
        assert levels(found, "video") == frames[:, 0].astype(int).tolist()


@pytest.mark.parametrize("name", ["tiny", "v2_7b"])
def test_every_preset_looks_at_the_middle_frame(name):
    assert load_preset(name).vision.image_frame == "middle"


# 3. The released code works out which modalities are missing, and then attends to everything.


def small_network(fusion="conv_attention"):
    torch.manual_seed(0)
    sizes = ConvAttentionConfig(inputs=(6, 4, 4), hidden=8, width=8, output=6, blocks=1, dropout=0.0)
    config = EmotionLlamaConfig(
        FusionConfig(fusion, sizes, tokens=8), audio=6, image=4, video=4, image_tokens=1, video_tokens=4,
        audio_tokens=8, audio_layers=4, language=16,
    )  # fmt: skip
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=20, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
        )
    )
    return EmotionLlama(config, llama).eval()


def ids_of(net):
    return torch.tensor([[3, *[SOFT] * net.config.soft_tokens, 5, 6]])


@pytest.mark.parametrize(
    ("present", "masked"),
    [
        ((True, False, False), ("image", "video")),
        ((False, True, True), ("audio",)),
        ((False, True, False), ("video", "audio")),
        ((False, False, False), ("fusion", "image", "video", "audio")),
    ],
)
def test_attention_leaves_out_what_is_missing(present, masked):
    net, attended = small_network(), {}
    ids = ids_of(net)
    net.llama_model.model.register_forward_pre_hook(
        lambda module, args, kwargs: attended.update(kwargs), with_kwargs=True
    )
    features = Features(
        torch.randn(1, 4, 8, 6), torch.randn(1, 1, 4), torch.randn(1, 4), torch.randn(1, 16, 4),
        torch.tensor([present]),
    )  # fmt: skip
    net(features, ids, torch.ones_like(ids, dtype=torch.bool), ids.clamp(min=0))
    expected = [
        1,
        *(0 if name in masked else 1 for name, n in net.config.layout.items() for _ in range(n)),
        1,
        1,
    ]
    assert attended["attention_mask"][0].tolist() == expected


def test_the_words_that_follow_cannot_tell_what_was_masked():
    net = small_network()
    ids = ids_of(net)
    here = torch.ones_like(ids, dtype=torch.bool)
    present = torch.tensor([[True, False, False]])

    def said(pictures):
        torch.manual_seed(1)
        sound = torch.randn(1, 4, 8, 6)
        clip = Features(sound, pictures[:, :1], pictures[:, 0], pictures, present)
        with torch.no_grad():
            return net.llama_model(**net.prompt(ids, here, net.perceive(clip)[1])).logits[0, -2:]

    assert torch.equal(said(torch.zeros(1, 16, 4)), said(torch.full((1, 16, 4), 1e4)))


# 4. In the released code a picture alone ends in a NameError.


def test_a_picture_alone_goes_all_the_way(encoders):
    net = small_network()
    picture = np.full((32, 32, 3), 90, np.uint8)
    found = encoders.encode(DecodedClip(np.zeros(0, np.float32), (picture,)))
    assert set(found) == {"image", "glance"}
    features = Features(**batch_of([found], encoders.shapes))
    ids = ids_of(net)
    with torch.no_grad():
        perceived, soft = net.perceive(features)
        said = net.llama_model(**net.prompt(ids, torch.ones_like(ids, dtype=torch.bool), soft)).logits
    assert torch.isfinite(said[:, -1]).all() and torch.isfinite(perceived.logits).all()
    assert soft.mask.sum() == net.config.fusion.tokens + net.config.image_tokens


# 5. NumPy is seeded once at import there: a clip's frames depend on how many clips came before.


def test_a_clip_has_the_same_features_whatever_came_before(encoders):
    alone = encoders.encode(brightening(90))
    np.random.seed(7)
    torch.manual_seed(7)
    for count in (3, 40, 120):
        encoders.encode(brightening(count, seconds=2))
    after = encoders.encode(brightening(90))
    assert alone.keys() == after.keys() and all(torch.equal(alone[name], after[name]) for name in alone)


def test_choosing_frames_touches_no_generator():
    before = np.random.get_state()[1].copy()
    spread(np.arange(300), 16)
    assert np.array_equal(before, np.random.get_state()[1])


# 6. There, frames over time go through a second copy of EVA, loaded without an account of what did not match.


SMALL_EVA = EvaConfig(width=176, heads=2, depth=2, hidden=32, patch=14, grid=16)


@pytest.fixture
def eva_file(tmp_path):
    safetensors_torch.save_file(EvaViT(SMALL_EVA).state_dict(), tmp_path / "eva.safetensors")
    return tmp_path / "eva.safetensors"


def test_both_views_go_through_one_copy_of_the_backbone(encoders):
    encoders.encode(brightening(40))
    assert encoders.vision.backbone.seen == [1, 16]  # the image, then the frames, through the same module
    assert sum(isinstance(module, Brightness) for module in encoders.vision.modules()) == 1


def test_the_frozen_backbone_may_be_in_half_precision():
    preset = load_preset("v2_7b")
    assert preset.vision.precision == preset.audio.precision == "bfloat16"


@pytest.mark.parametrize("damage", ["renamed", "missing"])
def test_a_backbone_with_other_names_is_refused_by_name(eva_file, damage):
    state = safetensors_torch.load_file(eva_file)
    value = state.pop("blocks.1.attn.q_bias")
    if damage == "renamed":  # as another library calls it
        state["blocks.1.attn.qkv.bias"] = value
    safetensors_torch.save_file(state, eva_file)
    with pytest.raises(BundleError, match=r"blocks\.1\.attn\.q_bias"):
        backbones.load_eva(eva_file)


def test_a_whole_backbone_loads(eva_file):
    loaded = backbones.load_eva(eva_file).vit.state_dict()
    assert all(torch.equal(v, loaded[k]) for k, v in safetensors_torch.load_file(eva_file).items())


# 7. There, modules are imported that are not in the repository, and paths of one machine stand in the code.


def test_every_module_can_be_imported():
    names = [
        m.name for m in pkgutil.walk_packages(training.__path__, "training.") if "__main__" not in m.name
    ]
    missing = {}
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing[name] = error.name or ""
    assert len(names) > 50
    assert not {k: v for k, v in missing.items() if v.split(".")[0] in ("training", "emollama_ros")}, missing


def test_no_path_of_a_machine_stands_in_the_code(root):
    files = [p for room in ("training", "emollama_ros", "model_export") for p in (root / room).rglob("*")]
    texts = [p for p in files if p.suffix in (".py", ".yaml", ".json") and p.is_file()]
    own = re.compile(r"/(?:home|Users|root|mnt|data[0-9])/\w")
    assert len(texts) > 100
    assert not [str(p) for p in texts if own.search(p.read_text(encoding="utf-8"))]


def test_documented_commands_exist(root):
    from training.__main__ import app

    known = {
        command.name or command.callback.__name__.replace("_", "-") for command in app.registered_commands
    }
    known |= {group.name for group in app.registered_groups}
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    named = {m for page in pages for m in re.findall(r"python -m training ([a-z][a-z-]*)", page.read_text())}
    assert named and named <= known, named - known


# 8. There, Whisper's decoder runs too, and padding to 30 s takes most of the audio tokens.


def test_whisper_is_taken_without_its_decoder():
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_mel_bins=8, vocab_size=20, pad_token_id=0,
        max_source_positions=1500,
    )  # fmt: skip
    model = transformers.WhisperModel(config).eval()
    decoder_ran = []
    model.decoder.register_forward_hook(lambda *args: decoder_ran.append(True))
    extractor = transformers.WhisperFeatureExtractor(feature_size=8)
    ours = backbones.TransformersAudio(model, extractor)
    with torch.no_grad():
        heard = ours(torch.zeros(1, RATE))
    assert heard.shape == (1, 2, 1500, 16) and not decoder_ran
    assert not [name for name, _ in ours.named_parameters() if "decoder" in name]


def test_tiny_hears_the_clip_as_long_as_it_is(encoders):
    encoders.encode(brightening(2, seconds=3))
    assert encoders.audio.samples == [3 * RATE]


def test_every_audio_token_of_tiny_is_of_the_clip(encoders):
    sound = np.repeat(np.arange(1, 9, dtype=np.float32), 3 * RATE // 8)
    found = encoders.encode(DecodedClip(sound))["audio"].float()
    assert found.shape == (4, 8, 6)
    assert torch.allclose(found[0, :, 0], torch.arange(1.0, 9), atol=0.1)


def test_our_whisper_makes_tokens_for_what_it_hears_only():
    encoder = WhisperEncoder(width=16, heads=2, layers=1, mels=8)
    with torch.no_grad():
        assert encoder(torch.zeros(1, 8, 300)).shape == (1, 1, 150, 16)


# 9. A pool of prompts there offers labels that the data set does not have.


@pytest.mark.parametrize("space", sorted(LABEL_SPACES))
@pytest.mark.parametrize("stage", [1, 2])
def test_exactly_the_labels_of_the_space_are_offered(space, stage):
    labels = LABEL_SPACES[space]
    record = Record(
        id="a", source="mer2023", split="train", media=Media(video="a.mp4"), transcript="", task="emotion",
        label_space=labels, label=labels[0],
    )  # fmt: skip
    others = {label for names in LABEL_SPACES.values() for label in names} - set(labels)
    for seed in range(20):
        for made in instructions_of(record, stage, seed):
            assert set(made.label_space) == set(labels)
            rest = made.prompt
            for label in sorted(labels, key=len, reverse=True):
                rest = re.sub(rf"(?<!\w){re.escape(label)}(?!\w)", "", rest, flags=re.IGNORECASE)
            offered = [x for x in others if re.search(rf"(?<!\w){re.escape(x)}(?!\w)", rest, re.IGNORECASE)]
            assert not offered, (made.prompt, offered)
