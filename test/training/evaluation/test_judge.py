"""Judges: the lexical one by hand, replies of an endpoint, and what is left out."""

from types import SimpleNamespace

import pytest

from emollama_ros.errors import ConfigError, InputError
from training.evaluation.judge import EndpointJudge, LexicalJudge, load_judge, mean_overlap, score_in
from training.evaluation.scoring import ScoringOptions, score_set
from training.evaluation.suites import SUITES
from training.mmeverse.schema import Clues, Provenance

MELD = next(of for of in SUITES["mmeverse"].sets if of.name == "meld_emotion")


def test_the_lexical_judge_compares_content_words():
    judge = LexicalJudge()
    assert judge.overlap("clues", "a raised pitch and wide eyes", "The eyes are wide.") == pytest.approx(
        10 * 2 * 2 / (4 + 2)
    )
    assert judge.overlap("clues", "a frown", "a frown") == 10
    assert judge.overlap("labels", "joy", "fear") == 0


@pytest.mark.parametrize(("reply", "score"), [('{"score": 7}', 7.0), ('```json\n{"score": 2.5}\n```', 2.5)])
def test_a_reply_of_a_judge_is_read(reply, score):
    assert score_in(reply) == score


WITHOUT = ("seven", "{}", '{"score": 11}', '{"score": -1}', '{"score": true}', "[1]", '{"score": "NaN"}')


@pytest.mark.parametrize("reply", WITHOUT)
def test_a_reply_without_a_score_is_refused(reply):
    with pytest.raises(InputError):
        score_in(reply)


def test_an_endpoint_is_given_both_texts_as_data():
    asked = []

    def create(**given):
        asked.append(given)
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content='{"score": 4}'))])

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    assert EndpointJudge("m", client).overlap("clues", 'so "loud"', "line\nbreak") == 4
    words = asked[0]["messages"][1]["content"]
    assert words == 'REFERENCE: "so \\"loud\\""\nANSWER: "line\\nbreak"' and asked[0]["temperature"] == 0


def test_what_has_no_reference_is_left_out_and_no_answer_has_nothing_in_common():
    pairs = [("a frown", "a frown"), ("", "x"), ("wide eyes", "")]
    assert mean_overlap(LexicalJudge(), "clues", pairs) == (5.0, 2, 1)


def test_overlaps_are_scored_only_with_a_judge(record, prediction):
    told_by = Provenance(agent="human", model="a", date="2026-01-01")
    clip = record(clues=Clues(audio="a trembling voice"), provenance={"clues.audio": told_by})
    told = {clip.key: prediction(label="joy", reasoning="The voice is trembling.")}
    assert "clue_overlap" not in score_set(MELD, [clip], told).figures
    figures = score_set(MELD, [clip], told, ScoringOptions(judge=LexicalJudge())).figures
    assert figures["clue_overlap"].value == 10 and figures["label_overlap"].value == 10


def test_a_judge_is_named_on_the_command_line():
    assert load_judge("none") is None and load_judge("lexical").name == "lexical, version 1"
    for wrong in ("me", "openai:", "openai:model", "openai:@http://x"):
        with pytest.raises(ConfigError, match="expected none, lexical"):
            load_judge(wrong)
