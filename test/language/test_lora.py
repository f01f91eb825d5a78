"""LoRA is merged while weights are packed: as in torch, the same bytes each time, checked before use."""

from __future__ import annotations

import numpy as np
import pytest
from small_model import HIDDEN, LAYERS, layer_shapes, small_shape

from emollama_ros.errors import BundleError
from emollama_ros.language.assemble import DECODER_DATA, assemble
from emollama_ros.language.decoder import Decoder
from emollama_ros.language.lora import LORA, AdaptedSource, LowRank, read_lora, write_lora
from emollama_ros.language.packing import PACKINGS

NAME = "blk.0.attn_q.weight"


@pytest.fixture
def lora() -> dict[str, LowRank]:
    random = np.random.default_rng(3)
    shapes = layer_shapes()

    def low(part: str) -> LowRank:
        rows, columns = shapes[part]
        values = random.normal(0, 0.3, (2, columns)), random.normal(0, 0.3, (rows, 2))
        return LowRank(*(v.astype(np.float16).astype(np.float32) for v in values))

    return {f"blk.{i}.{part}.weight": low(part) for i in range(LAYERS) for part in ("attn_q", "attn_v")}


@pytest.fixture
def adapted(small, lora, tmp_path):
    """Bundle files with LoRA, and the folder they are in."""
    from model_export.llama_graph import write_bundle_files

    write_lora(lora, tmp_path / "trained.npz")
    folder = tmp_path / "bundle"
    write_bundle_files(folder, small.gguf, small.wheel, small_shape(), lora=tmp_path / "trained.npz")
    return folder


def test_what_is_written_is_read_and_comes_out_as_the_same_bytes(lora, tmp_path):
    write_lora(lora, tmp_path / "a.npz")
    write_lora(read_lora(tmp_path / "a.npz"), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read_lora(tmp_path / "a.npz")
    assert found.keys() == lora.keys()
    assert (found[NAME].a == lora[NAME].a).all() and (found[NAME].b == lora[NAME].b).all()


def test_the_product_is_added_to_its_matrix_and_to_no_other(small, lora):
    source = AdaptedSource(small.source, lora)
    expected = small.source.floats(NAME) + lora[NAME].b @ lora[NAME].a
    np.testing.assert_allclose(source.floats(NAME), expected, atol=1e-6)
    other = "blk.0.attn_k.weight"
    assert (source.floats(other) == small.source.floats(other)).all()
    codes = PACKINGS["q4_1.codes"](source, [other], {})
    assert (codes == PACKINGS["q4_1.codes"](small.source, [other], {})).all()


def test_codes_of_a_changed_matrix_are_refused(small, lora):
    with pytest.raises(BundleError, match="changed by LoRA"):
        PACKINGS["q4_1.codes"](AdaptedSource(small.source, lora), [NAME], {})


def test_a_bundle_with_lora_is_assembled_and_speaks_otherwise(small, adapted, tmp_path):
    assemble(small.wheel, adapted, tmp_path / "elsewhere")
    plain = tmp_path / "plain"
    assemble(small.gguf, small.folder, plain)
    assert (tmp_path / "elsewhere" / LORA).is_file()
    data = [folder / DECODER_DATA for folder in (tmp_path / "elsewhere", plain)]
    assert data[0].read_bytes() != data[1].read_bytes()
    with_lora, without = (Decoder.load(folder, 1, capacity=64) for folder in (tmp_path / "elsewhere", plain))
    tokens = list(range(5, 15))
    said = [decoder.extend(tokens) for decoder in (with_lora, without)]
    assert said[0].shape[-1] == HIDDEN and np.abs(said[0] - said[1]).max() > 1e-2


def test_lora_that_is_missing_or_another_is_refused_before_anything_is_made(small, adapted, lora):
    content = (adapted / LORA).read_bytes()
    (adapted / LORA).unlink()
    with pytest.raises(BundleError, match="is missing"):
        assemble(small.gguf, adapted)
    (adapted / LORA).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match="has sha256"):
        assemble(small.gguf, adapted)
    assert not (adapted / DECODER_DATA).exists()


def test_damaged_files_and_other_sizes_name_themselves(small, lora, tmp_path):
    path = tmp_path / "lora.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(BundleError, match=r"lora\.npz"):
        read_lora(path)
    write_lora({NAME: LowRank(np.zeros((2, 8), np.float32), np.zeros((8, 3), np.float32))}, path)
    with pytest.raises(BundleError, match="has a"):
        read_lora(path)
    wrong = AdaptedSource(
        small.source, {NAME: LowRank(np.zeros((1, 4), np.float32), np.zeros((4, 1), np.float32))}
    )
    with pytest.raises(BundleError, match=NAME):
        wrong.floats(NAME)
