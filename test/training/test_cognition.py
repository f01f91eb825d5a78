"""Soft tokens and LoRA: what is learnt of a scene is true of it; a run that was killed goes on as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emollama_ros.estimate import Modality
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.language.lora import LORA, read_lora
from emollama_ros.language.phrases import CLAUSES, claims
from training.cognition.fit import CHECKPOINT, Cognition, CognitionConfig, collate, fit
from training.cognition.likelihood import OTHER, OWN, report, tell
from training.cognition.recipe import SOFT_TOKENS, save_weights
from training.cognition.scenes import Scene, SceneStore
from training.cognition.start import start_from_words
from training.cognition.texts import QUESTIONS, Lesson, answer, draw_lesson
from training.networks.emotion_llama import SOFT
from training.networks.language import LanguageModel, permuted, with_lora
from training.networks.perception_net import PerceptionNet, PerceptionNetConfig
from training.networks.soft_tokens import SoftTokenAdapters, SoftTokensConfig
from training.presets import LoraPreset

SIZES = PerceptionNetConfig(audio=8, vision=6, hidden=8, width=8, output=8, dropout=0.0)
WIDTH = 16
CLAIMS = ("voice.loudness/high", "face.smile/shown", "voice.rate/high")
TINY = CognitionConfig(
    steps=4,
    batch=2,
    warmup=1,
    save_every=2,
    lora=LoraPreset(rank=2, alpha=4.0, dropout=0.0, targets=("q_proj", "v_proj")),
)


class Letters:
    """Every character is a token."""

    start = ()

    def encode(self, text: str) -> list[int]:
        return [min(ord(c), 255) for c in text]

    def decode(self, ids) -> str:
        return "".join(chr(i) for i in ids)


def scene(number: int, present=(1, 1), label="happy", found=CLAIMS) -> Scene:
    random = np.random.default_rng(number)
    rows = random.dirichlet(np.ones(len(DEFAULT_LABELS)), 3).astype(np.float32)
    rows[0] *= all(present)
    return Scene(
        name=f"clip{number}", person=f"synthesis:{number}", label=label, claims=found, transcript="well then",
        audio=random.normal(size=(4, 16, 8)).astype(np.float16),
        image=random.normal(size=6).astype(np.float16), video=random.normal(size=(16, 6)).astype(np.float16),
        present=np.array(present, np.float32), scores=rows,
    )  # fmt: skip


def language() -> LanguageModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256, hidden_size=WIDTH, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    return LanguageModel(with_lora(LlamaForCausalLM(config), TINY.lora), Letters())


def network(scenes) -> Cognition:
    torch.manual_seed(1)
    net = PerceptionNet(SIZES).eval()
    adapters = SoftTokenAdapters(net, SoftTokensConfig(language=WIDTH))
    model = language()
    whole = [Lesson(s, s.has, "reason", "", "", "") for s in scenes]
    start_from_words(adapters, net, whole, model.model.get_input_embeddings(), model.codec)
    return Cognition(net, adapters, model)


@pytest.fixture
def scenes():
    labels = ("happy", "sad", "angry")
    senses = ((1, 1), (1, 0), (0, 1), (1, 1))
    return [scene(i, senses[i % 4], labels[i % 3]) for i in range(8)]


@pytest.mark.parametrize("task", QUESTIONS)
@pytest.mark.parametrize("given", [Modality.AUDIO, Modality.VIDEO, Modality.AUDIO | Modality.VIDEO])
def test_answers_name_only_what_is_true_and_given(task, given):
    rng = np.random.default_rng(0)
    for number in range(20):
        found = claims(answer(scene(number), given, task, QUESTIONS[task][0], Letters(), rng))
        cues = {c for c in found if c in CLAUSES}
        assert cues <= {tuple(c.split("/")) for c in CLAIMS}
        senses = {name.partition(".")[0] for name, _ in cues}
        assert "voice" not in senses or Modality.AUDIO in given
        assert "face" not in senses or Modality.VIDEO in given
        assert ("label", "happy") in found
        assert {v for k, v in found if k == "missing"} == {"audio", "video"} - set(given.names())


def test_lessons_are_of_what_the_scene_has(scenes):
    rng = np.random.default_rng(0)
    for _ in range(50):
        for s in scenes:
            lesson = draw_lesson(s, Letters(), rng)
            assert lesson.given and lesson.given in s.has
            assert lesson.question in QUESTIONS[lesson.task] and lesson.transcript in ("", s.transcript)


def test_soft_tokens_stand_where_the_robot_puts_them_and_only_the_answer_is_learnt(scenes):
    lesson = Lesson(scenes[0], scenes[0].has, "reason", "Why?", "hello", "Because.")
    ids, mask, targets = collate([lesson], Letters(), 5)
    text = "".join(chr(i) if i != SOFT else "*" for i in ids[0].tolist())
    assert text.startswith("<|im_start|>user\n<Vid>*****</Vid>") and "[reason] Why?" in text
    learnt = "".join(chr(t) for t in targets[0].tolist() if t >= 0)
    assert learnt == "Because.<|im_end|>" and text.endswith(learnt) and mask.all()


def test_what_is_missing_has_no_soft_tokens_and_changes_nothing(scenes):
    model = network(scenes)
    seen = Lesson(scenes[0], Modality.VIDEO, "reason", "Why?", "", "Because.")
    loud = replace(seen, scene=replace(seen.scene, audio=seen.scene.audio + 9))
    layout = model.adapters.config.layout
    mask = model.soft([seen]).mask[0]
    assert mask.tolist() == [True] * (sum(layout.values()) - layout["audio"]) + [False] * layout["audio"]
    losses = [model([lesson])[0] for lesson in (seen, loud)]
    assert torch.equal(*losses)


def test_a_killed_run_ends_as_one_that_was_not(scenes, tmp_path):
    whole, parts = network(scenes), network(scenes)
    fit(whole, scenes, TINY, tmp_path / "whole")
    first = network(scenes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.cognition.fit._step", _killed_after(2))
        with pytest.raises(KeyboardInterrupt):
            fit(first, scenes, TINY, tmp_path / "parts")
    fit(parts, scenes, TINY, tmp_path / "parts")
    before = network(scenes).trained()
    for name, value in whole.trained().items():
        assert torch.allclose(value, parts.trained()[name], atol=1e-7), name
    assert any(not torch.equal(value, before[name]) for name, value in whole.trained().items())
    assert (tmp_path / "parts" / CHECKPOINT).is_file()


def _killed_after(steps: int):
    from training.cognition import fit as module

    real, done = module._step, []

    def step(*args):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(1)
        return real(*args)

    return step


def test_true_texts_are_compared_with_soft_tokens_of_others(scenes):
    many = [*scenes, *(replace(s, name=f"{s.name}b", person=f"{s.person}b") for s in scenes)]
    told = tell(network(many), many)
    assert told.losses[OWN].shape == told.losses[OTHER].shape == (16,)
    found = report(told)
    assert found["texts"] == 16 and found["people"] == 16
    assert set(found) >= {f"more with soft tokens {OTHER}", "nats a token"}


def test_weights_come_out_as_the_robot_reads_them(scenes, tmp_path):
    model = network(scenes)
    fit(model, scenes, TINY, tmp_path / "run")
    save_weights(model, TINY.lora, tmp_path)
    state = load_file(tmp_path / SOFT_TOKENS)
    fresh = SoftTokenAdapters(model.net, SoftTokensConfig(language=WIDTH))
    fresh.load_state_dict({name: value.float() for name, value in state.items()})
    found = read_lora(tmp_path / LORA)
    assert set(found) == {f"blk.{i}.attn_{part}.weight" for i in (0, 1) for part in "qv"}
    layer = model.llama_model.get_base_model().model.layers[1].self_attn.v_proj
    delta = layer.get_delta_weight("default").detach()
    np.testing.assert_allclose(found["blk.1.attn_v.weight"].product(), delta.numpy(), atol=1e-3)


def test_rows_of_queries_are_put_back_as_they_came():
    from training.networks.language import _unpermuted

    weight = torch.arange(8 * 3).reshape(8, 3)
    assert torch.equal(_unpermuted(permuted(weight, 2), 2), weight)


def test_scenes_are_kept_as_they_are(tmp_path):
    from emollama_ros.bundle import Bundle

    store = SceneStore(tmp_path, Bundle.load())
    one = scene(3, present=(0, 1))
    assert one.name not in store
    store.keep(one)
    found = store.read(one.name)
    assert found.name in store and found.claims == one.claims and found.has == Modality.VIDEO
    assert (found.audio == one.audio).all() and found.label == one.label
