"""How word errors are counted, and that the document shows what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import InputError
from emollama_ros.speech import Heard
from model_export.speech_figures import WAYS, Said, acted, measure, most_of_each, word_errors, words

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "model_export" / "reports"
DOCUMENT = (ROOT / "docs" / "speech.md").read_text()
WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=6)


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("It is eleven o'clock, and the shop is open.", "It is 11 o'clock and the shop is open", 0),
        ("I can not believe it!", "I cannot believe it.", 0),
        ("The door is open.", "The door was open.", 1),
        ("The door is open.", "The door is open. The door is open.", 4),
        ("The door is open.", "", 4),
    ],
)
def test_word_errors(said: str, heard: str, errors: int):
    assert word_errors(words(said), words(heard)) == errors


@given(WORDS, WORDS, WORDS)
def test_word_errors_are_a_distance(a: list[str], b: list[str], c: list[str]):
    assert word_errors(a, b) == word_errors(b, a)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)
    assert (word_errors(a, b) == 0) == (a == b)


class Echo:
    """Hears the wrong number of words."""

    def transcribe(self, samples: np.ndarray, **_: object) -> Heard:
        return Heard("the door is open is open", -0.1, 0.1, 3.0, 6, True)


def test_sums_are_kept_by_kind():
    sounds = [Said(kind, "The door is open.", np.zeros(16000, np.float32)) for kind in "aab"]
    found = {kind: tally.as_row() for kind, tally in measure(Echo(), sounds, 1.0, True).items()}
    assert found["a"]["words"] == 8 and found["a"]["word_error_rate"] == 0.5 and found["a"]["repeated"] == 2
    assert found["b"]["sounds"] == 1 and found["b"]["believed"] == 0
    assert [sound.kind for sound in most_of_each(sounds, 1)] == ["a", "b"]


def test_a_folder_without_a_listing_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"labels\.csv"):
        list(acted(tmp_path))


def rows(heading: str) -> dict[str, list[str]]:
    """Rows of the table with this first cell, by their first cell."""
    lines = DOCUMENT[DOCUMENT.index(f"| {heading} |") :].splitlines()[2:]
    cells = (line.strip("|").split("|") for line in lines[: lines.index("")])
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in cells}


def test_the_document_shows_the_words_that_are_wrong():
    both = json.loads((REPORTS / "speech.json").read_text())["ways"]
    measured, padded = both["1 s, encoded silence joined"], both["silence up to 30 s"]
    spoken = {kind: row for kind, row in measured.items() if row["words"]}
    table = rows("speech")
    assert list(table) == list(spoken)
    for kind, row in spoken.items():
        rates = [f"{found['word_error_rate']:.1%}" for found in (row, padded[kind])]
        assert table[kind] == [str(row["sounds"]), str(row["words"]), *rates, f"{row['believed']:.0%}"]
    assert f"at most {max(row['no_speech_most'] for row in spoken.values()):.2f}" in DOCUMENT
    silent = {kind: row for kind, row in measured.items() if not row["words"]}
    assert silent and all(row["believed"] == 0 for row in silent.values())
    assert f"{sum(row['sounds'] for row in silent.values())} sounds in which nobody speaks" in DOCUMENT


def test_the_document_shows_the_ways():
    measured = json.loads((REPORTS / "speech-ways.json").read_text())["ways"]
    table = rows("encoded")
    assert list(table) == list(measured) == list(WAYS)
    for way, by_kind in measured.items():
        spoken = [row for row in by_kind.values() if row["words"]]
        expected = [f"{row['word_error_rate']:.0%} ({row['repeated']})" for row in spoken]
        assert table[way][: len(spoken)] == expected
