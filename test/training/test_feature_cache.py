"""Features once a clip: what they depend on, what is kept, what a killed or damaged cache costs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")

from native_layouts.media import write_clip  # noqa: E402

from emollama_ros.errors import BundleError, ConfigError, InputError  # noqa: E402
from training.curriculum.encoders import Encoders, batch_of  # noqa: E402
from training.curriculum.feature_cache import SHARD, ContentKeys, FeatureCache, fill  # noqa: E402
from training.mmeverse.decoding import DecodedClip  # noqa: E402
from training.mmeverse.schema import Media  # noqa: E402
from training.presets import load_preset  # noqa: E402


@pytest.fixture(scope="module")
def encoders():
    try:
        return Encoders(load_preset("tiny"))
    except BundleError as error:
        pytest.skip(str(error))


def clip(frames=5, seconds=1.0, seed=0):
    rng = np.random.default_rng(seed)
    pictures = tuple(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8) for _ in range(frames))
    return DecodedClip(rng.normal(0, 0.1, int(seconds * 16000)).astype(np.float32), pictures)


def test_shapes_are_those_announced(encoders):
    found, shapes = encoders.encode(clip()), encoders.shapes
    assert tuple(found["audio"].shape) == shapes.audio and tuple(found["image"].shape) == shapes.image
    assert tuple(found["video"].shape) == shapes.video and found["glance"].shape == shapes.video[1:]
    assert all(value.dtype == torch.float16 and torch.isfinite(value).all() for value in found.values())


def test_what_a_clip_lacks_is_not_made_up(encoders):
    assert set(encoders.encode(clip(frames=0))) == {"audio"}
    assert set(encoders.encode(clip(frames=1, seconds=0))) == {"glance", "image"}
    assert encoders.encode(clip(frames=0, seconds=0.1)) == {}


def test_features_do_not_depend_on_what_was_encoded_before(encoders):
    first = encoders.encode(clip())
    encoders.encode(clip(frames=9, seconds=2.0, seed=5))
    again = encoders.encode(clip())
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_video_frames_are_spread_over_the_clip_and_the_image_is_its_middle(encoders):
    pictures = tuple(np.full((32, 32, 3), shade, np.uint8) for shade in range(0, 250, 6))
    moving = encoders.encode(DecodedClip(np.zeros(0, np.float32), pictures))
    still = [encoders.encode(DecodedClip(np.zeros(0, np.float32), (p,)))["glance"] for p in pictures]
    assert torch.allclose(moving["video"][0], still[0], atol=2e-2)
    assert torch.allclose(moving["video"][-1], still[-1], atol=2e-2)
    assert torch.allclose(moving["glance"], still[len(pictures) // 2], atol=2e-2)


def test_a_batch_says_what_each_clip_has(encoders):
    clips = [encoders.encode(clip()), encoders.encode(clip(frames=0)), encoders.encode(clip(1, 0.0))]
    batch = batch_of(clips, encoders.shapes)
    assert batch["present"].tolist() == [[True] * 3, [True, False, False], [False, True, False]]
    assert batch["video"].shape == (3, *encoders.shapes.video) and not batch["video"][1].any()


def test_the_version_tells_settings_and_weights_apart(encoders):
    preset = load_preset("tiny")
    other = preset.model_copy(update={"audio": preset.audio.model_copy(update={"layers": 2})})
    version = encoders.version
    assert Encoders(other).version != version == Encoders(preset).version
    changed = Encoders(preset)
    with torch.no_grad():
        changed.audio.encoder.norm.bias[0] += 1
    assert changed.version != version


def test_a_backbone_that_is_not_there_is_named(tmp_path):
    preset = load_preset("tiny")
    vision = preset.vision.model_copy(update={"backbone": f"hf:{tmp_path}/none"})
    with pytest.raises(ConfigError, match="none cannot be loaded"):
        Encoders(preset.model_copy(update={"vision": vision}))


def test_backbones_of_transformers_are_taken(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ViTConfig(image_size=32, patch_size=8, **sizes)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    whisper = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, vocab_size=100,
        pad_token_id=1, bos_token_id=1, eos_token_id=1, decoder_start_token_id=1,
    )  # fmt: skip
    transformers.WhisperModel(whisper).save_pretrained(tmp_path / "whisper")
    transformers.WhisperFeatureExtractor().save_pretrained(tmp_path / "whisper")
    preset = load_preset("tiny")
    vision = {"backbone": f"hf:{tmp_path}/vit", "image_size": 32, "video_size": 32, "normalise": "imagenet"}
    audio = {"backbone": f"hf:{tmp_path}/whisper", "layers": 2, "pad_to_s": 30.0}
    changes = {
        "vision": preset.vision.model_copy(update=vision),
        "audio": preset.audio.model_copy(update=audio),
    }
    encoders = Encoders(preset.model_copy(update=changes))
    found = encoders.encode(clip())
    assert tuple(found["audio"].shape) == encoders.shapes.audio and encoders.shapes.audio[2] == 16
    assert tuple(found["video"].shape) == encoders.shapes.video and encoders.shapes.video[1] == 16


def features(seed):
    return {"audio": torch.full((2, 3), float(seed)), "video": torch.arange(4.0) + seed}


def test_what_was_added_is_found_again(tmp_path):
    cache = FeatureCache(tmp_path, "v1")
    for i in range(SHARD + 3):
        cache.add(f"k{i}", features(i))
    assert len(cache) == SHARD + 3 and torch.equal(cache.get("k258")["video"], features(258)["video"])
    cache.flush()
    again = FeatureCache(tmp_path, "v1")
    assert len(again) == SHARD + 3 and "k0" in again and "x" not in again
    assert all(torch.equal(again.get("k7")[name], value) for name, value in features(7).items())
    assert len(FeatureCache(tmp_path, "v2")) == 0
    with pytest.raises(KeyError):
        again.get("x")


def test_a_damaged_shard_is_computed_again(tmp_path):
    cache = FeatureCache(tmp_path, "v1")
    cache.add("a", features(1))
    cache.flush()
    (shard,) = cache.folder.glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-7])
    again = FeatureCache(tmp_path, "v1")
    assert "a" not in again
    assert fill(again, [("a", lambda: features(1))]) == []
    assert torch.equal(FeatureCache(tmp_path, "v1").get("a")["video"], features(1)["video"])


def test_filling_computes_what_is_missing_and_tells_what_cannot_be(tmp_path):
    cache, asked = FeatureCache(tmp_path, "v1"), []

    def good(key):
        return lambda: asked.append(key) or features(1)

    def bad():
        raise InputError("clip.mp4: cut off")

    assert fill(cache, [("a", good("a")), ("b", bad), ("c", good("c"))]) == [("b", "clip.mp4: cut off")]
    assert fill(cache, [("a", good("a")), ("c", good("c")), ("d", good("d"))]) == []
    assert asked == ["a", "c", "d"]


def test_keys_follow_content_and_span_not_names(tmp_path):
    write_clip(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    write_clip(tmp_path / "c.mp4", seconds=0.3)

    keys = ContentKeys(tmp_path / "memo")
    a, b, c = (keys.key(Media(video=f"{name}.mp4"), tmp_path) for name in "abc")
    assert a == b != c
    assert keys.key(Media(video="a.mp4", start_s=0.1, end_s=0.2), tmp_path) not in (a, c)
    with (tmp_path / "memo" / "content.jsonl").open("a") as memo:
        memo.write('["cut off')
    again = ContentKeys(tmp_path / "memo", process=1)
    assert again.key(Media(video="a.mp4"), tmp_path) == a
    with pytest.raises(InputError, match="none.mp4: cannot be read"):
        again.key(Media(video="none.mp4"), tmp_path)
