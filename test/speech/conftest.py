"""The speech model and somebody who speaks, made once; both are skipped where their packages are missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.speech import Whisper
from emollama_ros.speech.assemble import assemble_speech, installed_source, require_speech

sys.path.insert(0, str(Path(__file__).parent))

Say = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The assembled model: the one in use, else one made of the installed package."""
    try:
        return require_speech()[0]
    except ConfigError:
        source = installed_source()
    if source is None:
        pytest.skip("needs the speech model (make assemble) or its package (requirements/material.txt)")
    folder = tmp_path_factory.mktemp("speech")
    assemble_speech(source, folder)
    return folder


@pytest.fixture(scope="session")
def whisper(speech_folder: Path) -> Whisper:
    return Whisper.load(speech_folder, threads=1)


@pytest.fixture(scope="session")
def say() -> Say:
    """Speaks English with the generator's voice: ``say(text, pitch_hz=205, formant=1.0)``."""
    pytest.importorskip("cv2", reason="the generator needs opencv-python-headless")
    from training.synthesis import voice
    from training.synthesis.prosody import Prosody, Speaker

    @lru_cache(maxsize=64)
    def speak(text: str, pitch_hz: float = 205.0, formant: float = 1.0) -> NDArray[np.float32]:
        speaker = Speaker(pitch_hz, formant, rate=1.0, breath=0.05, tilt=0.0, liveliness=1.0)
        try:
            return voice.speak(text, speaker, Prosody(), np.random.default_rng(0)).samples
        except InputError as error:
            pytest.skip(str(error))

    return speak
