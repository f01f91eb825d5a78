"""Lets the tests of this folder share helpers, and makes the small model once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory):
    """Bundle files of the small model, not assembled yet."""
    pytest.importorskip("onnx", reason="needs onnx to build graphs (pip install .[export])")
    from small_model import make_small_model

    return make_small_model(tmp_path_factory.mktemp("small"))
