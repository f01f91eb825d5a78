"""What is said is written down; where nobody speaks, nothing is believed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sounds import RATE, melody, noise, silence, tone, word_errors, words

from emollama_ros.errors import InputError
from emollama_ros.speech import Doubts, Heard, Whisper
from emollama_ros.speech.utterances import is_voice
from emollama_ros.speech.whisper import Cancelled, Stop

SENTENCES = (
    "The papers are on the table by the window.",
    "They moved the meeting to the second floor.",
    "The bus stops at the corner of the street.",
    "He said he would call again tomorrow.",
    "It is eleven o'clock, and the shop is open.",
    "My brother is coming on the late train.",
    "You left your jacket on the chair.",
    "Somebody has written a letter to us.",
)
VOICES = ((205.0, 1.0), (120.0, 0.86), (160.0, 0.93), (240.0, 1.08))
BELIEVED = Doubts()


def test_generated_sentences_are_recognised(whisper: Whisper, say):
    """At most 6 of 100 words are wrong; 1 of 100 was measured on forty such sentences."""
    wrong = said = 0
    for i, sentence in enumerate(SENTENCES):
        heard = whisper.transcribe(say(sentence, *VOICES[i % 4]))
        assert BELIEVED.why_not(heard) == ""
        errors, count = word_errors(sentence, heard.text)
        wrong, said = wrong + errors, said + count
    assert wrong / said <= 0.06, f"{wrong} of {said} words"


def test_a_sentence_is_said_once(whisper: Whisper, say):
    """Without silence of 30 s behind it, the model says a short sentence several times."""
    sound = say(SENTENCES[0])
    assert words(whisper.transcribe(sound).text).count("papers") == 1
    assert words(whisper.transcribe(sound, pad_s=30.0).text).count("papers") == 1
    assert words(whisper.transcribe(sound, joins_silence=False).text).count("papers") > 1


@pytest.mark.parametrize("word", ["Yes.", "No.", "Stop!", "Help!", "What?"])
def test_single_words_are_believed(whisper: Whisper, say, word: str):
    sound = say(word)
    heard = whisper.transcribe(sound)
    assert is_voice(sound) and words(heard.text) == words(word) and BELIEVED.why_not(heard) == ""


@pytest.mark.parametrize("gain_db", [-35.0, -15.0, 10.0])
def test_loudness_does_not_matter(whisper: Whisper, say, gain_db: float):
    sound = say(SENTENCES[0])
    assert words(whisper.transcribe(sound * np.float32(10 ** (gain_db / 20))).text) == words(SENTENCES[0])


@pytest.mark.parametrize(
    "sound",
    [silence(3.0), noise(4.0, -50.0), noise(4.0, -20.0), tone(4.0, 440.0), melody(4.0), melody(6.0, 1)],
    ids=["silence", "quiet noise", "loud noise", "tone", "melody", "another melody"],
)
def test_nothing_is_believed_where_nobody_speaks(whisper: Whisper, sound):
    heard = whisper.transcribe(sound)
    assert BELIEVED.why_not(heard) != "", heard


def test_a_text_over_its_deadline_is_cut(whisper: Whisper, say):
    heard = whisper.transcribe(say(SENTENCES[0]), deadline_s=0.0)
    assert not heard.is_whole and BELIEVED.why_not(heard) in ("cut", "no words")


def test_a_text_that_is_not_wanted_is_not_written(whisper: Whisper, say):
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        whisper.transcribe(say(SENTENCES[0]), stop=stop)


def test_a_text_under_way_is_ended_from_another_thread(whisper: Whisper):
    stop, ended = Stop(), threading.Event()

    def run() -> None:
        try:
            whisper.transcribe(melody(30.0), stop=stop)
        except Cancelled:
            ended.set()

    worker = threading.Thread(target=run)
    worker.start()
    stop.set()
    worker.join(timeout=60)
    assert ended.is_set()


@pytest.mark.parametrize("seconds", [0.0, 30.5])
def test_what_cannot_be_heard_at_once_is_refused(whisper: Whisper, seconds: float):
    with pytest.raises(InputError, match="30 s"):
        whisper.transcribe(silence(seconds))


def test_the_longest_sound_is_taken(whisper: Whisper, say):
    sound = np.concatenate([say(SENTENCES[0]), silence(30.0)])[: 30 * RATE]
    assert words(whisper.transcribe(sound).text) == words(SENTENCES[0])


def test_two_threads_share_a_model(whisper: Whisper, say):
    sounds = [say(SENTENCES[0]), say(SENTENCES[2], *VOICES[2])]
    alone = [whisper.transcribe(sound) for sound in sounds]
    together: dict[int, Heard] = {}
    workers = [
        threading.Thread(target=lambda i=i: together.update({i: whisper.transcribe(sounds[i])}))
        for i in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [together[0], together[1]] == alone


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("", {}),
        ("no words", {"text": " ...!"}),
        ("repeats", {"compression": 2.5}),
        ("cut", {"is_whole": False}),
        ("unsure", {"log_probability": -1.1}),
        ("no speech", {"no_speech": 0.7}),  # however sure of its words
    ],
)
def test_reasons_for_doubt(reason: str, change: dict):
    sure = {"log_probability": -0.2, "no_speech": 0.1, "compression": 1.0, "tokens": 3, "is_whole": True}
    assert BELIEVED.why_not(Heard(**{"text": "Hello there.", **sure, **change})) == reason
