"""Readers of the data sets of dialogues, IEMOCAP, MELD and MC-EIU, on folders made in their layouts."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest
from native_layouts import iemocap, mc_eiu, meld
from native_layouts.media import missing
from native_layouts.reading import add, read, read_all

from emollama_ros.errors import InputError
from training.mmeverse.label_sets import LABEL_SPACES
from training.mmeverse.schema import Task

# IEMOCAP


def test_iemocap_keeps_four_labels_and_tests_on_the_fifth_session(tmp_path):
    records, told = read("iemocap", iemocap.build(tmp_path))
    assert not told and not missing(tmp_path, records)
    assert [(r.id, r.split, r.label) for r in records] == [
        ("Ses01F_impro01_F000", "train", "neutral"),
        ("Ses01F_impro01_M000", "train", "anger"),
        ("Ses01M_script01_1b_M000", "train", "happiness"),
        ("Ses02F_impro01_F000", "train", "happiness"),
        ("Ses03M_impro03_M001", "train", "sadness"),
        ("Ses04F_impro02_F000", "train", "neutral"),
        ("Ses04F_impro02_F001", "train", "anger"),
        ("Ses05F_impro03_F000", "test", "sadness"),
        ("Ses05F_impro03_M000", "test", "happiness"),
    ]
    assert {r.label_space for r in records} == {LABEL_SPACES["iemocap"]}
    trained, tested = ({r.person for r in records if r.split == split} for split in ("train", "test"))
    assert tested == {"iemocap:Ses05F", "iemocap:Ses05M"} and not trained & tested


def test_iemocap_tells_who_speaks_what_and_when(tmp_path):
    _, second, *_ = read("iemocap", iemocap.build(tmp_path))[0]
    assert (second.person, second.group) == ("iemocap:Ses01M", "iemocap:Ses01F_impro01")
    assert second.transcript == "What [BREATHING] is it?"
    assert (second.media.start_s, second.media.end_s) == (0.2, 0.4)
    assert second.media.files() == (
        "Session1/dialog/avi/DivX/Ses01F_impro01.avi",
        "Session1/dialog/wav/Ses01F_impro01.wav",
    )
    assert (second.valence, second.arousal) == (-0.25, 0.25)


def test_iemocap_tells_every_damage_and_goes_on(tmp_path):
    iemocap.build(tmp_path)
    file = "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    start = len((tmp_path / file).read_text().splitlines()) + 1
    turn = "Ses02F_impro01"
    add(
        tmp_path / file,
        "[0.4000 - 0.6",
        iemocap.summary(turn, 2, "F003", "bliss"),
        iemocap.summary(turn, 0, "F000", "exc"),
        iemocap.summary(turn, 2, "X003", "neu"),
        iemocap.summary(turn, 2, "F003", "neu", rating="high"),
        f"[0.6000 - 0.4000]\t{turn}_F003\tneu\t[3.0000, 3.0000, 3.0000]",
        iemocap.summary(turn, 2, "F003", "neu", rating="5.5000"),
    )
    records, told = read("iemocap", tmp_path)
    assert len(records) == 10
    (last,) = (r for r in records if r.id == f"{turn}_F003")
    assert (last.transcript, last.valence) == ("", 1.0)
    assert list(told) == [f"{file}:{start + n}" for n in range(6)]
    said = ("broken row", "unknown label 'bliss'", "duplicate id", "who speaks", "'high'", "is not after")
    for reason, words in zip(told.values(), said, strict=True):
        assert words in reason


def test_iemocap_goes_on_without_a_session_or_a_transcript(tmp_path):
    iemocap.build(tmp_path)
    shutil.rmtree(tmp_path / "Session3")
    transcript = "Session4/dialog/transcriptions/Ses04F_impro02.txt"
    (tmp_path / transcript).unlink()
    records, told = read("iemocap", tmp_path)
    assert set(told) == {"Session3/dialog/EmoEvaluation", transcript}
    assert {r.transcript for r in records if r.group == "iemocap:Ses04F_impro02"} == {""}
    assert len(records) == 8


def test_iemocap_without_any_session_shows_the_layout(tmp_path):
    with pytest.raises(InputError, match=r"no Session1/dialog/EmoEvaluation(.|\n)*transcriptions/"):
        read("iemocap", tmp_path)


# MELD


@pytest.mark.parametrize("unpacked", [{}, {"nested": True}, {"flat": True}])
def test_meld_has_an_emotion_and_a_sentiment_a_line(unpacked, tmp_path):
    records, told = read("meld", meld.build(tmp_path, **unpacked))
    assert not told and not missing(tmp_path, records)
    for task, column in ((Task.EMOTION, 2), (Task.SENTIMENT, 3)):
        labels = Counter((r.split, r.label) for r in records if r.task is task)
        assert labels == Counter(
            (split, line[column])
            for word, split in (("train", "train"), ("dev", "validation"), ("test", "test"))
            for line in meld.LINES[word]
        )


def test_meld_numbers_dialogues_anew_in_each_split(tmp_path):
    emotions = [r for r in read("meld", meld.build(tmp_path))[0] if r.task is Task.EMOTION]
    first = emotions[0]
    assert (first.id, first.person) == ("train_dia0_utt0", "meld:Chandler")
    assert first.media.video == "train_splits/dia0_utt0.mp4"
    assert {r.group for r in emotions if r.id.endswith("dia0_utt1")} == {
        "meld:train_dia0", "meld:dev_dia0", "meld:test_dia0",
    }  # fmt: skip


def test_meld_mends_punctuation_and_keeps_quotes(tmp_path):
    words = {r.id: r.transcript for r in read("meld", meld.build(tmp_path))[0]}
    assert words["train_dia0_utt0"] == "That’s the last of the bread."
    assert words["train_dia0_utt2"] == 'You said, "More?!"'


def test_meld_tells_every_damage_and_goes_on(tmp_path):
    meld.build(tmp_path)
    add(
        tmp_path / "dev_sent_emo.csv",
        "3,cut off,Ross",
        "4,No!,Ross,bliss,negative,1,0,8,21,0,1",
        "5,No!,Ross,anger,mixed,1,1,8,21,0,1",
        "6,No!,Ross,anger,negative,one,2,8,21,0,1",
        "7,No!,,anger,negative,1,3,8,21,0,1",
        "8,Fine.,Ross,neutral,neutral,1,4,8,21,0,1",
    )
    records, told = read("meld", tmp_path)
    assert [f"dev_sent_emo.csv:{n}" for n in range(4, 9)] == list(told)
    said = ("3 cells", "unknown emotion 'bliss'", "unknown sentiment 'mixed'", "whole number", "empty")
    for reason, words in zip(told.values(), said, strict=True):
        assert words in reason
    assert [r.id for r in records if "dia1_utt4" in r.id] == ["dev_dia1_utt4"] * 2
    assert sum(r.split == "test" for r in records) == 2 * len(meld.LINES["test"])


def test_meld_tells_a_repeated_line_for_each_task(tmp_path):
    meld.build(tmp_path)
    add(tmp_path / "test_sent_emo.csv", "9,We won the raffle!,Rachel,joy,positive,1,0,8,21,0,1")
    _, told = read_all("meld", tmp_path)
    assert [(r.where, r.clip) for r in told] == [("test_sent_emo.csv:5", "test_dia1_utt0")] * 2
    assert all("duplicate id: the same clip is in test_sent_emo.csv:4" in r.reason for r in told)


def test_meld_names_the_table_that_is_missing_before_reading_any(tmp_path):
    meld.build(tmp_path)
    (tmp_path / "test_sent_emo.csv").unlink()
    with pytest.raises(InputError, match=r"no test_sent_emo.csv and no test/test_sent_emo.csv(.|\n)*Sr No"):
        read("meld", tmp_path)


# MC-EIU


def test_mc_eiu_has_an_emotion_and_an_intent_a_line_in_both_languages(tmp_path):
    records, told = read("mc_eiu", mc_eiu.build(tmp_path))
    assert not told and not missing(tmp_path, records)
    lines = [line for language in ("en", "zh") for line in mc_eiu.LINES[language]]
    assert [r.label for r in records if r.task is Task.EMOTION] == [line[5] for line in lines]
    intents = [line[6] for line in lines if line[6] != "sympathizing"]
    assert [r.label for r in records if r.task is Task.INTENT] == intents
    assert Counter(r.language for r in records) == {"en": 9, "zh": 4}
    assert len({r.key for r in records}) == len(records)


def test_mc_eiu_finds_clips_however_the_archives_unpack(tmp_path):
    videos = {r.id: r.media.video for r in read("mc_eiu", mc_eiu.build(tmp_path))[0]}
    assert videos["dia_0_utt_1_en"] == "English_Dialogues_1/clips/dia_0_utt_1.mp4"
    assert videos["dia_1_utt_0_en"] == "English_Dialogues_2/dia_1_utt_0.mp4"
    assert videos["dia_0_utt_1_ch"] == "Chinese_Dialogues/dia_0_utt_1.mp4"


def test_mc_eiu_names_a_clip_that_is_not_there_where_it_should_be(tmp_path):
    mc_eiu.build(tmp_path)
    (tmp_path / "English_Dialogues_2/dia_1_utt_0.mp4").unlink()
    records, _ = read("mc_eiu", tmp_path)
    assert missing(tmp_path, records) == ["English_Dialogues/dia_1_utt_0.mp4"] * 2


def test_mc_eiu_names_are_people_and_letters_are_not(tmp_path):
    persons = {r.id: r.person for r in read("mc_eiu", mc_eiu.build(tmp_path))[0]}
    assert persons["dia_0_utt_0_en"] == persons["dia_0_utt_2_en"] == "mc_eiu:老友记/Ross"
    assert persons["dia_0_utt_0_ch"] == "mc_eiu:dia_0_ch/A"


def test_mc_eiu_takes_the_authors_split_where_their_features_are(tmp_path):
    mc_eiu.build_split(mc_eiu.build(tmp_path, ("en",)))
    records, told = read("mc_eiu", tmp_path)
    assert not told
    assert {(r.group, r.split) for r in records} == {
        ("mc_eiu:dia_0_en", "train"), ("mc_eiu:dia_1_en", "validation"), ("mc_eiu:dia_2_en", "test"),
    }  # fmt: skip


def test_mc_eiu_tells_lines_that_the_authors_split_lacks_and_lists_it_cannot_read(tmp_path):
    mc_eiu.build_split(mc_eiu.build(tmp_path, ("en",)))
    lists = tmp_path / "MC_EIU_English_features/target/1"
    np.save(lists / "tst_int2name.npy", np.array([], dtype="U9"))
    assert "none of the authors' lists" in read("mc_eiu", tmp_path)[1]["EnglishDialogues.csv:6"]
    np.save(lists / "tst_int2name.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match=r"tst_int2name.npy: cannot be read \(.*pickle"):
        read("mc_eiu", tmp_path)


def test_mc_eiu_takes_a_column_of_splits_where_there_is_one(tmp_path):
    mc_eiu.build(tmp_path, ("zh",))
    table = tmp_path / "ChineseDialogues.csv"
    first, *rows = table.read_text("utf-8").splitlines()
    modes = ("validation", "test")
    lines = [f"{first},mode", *(f"{row},{mode}" for row, mode in zip(rows, modes, strict=True))]
    table.write_text("\n".join(lines) + "\n", "utf-8")
    assert [r.split for r in read("mc_eiu", tmp_path)[0]] == ["validation", "validation", "test", "test"]


def test_mc_eiu_else_draws_whole_dialogues_in_the_proportions_of_the_paper(tmp_path):
    header = ",".join(mc_eiu.HEADER)
    rows = [mc_eiu.row("s", d, u, "A", "words", "sad", "neutral") for d in range(1000) for u in range(2)]
    add(tmp_path / "EnglishDialogues.csv", header, *(",".join(map(str, row)) for row in rows))
    records, _ = read("mc_eiu", tmp_path)
    assert len({(r.group, r.split) for r in records}) == 1000
    shares = Counter(r.split for r in records)
    wanted = {"train": 0.7, "validation": 0.1, "test": 0.2}
    assert {split: shares[split] / len(records) for split in wanted} == pytest.approx(wanted, abs=0.04)


def test_mc_eiu_tells_every_damage_and_goes_on(tmp_path):
    mc_eiu.build(tmp_path, ("en",))
    add(
        tmp_path / "EnglishDialogues.csv",
        "老友记,1,1,3",
        "老友记,1,1,3,0,Joey,0,1,Hey,bliss,neutral",
        "老友记,1,1,3,0,Joey,0,1,Hey,happy,boasting",
        "老友记,1,1,3,half,Joey,0,1,Hey,happy,neutral",
        "老友记,1,1,3,0.5,Joey,0,1,Hey,happy,neutral",
        "老友记,1,1,3,1.0,Joey,0,1,Hey,Happy,Neutral",
    )
    records, told = read("mc_eiu", tmp_path)
    assert list(told) == [f"EnglishDialogues.csv:{n}" for n in range(7, 12)]
    said = ("4 cells", "unknown emotion 'bliss'", "unknown intent 'boasting'", "'half'", "whole number")
    for reason, words in zip(told.values(), said, strict=True):
        assert words in reason
    assert [(r.id, r.label) for r in records[-2:]] == [
        ("dia_3_utt_1_en", "happy"),
        ("dia_3_utt_1_en", "neutral"),
    ]


def test_mc_eiu_tells_a_repeated_line(tmp_path):
    mc_eiu.build(tmp_path, ("zh",))
    add(tmp_path / "ChineseDialogues.csv", "欢乐颂,1,1,0,1,B,0,1,加油,happy,encouraging")
    _, told = read_all("mc_eiu", tmp_path)
    assert [(r.where, r.clip) for r in told] == [("ChineseDialogues.csv:4", "dia_0_utt_1_ch")] * 2


def test_mc_eiu_without_a_table_shows_the_layout(tmp_path):
    with pytest.raises(InputError, match=r"no EnglishDialogues.csv and no ChineseDialogues.csv(.|\n)*Dia_No"):
        read("mc_eiu", tmp_path)
