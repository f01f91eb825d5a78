"""Presets: the two that are committed, and what is refused."""

import pytest
import yaml

from emollama_ros.errors import ConfigError
from training.presets import CONFIGS, load_preset, parse_preset


@pytest.fixture
def tiny():
    return yaml.safe_load((CONFIGS / "tiny.yaml").read_text())


def test_the_papers_values():
    preset = load_preset("v2_7b")
    one, two = preset.curriculum
    assert (one.rate, one.least_rate, one.warmup, one.weight_decay, one.steps) == (
        1e-4,
        1e-6,
        1000,
        0.05,
        50000,
    )
    assert vars(preset.tokens) == {"fusion": 64, "image": 256, "video": 64, "audio": 64}
    vision = preset.vision
    assert (vision.normalise, vision.video_normalise, vision.video_depth) == ("clip", "imagenet", "last")
    assert (preset.language.lora.rank, preset.language.lora.alpha, preset.audio.pad_to_s) == (64, 16, 30)


def test_every_committed_preset_loads_under_its_own_name():
    for path in CONFIGS.glob("*.yaml"):
        assert load_preset(path).name == path.stem == load_preset(path.stem).name


def refused(data, *words):
    with pytest.raises(ConfigError) as caught:
        parse_preset(data, "my.yaml")
    assert all(word in str(caught.value) for word in ("my.yaml", *words)), caught.value


def test_a_wrong_key_is_refused_with_what_is_available(tiny):
    tiny["vision"]["sise"] = 224
    refused(tiny, "vision.sise: no such key; available: backbone, weights, image_size")


def test_a_wrong_key_in_a_stage_is_named_with_its_place(tiny):
    tiny["curriculum"][1]["lr"] = 1
    refused(tiny, "curriculum.1.lr: no such key", "rate", "warmup")


def test_an_unknown_backbone_is_refused_with_what_is_available(tiny):
    tiny["audio"]["backbone"] = "wav2vec9"
    refused(tiny, "audio: no backbone 'wav2vec9'; available: whisper-tiny.en, hf:NAME")


@pytest.mark.parametrize("prefix", ["hf:", "timm:"])
def test_backbones_of_libraries_are_taken(tiny, prefix):
    tiny["vision"]["backbone"] = f"{prefix}some/model"
    assert parse_preset(tiny).vision.backbone == f"{prefix}some/model"


def test_tokens_that_do_not_fit_the_patches_are_refused():
    data = yaml.safe_load((CONFIGS / "v2_7b.yaml").read_text())
    data["tokens"]["image"] = 64
    refused(data, "1024 patches joined by 4 are 256 tokens")


def test_a_depth_that_the_backbone_has_not_is_refused(tiny):
    tiny["vision"]["video_depth"] = "last"
    refused(tiny, "vision", "video_depth: last is for eva-vit-g; efficientnet-lite0 takes image")


def test_pixels_are_normalised_inside_the_backbone_for_both_views_or_for_none(tiny):
    tiny["vision"]["video_normalise"] = "imagenet"
    refused(tiny, "vision", "own is inside the backbone")
    tiny["vision"]["normalise"] = "clip"
    assert parse_preset(tiny).vision.video_normalise == "imagenet"


def test_fields_that_came_later_are_written_where_they_are_used(tiny):
    told = {"video_depth", "video_normalise"}
    assert not told & set(load_preset("tiny").vision.model_dump(mode="json"))
    written = load_preset("v2_7b").model_dump(mode="json")
    assert told <= set(written["vision"]) and parse_preset(written) == load_preset("v2_7b")


def test_an_unknown_template_is_refused_with_what_is_available(tiny):
    tiny["language"]["template"] = "vicuna"
    refused(tiny, "'vicuna'", "available: llama2, smollm2")


def test_a_warmup_longer_than_the_stage_is_refused(tiny):
    tiny["curriculum"][0]["warmup"] = 160
    refused(tiny, "warmup 160 is not shorter than steps 160")


def test_a_word_for_a_number_is_refused_with_its_value(tiny):
    tiny["tokens"]["audio"] = "many"
    refused(tiny, "tokens.audio", "'many'")


def test_a_missing_file_lists_the_presets(tmp_path):
    with pytest.raises(ConfigError, match="presets by name: tiny, v2_7b"):
        load_preset(tmp_path / "none.yaml")


def test_no_yaml_is_said_so(tmp_path):
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="is not yaml"):
        load_preset(tmp_path / "x.yaml")


def test_a_start_is_written_only_where_there_is_one(tiny):
    written = parse_preset(tiny).model_dump(mode="json")
    assert "start" not in written  # runs that began before there was such a field go on
    assert parse_preset({**written, "start": "DIR"}).model_dump(mode="json") == {**written, "start": "DIR"}
    refused({**tiny, "start": 3}, "start", "3")
