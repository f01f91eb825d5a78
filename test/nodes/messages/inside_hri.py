"""Words of ROS4HRI, on a machine that has hri_msgs. Run by test_foreign_messages.py."""

from __future__ import annotations

from hri_msgs.msg import LiveSpeech
from sensing import START_NS, Listening, stamp
from std_msgs.msg import String

from emollama_ros.nodes.clock import SECOND


def test_final_words_are_taken_and_guesses_are_not(graph, driver):
    here, asr = Listening(graph), driver(LiveSpeech, "transcript", name="asr")
    graph.until(lambda: asr.publisher.get_subscription_count(), "a subscription")

    def said(index):
        message = LiveSpeech(incremental="I am", locale="en_GB")
        if index % 2:
            message.final = "I am so happy"
        message.header.stamp = stamp(index)
        return message

    transcript = here.sensors.inputs.transcript
    asr.play(graph, said, lambda: transcript.received >= 6, "words")
    assert {text for _, text in here.feed.words} == {"I am so happy"}
    assert all(START_NS <= at < START_NS + SECOND for at, _ in here.feed.words)
    assert 2 <= len(here.feed.words) < transcript.received and transcript.refused == 0


def test_words_without_a_stamp_are_stamped_when_they_arrive(graph, driver):
    here, asr = Listening(graph), driver(LiveSpeech, "transcript")
    before = here.node.get_clock().now().nanoseconds
    asr.play(graph, lambda i: LiveSpeech(final="yes"), lambda: here.feed.words, "words")
    assert before <= here.feed.words[0][0] <= here.node.get_clock().now().nanoseconds


def test_a_plain_string_takes_over(graph, driver):
    here, asr = Listening(graph), driver(LiveSpeech, "transcript")
    asr.play(graph, lambda i: LiveSpeech(final="yes"), lambda: here.feed.words, "LiveSpeech")
    asr.close()
    plain = driver(String, "transcript")
    plain.play(graph, lambda i: String(data="no"), lambda: here.feed.words[-1][1] == "no", "String")
