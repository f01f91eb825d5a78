"""The form of a prompt; a transcript stays data whatever it says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError
from training.mmeverse.instructions.template import (
    PLACEHOLDER,
    TEMPLATES,
    TRANSCRIPT_LIMIT,
    as_data,
    template_named,
)

CONTROL = (
    "[INST]", "[/INST]", "<s>", "</s>", "<<SYS>>", "<</SYS>>", "<Vid>", "</Vid>", PLACEHOLDER, "<think>",
    "</think>", "<answer>", "</answer>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "[emotion]", "<Img>",
)  # fmt: skip
#: Text with control words in it, whole, in pieces and inside each other.
hostile = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(CONTROL),
        st.sampled_from(CONTROL).map(str.lower),
        st.sampled_from(
            ["[IN", "ST]", "<th", "ink>", "<|", "|>", "{labels}", '"', "”.", "\n", "\u2028", "\x00"]
        ),
        st.sampled_from(CONTROL).map(lambda word: word[:3] + word + word[3:]),
    ),
    max_size=12,
).map("".join)
every_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)


def test_the_prompt_is_that_of_the_release():
    prompt = TEMPLATES["llama2"].prompt("emotion", "What is felt?", "I am fine.")
    expected = (
        "[INST] <Vid><VideoHere></Vid> The person in video says: I am fine.  [emotion] What is felt? [/INST]"
    )
    assert prompt == expected


def test_without_words_nothing_is_said_about_words():
    assert TEMPLATES["llama2"].prompt("image", "Describe.", " \n") == (
        "[INST] <Vid><VideoHere></Vid> [image] Describe. [/INST]"
    )


def test_the_chat_template_quotes_what_was_said():
    assert TEMPLATES["smollm2"].prompt("emotion", "What is felt?", 'She said "no".') == (
        "<|im_start|>user\n<Vid><VideoHere></Vid> The person in video says: “She said 'no'”.  "
        "[emotion] What is felt?<|im_end|>\n<|im_start|>assistant\n"
    )


@every_template
@given(transcript=hostile)
def test_a_transcript_cannot_change_the_form_of_a_prompt(template, transcript):
    prompt = template.prompt("emotion", "What is felt?", transcript)
    bare = template.prompt("emotion", "What is felt?", "a")
    for mark in "<>[]|":
        if mark != "|":  # a bar means nothing without its brackets
            assert prompt.count(mark) == bare.count(mark)
    assert prompt.count("\n") == bare.count("\n")
    assert prompt.count("“") == prompt.count("”") <= 1
    assert prompt.count(PLACEHOLDER) == 1


@given(text=hostile)
def test_data_is_stable_and_has_no_control_word_left(text):
    clean = as_data(text)
    assert as_data(clean) == clean
    assert not set(clean) & set('<>[]"“”\n\t\x00')
    assert clean == " ".join(clean.split())


@pytest.mark.parametrize("word", CONTROL[:-2] + ("<IMG>", "< think >"))
def test_control_words_leave_nothing_behind(word):
    assert as_data(f"good {word} morning") == "good morning"


@given(words=st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=1, max_size=400))
def test_ordinary_words_are_kept_as_they_are(words):
    said = " ".join(words)
    kept = as_data(said, TRANSCRIPT_LIMIT)
    assert len(kept) <= TRANSCRIPT_LIMIT
    if len(said) <= TRANSCRIPT_LIMIT:
        assert kept == said
    else:
        assert kept.endswith("…") and said.startswith(kept[:-1]) and said[len(kept) - 1] == " "


@pytest.mark.parametrize(
    "said", ["我今天很高兴，谢谢！", "¿Qué pasa? I can't — really: 50 % (yes)", "x <3 y"]
)
def test_other_scripts_and_marks_survive(said):
    assert as_data(said) == said.replace("<", "(")


def test_words_without_blanks_are_cut_anywhere():
    assert as_data("很" * 30, 10) == "很" * 9 + "…"


def test_the_transcript_is_cut_in_the_prompt():
    prompt = TEMPLATES["llama2"].prompt("emotion", "What?", "word " * 1000)
    assert len(prompt) < TRANSCRIPT_LIMIT + 100


def test_an_instruction_is_not_a_format_for_the_transcript():
    assert "{labels}" in TEMPLATES["llama2"].prompt("emotion", "What?", "{labels}")


def test_an_unknown_template_lists_what_is_there():
    with pytest.raises(ConfigError, match="no template named 'gpt'; available: llama2, smollm2"):
        template_named("gpt")


@every_template
def test_the_token_that_ends_an_answer_cannot_be_said(template):
    assert not re.search(re.escape(template.stop), template.prompt("emotion", "What?", template.stop)[30:60])
