"""The network of Emotion-LLaMAv2: its published sizes, its soft tokens, and masks that change no bit."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
transformers = pytest.importorskip("transformers", reason="needs transformers (make test installs it)")
peft = pytest.importorskip("peft", reason="needs peft (make test installs it)")

from training.networks.conv_attention import ConvAttentionConfig  # noqa: E402
from training.networks.emotion_llama import (  # noqa: E402
    IGNORED,
    SOFT,
    EmotionLlama,
    EmotionLlamaConfig,
    Features,
)
from training.networks.fusion import FusionConfig  # noqa: E402

KINDS = ("none", "attention", "conv", "qformer", "conv_attention")


def small_config(kind="conv_attention", **changes):
    sizes = ConvAttentionConfig(inputs=(12, 10, 10), hidden=8, width=8, output=6, blocks=2, dropout=0.0)
    fusion = FusionConfig(kind, sizes, tokens=4, layers=1)
    config = EmotionLlamaConfig(
        fusion, audio=12, image=14, video=10, image_tokens=2, video_tokens=3, audio_tokens=4,
        audio_layers=3, normalise=True, language=32, labels=5,
    )  # fmt: skip
    return replace(config, **changes)


def small_llama(seed=0):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def network(kind="conv_attention", **changes):
    torch.manual_seed(1)
    return EmotionLlama(small_config(kind, **changes), small_llama()).eval()


def features(config, batch=2, present=((True, True, True), (True, True, True)), seed=0):
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(batch, *shape, generator=draw)

    return Features(
        audio=noise(config.audio_layers, 4, config.audio),
        image=noise(config.image_tokens, config.image),
        glance=noise(config.video),
        video=noise(4, config.video),
        present=torch.tensor(present),
    )


def words(config, batch=2):
    ids = [7, 8, *[SOFT] * config.soft_tokens, 9, 10, 11, 12]
    targets = [IGNORED] * (len(ids) - 2) + [11, 12]
    return (
        torch.tensor([ids] * batch),
        torch.ones(batch, len(ids), dtype=torch.bool),
        torch.tensor([targets] * batch),
    )


def test_released_sizes_give_the_published_number_of_trainable_parameters():
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(
            transformers.LlamaConfig()
        )  # its defaults are LLaMA-2-7B's sizes
        lora = peft.LoraConfig(r=64, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "v_proj"])
        net = EmotionLlama(EmotionLlamaConfig(), peft.get_peft_model(llama, lora))
    trained = {name: p.numel() for name, p in net.named_parameters() if p.requires_grad}
    ours = sum(n for name, n in trained.items() if name.startswith("head.") or name == "fusion.absent")
    fusion = sum(n for name, n in trained.items() if name.startswith("fusion.conv_pro_module."))
    lora = sum(n for name, n in trained.items() if "lora_" in name)
    assert sum(trained.values()) - ours == 71_536_387
    assert (fusion, lora, ours) == (2_838_275, 33_554_432, 2 * 256 * 9 + 9 + 3 * 128)
    assert net.config.layout == {"fusion": 64, "image": 256, "video": 64, "audio": 64}


@pytest.mark.parametrize("kind", KINDS)
def test_every_fusion_has_its_layout(kind):
    net = network(kind)
    assert net.config.soft_tokens == (9 if kind == "none" else 13)
    with torch.no_grad():
        perceived, soft = net.perceive(features(net.config))
    assert perceived.logits.shape == (2, 5) and perceived.affect.abs().max() <= 1
    assert soft.tokens.shape == (2, net.config.soft_tokens, 32) and soft.mask.all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "present",
    [(True, False, False), (False, True, True), (False, True, False), (False, False, True), (False,) * 3],
)
@pytest.mark.parametrize("junk", ["noise", "nan"])
def test_what_is_masked_changes_no_bit(kind, present, junk):
    net = network(kind)
    ids, mask, targets = words(net.config)
    clean = features(net.config, present=(present, (True,) * 3))
    other = features(net.config, seed=9)
    hears, sees, watches = present

    def spoilt(name, is_there):
        value = getattr(clean, name).clone()
        if not is_there:
            value[0] = torch.nan if junk == "nan" else getattr(other, name)[0] * 100
        return value

    dirty = Features(
        spoilt("audio", hears),
        spoilt("image", sees),
        spoilt("glance", sees),
        spoilt("video", watches),
        clean.present,
    )
    with torch.no_grad():
        outputs = [
            (
                *vars(perceived).values(),
                *vars(soft).values(),
                net.llama_model(**net.prompt(ids, mask, soft)).logits,
            )
            for perceived, soft in (net.perceive(clean), net.perceive(dirty))
        ]
    attended = mask.masked_scatter(ids == SOFT, net.perceive(clean)[1].mask)
    for one, two in zip(*outputs, strict=True):
        if one.ndim == 3 and one.shape[1] == ids.shape[1]:  # what is said at masked places is never used
            one, two = one[attended], two[attended]
        assert torch.equal(one, two)


def test_nan_of_a_missing_modality_reaches_no_gradient():
    net = network().train()
    ids, mask, targets = words(net.config)
    clip = features(net.config, present=((True, False, False), (False, True, True)))
    clip.video[0] = clip.image[0] = clip.glance[0] = clip.audio[1] = torch.nan
    perceived, loss = net(clip, ids, mask, targets)
    (loss + perceived.logits.sum()).backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert grads and all(torch.isfinite(g).all() for g in grads.values())
    assert {"fusion.absent", "llama_proj.weight", "layer_weights"} <= set(grads)


def test_a_prompt_with_a_masked_stream_is_the_prompt_without_it():
    net = network()
    ids, mask, _ = words(net.config, batch=1)
    with torch.no_grad():
        _, soft = net.perceive(features(net.config, 1, ((True, False, False),)))
        masked = net.llama_model(**net.prompt(ids, mask, soft)).logits[0, -1]
        kept = soft.mask[0]
        embedded = net.llama_model.get_input_embeddings()
        short = torch.cat([embedded(ids[0, :2]), soft.tokens[0, kept], embedded(ids[0, -4:])]).unsqueeze(0)
        without = net.llama_model(inputs_embeds=short).logits[0, -1]
    assert not kept.all() and torch.allclose(masked, without, atol=1e-5)


def test_padding_changes_nothing():
    net = network()
    ids, mask, targets = words(net.config)
    clip = features(net.config)
    pad = torch.full((2, 5), 3)
    with torch.no_grad():
        _, plain = net(clip, ids, mask, targets)
        _, padded = net(
            clip,
            torch.cat([ids, pad], 1),
            torch.cat([mask, torch.zeros(2, 5, dtype=torch.bool)], 1),
            torch.cat([targets, torch.full((2, 5), IGNORED)], 1),
        )
    assert torch.allclose(plain, padded, atol=1e-6)


def test_only_the_answer_is_learned():
    net = network()
    ids, mask, targets = words(net.config)
    with torch.no_grad():
        _, loss = net(features(net.config), ids, mask, targets)
        _, soft = net.perceive(features(net.config))
        said = net.llama_model(**net.prompt(ids, mask, soft)).logits.log_softmax(-1)
    expected = -(said[:, -3, 11] + said[:, -2, 12]).mean() / 2
    assert torch.allclose(loss, expected, atol=1e-6)


def test_soft_tokens_come_in_the_order_of_the_prompt():
    net = network()
    with torch.no_grad():
        _, all_there = net.perceive(features(net.config, 1, ((True,) * 3,)))
        _, no_sound = net.perceive(features(net.config, 1, ((False, True, True),)))
    counts = list(net.config.layout.values())
    assert no_sound.mask[0].tolist() == [True] * sum(counts[:3]) + [False] * counts[3]
    image = slice(counts[0], counts[0] + counts[1])
    assert torch.equal(all_there.tokens[:, image], no_sound.tokens[:, image])
    assert not torch.equal(all_there.tokens[:, : counts[0]], no_sound.tokens[:, : counts[0]])
