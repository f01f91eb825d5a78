"""Adapters of sound and words: every format, rate and channel count, damaged messages, and the choice."""

from __future__ import annotations

import array
import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace as Message

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError, InputError
from emollama_ros.nodes.adapters.choice import Adapter, Wish, choose
from emollama_ros.nodes.adapters.samples import SAMPLE_FORMATS, looks_like_mp3, pcm, within_full_scale
from emollama_ros.nodes.adapters.sound import SOUNDS, Chunk, Form
from emollama_ros.nodes.adapters.words import WORDS
from emollama_ros.nodes.audio_input import AudioInput
from emollama_ros.nodes.clock import SECOND
from emollama_ros.nodes.parameters import PerceptionParameters
from emollama_ros.preprocess.audio import to_float

BY_TYPE = {adapter.type: adapter for adapter in SOUNDS + WORDS}
NOW = 1_700_000_000 * SECOND
WIDTHS = {
    name: 8 if "64" in name else 4 if "32" in name else 3 if "24" in name else 2 for name in SAMPLE_FORMATS
}
WIDTHS.update(S8=1, U8=1)
#: Steps of the coarsest value that each format can tell apart; the conversion must be as good as that.
ROUNDING = {1: 2 / 128, 2: 2 / 32768, 3: 1e-6, 4: 1e-6, 8: 1e-6}
PORTAUDIO = {
    1: ("float32_data", "f"),
    2: ("int32_data", "i"),
    8: ("int16_data", "h"),
    16: ("int8_data", "b"),
    32: ("uint8_data", "B"),
}


def header(stamp_ns=NOW, frame_id="mic"):
    sec, nanosec = divmod(stamp_ns, SECOND)
    return Message(stamp=Message(sec=sec, nanosec=nanosec), frame_id=frame_id)


def encoded(values, name):
    """Encode samples of full scale 1 as a driver would, written apart from the decoder."""
    big, kind, bits = name.endswith("BE"), name[0], int("".join(c for c in name if c.isdigit()))
    if kind == "F":
        return values.astype(f"{'>' if big else '<'}f{bits // 8}").tobytes()
    whole = np.clip(np.round(values * 2.0 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(int)
    if kind == "U":
        whole = whole + 2 ** (bits - 1)
    order = "big" if big else "little"
    return b"".join(int(v).to_bytes(bits // 8, order, signed=kind == "S") for v in whole)


def tone(count, channels=1, rate=16000, hz=220.0, level=0.5):
    """An interleaved tone, the same in every channel."""
    mono = level * np.sin(2 * np.pi * hz * np.arange(count) / rate)
    return np.repeat(mono, channels)


class TestSamples:
    @pytest.mark.parametrize("name", SAMPLE_FORMATS)
    def test_every_format_gives_back_what_was_encoded(self, name):
        values = np.linspace(-1, 0.99, 401)
        back = to_float(pcm(encoded(values, name), name))
        assert np.abs(back - values).max() <= ROUNDING[WIDTHS[name]]
        assert np.abs(back).max() <= 1

    @pytest.mark.parametrize("name", ["s16le", "S16_LE", "s16_Le"])
    def test_names_may_be_written_as_alsa_does(self, name):
        assert list(pcm(b"\x01\x00\xff\xff", name)) == [1, -1]

    @given(st.binary(max_size=200), st.sampled_from(SAMPLE_FORMATS))
    def test_any_bytes_are_samples_or_refused_with_the_width(self, data, name):
        if len(data) % WIDTHS[name]:
            with pytest.raises(InputError, match=f"{len(data)} bytes.*{name}.*{WIDTHS[name]} bytes each"):
                pcm(data, name)
        else:
            samples = pcm(data, name)
            assert len(samples) * WIDTHS[name] == len(data) and samples.dtype.isnative

    @given(st.text(max_size=12))
    def test_another_format_is_refused_and_a_legal_one_named(self, name):
        if name.upper().replace("_", "") not in SAMPLE_FORMATS:
            with pytest.raises(InputError, match="set it to S16LE"):
                pcm(b"", name)

    @given(st.lists(st.floats(width=32), min_size=1, max_size=50))
    def test_floats_stay_within_full_scale_and_what_is_not_finite_is_missing(self, values):
        data = np.array(values, np.float32)
        loud = np.count_nonzero(np.isfinite(data) & (np.abs(data) > 1))
        if 2 * loud > len(data):
            with pytest.raises(InputError, match="full scale is 1; divide"):
                within_full_scale(data)
            return
        out = within_full_scale(data)
        assert np.array_equal(np.isnan(out), ~np.isfinite(data))
        heard = np.isfinite(data)
        assert np.array_equal(out[heard], np.clip(data[heard], -1, 1))

    def test_frames_of_mp3_are_recognised(self):
        frame = lambda head, size: head + bytes(size - len(head))  # noqa: E731
        assert looks_like_mp3(frame(b"\xff\xfb\x90\x00", 417))  # MPEG 1, 128 kbit/s, 44.1 kHz
        assert looks_like_mp3(frame(b"\xff\xfb\x92\x00", 418))  # padded
        assert looks_like_mp3(frame(b"\xff\xf3\x88\x00", 288))  # MPEG 2, 64 kbit/s, 16 kHz
        assert not looks_like_mp3(frame(b"\xff\xfb\x90\x00", 1024))

    @given(st.integers(-32768, 32767), st.integers(-32768, 32767), st.sampled_from([320, 512, 1024, 1600]))
    def test_sound_of_usual_lengths_is_not_taken_for_mp3(self, first, second, count):
        samples = np.zeros(count, np.int16)
        samples[:2] = first, second
        assert not looks_like_mp3(samples.tobytes())


def raw_chunk(values, form):
    return BY_TYPE["audio_common_msgs/AudioData"].convert(
        Message(data=encoded(values, form.sample_format)), form
    )


class TestEveryFormat:
    @settings(max_examples=60)
    @given(
        st.sampled_from(SAMPLE_FORMATS),
        st.integers(1, 8),
        st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]),
        st.lists(st.integers(1, 1500), min_size=1, max_size=6),
    )
    def test_range_duration_and_no_sample_lost_over_borders(self, name, channels, rate, cuts):
        form = Form(rate, channels, name, told=True)
        total = sum(cuts)
        values = tone(total, channels, rate)
        audio, sounds, begin = AudioInput(), [], 0
        for cut in cuts:
            part = values[begin * channels : (begin + cut) * channels]
            sounds.append(audio.convert(raw_chunk(part, form), NOW + (begin + cut) * SECOND // rate))
            begin += cut
        samples = np.concatenate([s.samples for s in sounds])
        assert samples.dtype == np.float32 and np.abs(samples).max(initial=0) <= 1
        # The resampler withholds half its filter, and begins when it has a whole one: 32 samples at 8 kHz.
        assert round(total * 16000 / rate) - 66 <= len(samples) <= math.ceil(total * 16000 / rate) + 1
        assert sum(s.end_ns - s.stamp_ns for s in sounds) == pytest.approx(
            total * SECOND / rate, abs=2 * len(cuts)
        )
        assert [s.stamp_ns for s in sounds[1:]] == pytest.approx([s.end_ns for s in sounds[:-1]], abs=2)
        at_once = AudioInput().convert(raw_chunk(values, form), NOW).samples
        assert np.array_equal(samples[: len(at_once)], at_once[: len(samples)])

    @pytest.mark.parametrize("flag", PORTAUDIO)
    @pytest.mark.parametrize("channels", [1, 2])
    def test_portaudio_arrays(self, flag, channels):
        field, code = PORTAUDIO[flag]
        name = {"f": "F32LE", "i": "S32LE", "h": "S16LE", "b": "S8", "B": "U8"}[code]
        data = Message(**{other: array.array(c) for other, c in PORTAUDIO.values()})
        getattr(data, field).frombytes(encoded(tone(512, channels), name))
        info = Message(format=flag, channels=channels, rate=16000, chunk=512)
        message = Message(header=header(), audio=Message(audio_data=data, info=info))
        chunk = BY_TYPE["audio_common_msgs/AudioStamped"].convert(message, Form())
        sound = AudioInput(latency_ns=5_000_000).convert(chunk, NOW)
        assert (sound.stamp_ns, sound.end_ns) == (NOW - 5_000_000, NOW - 5_000_000 + 32_000_000)
        assert np.abs(sound.samples - tone(512)).max() < ROUNDING[WIDTHS[name]]
        assert chunk.frame_id == "mic"

    def test_stamps_of_audio_data_stamped_are_kept(self):
        message = Message(header=header(), audio=Message(data=encoded(tone(160), "S16LE")))
        chunk = BY_TYPE["audio_common_msgs/AudioDataStamped"].convert(message, Form(told=True))
        assert (chunk.stamp_ns, chunk.frame_id, len(chunk.samples)) == (NOW, "mic", 160)


def int16_array(samples, dims=(), offset=0):
    dim = [Message(label=label, size=size, stride=1) for label, size in dims]
    data = array.array("h", [int(v) for v in samples])
    return Message(layout=Message(dim=dim, data_offset=offset), data=data)


class TestInt16MultiArray:
    convert = staticmethod(BY_TYPE["std_msgs/Int16MultiArray"].convert)

    @pytest.mark.parametrize("dims", [(), (("audio", 6),), (("audio", 0),)])
    def test_a_layout_without_channels_leaves_them_to_the_parameter(self, dims):
        chunk = self.convert(int16_array(range(6), dims), Form(22050, 2))
        assert (chunk.rate, chunk.channels, list(chunk.samples)) == (22050, 2, [0, 1, 2, 3, 4, 5])

    @pytest.mark.parametrize(
        ("dims", "interleaved"),
        [
            ((("frames", 3), ("channels", 2)), [0, 1, 2, 3, 4, 5]),
            ((("channels", 2), ("frames", 3)), [0, 3, 1, 4, 2, 5]),
            ((("", 3), ("", 2)), [0, 1, 2, 3, 4, 5]),
            ((("", 2), ("", 3)), [0, 3, 1, 4, 2, 5]),
        ],
    )
    def test_a_layout_may_say_the_channels(self, dims, interleaved):
        chunk = self.convert(int16_array(range(6), dims), Form())
        assert (chunk.channels, list(chunk.samples)) == (2, interleaved)

    def test_an_offset_is_skipped_and_must_lie_within(self):
        assert list(self.convert(int16_array(range(6), offset=4), Form()).samples) == [4, 5]
        with pytest.raises(InputError, match="data_offset is 7, but there are 6 samples"):
            self.convert(int16_array(range(6), offset=7), Form())

    def test_a_layout_that_does_not_fit_is_refused(self):
        with pytest.raises(InputError, match="layout.dim is 4 x 2, but there are 6 samples"):
            self.convert(int16_array(range(6), (("f", 4), ("c", 2))), Form())

    def test_sound_of_several_channels_is_mixed(self):
        chunk = self.convert(int16_array([8192, -8192, 16384, 0], (("f", 2), ("channels", 2))), Form())
        assert list(AudioInput().convert(chunk, NOW).samples) == [0, 0.25]


class TestTime:
    def test_without_stamps_samples_are_counted_from_the_arrival(self):
        """Arrivals jitter by 20 ms; the times of the samples do not."""
        audio, chunk = AudioInput(latency_ns=30_000_000), Chunk(None, 16000, 1, np.zeros(512, np.int16))
        jitter = np.random.default_rng(0).integers(0, 20_000_000, 100)
        jitter[0] = 0
        sounds = [audio.convert(chunk, NOW + (i + 1) * 32_000_000 + int(jitter[i])) for i in range(100)]
        assert [s.stamp_ns for s in sounds] == [NOW - 30_000_000 + i * 32_000_000 for i in range(100)]

    def test_a_pause_is_noticed_with_the_first_chunk_after_it(self):
        audio, chunk = AudioInput(), Chunk(None, 16000, 1, np.zeros(16000, np.int16))
        audio.convert(chunk, NOW)
        assert audio.convert(chunk, NOW + 11 * SECOND).end_ns == NOW + 11 * SECOND

    def test_another_rate_begins_anew(self):
        audio = AudioInput()
        audio.convert(Chunk(None, 48000, 1, np.zeros(4800, np.int16)), NOW)
        sound = audio.convert(Chunk(None, 16000, 2, np.full(3200, 16384, np.int16)), NOW + SECOND // 10)
        assert (sound.end_ns, set(sound.samples)) == (NOW + SECOND // 10, {0.5})

    def test_numbers_that_are_left_out_are_missing_chunks(self):
        audio = AudioInput()
        chunk = lambda number: Chunk(NOW, 16000, 1, np.zeros(16, np.int16), number)  # noqa: E731
        assert [audio.convert(chunk(n), NOW).missing for n in (7, 8, 11, 0, 1)] == [0, 0, 2, 0, 0]

    def test_nan_stays_where_it_was_and_later_sound_is_whole_again(self):
        audio = AudioInput()
        values = np.full(4800, 0.5, np.float32)
        values[2400] = np.nan
        first = audio.convert(Chunk(None, 48000, 1, values), NOW).samples
        second = audio.convert(
            Chunk(None, 48000, 1, np.full(4800, 0.5, np.float32)), NOW + SECOND // 10
        ).samples
        assert 1 <= np.isnan(first).sum() < 80 and np.isnan(first[780:820]).any()
        assert not np.isnan(second).any()


class TestRefusals:
    """Each names the thing, its value, and what to do."""

    @pytest.mark.parametrize(
        ("form", "data", "words"),
        [
            (Form(coding="mp3", told=True), b"", "coding_format is 'mp3'.*format:=wave"),
            (Form(coding="MP3", told=True), b"", "format:=wave"),
            (Form(), b"\xff\xf3\x88\x00" + bytes(284), "the bytes are mp3.*format:=wave"),
            (Form(rate=0, told=True), bytes(4), "sample_rate is 0 Hz; it must be 8000 to 192000"),
            (Form(channels=0, told=True), bytes(4), "channels is 0; it must be 1 to 64"),
            (Form(sample_format="OPUS", told=True), bytes(4), "'OPUS'.*set it to S16LE"),
            (Form(channels=2), bytes(6), "3 samples for 2 channel"),
            (Form(), b"", "0 samples for 1 channel"),
            (Form(), bytes(3), "3 bytes are no whole samples of S16LE"),
        ],
    )
    def test_of_bytes(self, form, data, words):
        with pytest.raises(InputError, match=words):
            BY_TYPE["audio_common_msgs/AudioData"].convert(Message(data=data), form)

    @pytest.mark.parametrize("coding", ["wave", "WAVE", "raw", ""])
    def test_plain_codings_are_read(self, coding):
        form = Form(coding=coding, told=True)
        assert len(BY_TYPE["audio_common_msgs/AudioData"].convert(Message(data=bytes(8)), form).samples) == 4

    @pytest.mark.parametrize(
        ("flag", "field", "words"),
        [(4, "int16_data", "audio.info.format is 4"), (8, "int8_data", "int16_data is empty")],
    )
    def test_of_portaudio(self, flag, field, words):
        data = Message(**{other: array.array(c) for other, c in PORTAUDIO.values()})
        getattr(data, field).extend([1, 2])
        info = Message(format=flag, channels=1, rate=16000, chunk=2)
        message = Message(header=header(), audio=Message(audio_data=data, info=info))
        with pytest.raises(InputError, match=words):
            BY_TYPE["audio_common_msgs/AudioStamped"].convert(message, Form())

    @pytest.mark.parametrize("name", ["emollama_ros/AudioChunk", "audio_common_msgs/AudioDataStamped"])
    def test_of_a_stamp_that_nobody_set(self, name):
        message = Message(
            header=header(0),
            sample_rate=16000,
            channels=1,
            sequence=0,
            samples=array.array("h", [1]),
            audio=Message(data=bytes(2)),
        )
        with pytest.raises(InputError, match="header.stamp is 0"):
            BY_TYPE[name].convert(message, Form())

    @given(
        st.binary(max_size=64),
        st.integers(-(2**31), 2**32 - 1),
        st.integers(-(2**31), 2**31 - 1),
        st.sampled_from(SAMPLE_FORMATS) | st.text(max_size=8),
        st.sampled_from(["", "wave", "mp3"]) | st.text(max_size=8),
    )
    def test_any_bytes_of_any_form_are_sound_or_an_input_error(self, data, rate, channels, name, coding):
        form = Form(rate, channels, name, coding, told=True)
        self.sound_or_input_error(
            lambda: BY_TYPE["audio_common_msgs/AudioData"].convert(Message(data=data), form)
        )

    @given(
        st.sampled_from([*PORTAUDIO, 0, 4, -(2**31), 2**31 - 1]),
        st.integers(-2, 70),
        st.sampled_from([16000, 0, -1, 2**31 - 1, 44100]),
        st.binary(max_size=64),
    )
    def test_any_portaudio_message_is_sound_or_an_input_error(self, flag, channels, rate, data):
        arrays = {name: array.array(code) for name, code in PORTAUDIO.values()}
        for values in arrays.values():
            values.frombytes(data[: len(data) // values.itemsize * values.itemsize])
        info = Message(format=flag, channels=channels, rate=rate, chunk=0)
        message = Message(header=header(), audio=Message(audio_data=Message(**arrays), info=info))
        self.sound_or_input_error(lambda: BY_TYPE["audio_common_msgs/AudioStamped"].convert(message, Form()))

    @given(
        st.integers(-(2**31), 2**31 - 1),
        st.sampled_from([0, 1, 7999, 8000, 16000, 44100, 192000, 192001, 2**32 - 1]),
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        st.lists(st.integers(-32768, 32767), max_size=40),
    )
    def test_any_chunk_of_our_own_is_sound_or_an_input_error(self, sec, rate, channels, number, samples):
        message = Message(
            header=header(sec * SECOND),
            sample_rate=rate,
            channels=channels,
            sequence=number,
            samples=array.array("h", samples),
        )
        self.sound_or_input_error(lambda: BY_TYPE["emollama_ros/AudioChunk"].convert(message, Form()))

    @given(
        st.lists(st.integers(-32768, 32767), max_size=40),
        st.lists(st.tuples(st.text(max_size=9), st.integers(0, 2**32 - 1)), max_size=4),
        st.integers(0, 2**32 - 1),
    )
    def test_any_layout_is_sound_or_an_input_error(self, samples, dims, offset):
        message = int16_array(samples, dims, offset)
        self.sound_or_input_error(lambda: BY_TYPE["std_msgs/Int16MultiArray"].convert(message, Form()))

    @staticmethod
    def sound_or_input_error(convert):
        try:
            sound = AudioInput().convert(convert(), NOW)
        except InputError as error:
            assert len(str(error)) > 20
        else:
            assert sound.end_ns > sound.stamp_ns
            assert not (np.abs(sound.samples) > 1).any()


class TestWords:
    def test_a_string_has_no_time(self):
        words = BY_TYPE["std_msgs/String"].convert(Message(data="hello"))
        assert (words.stamp_ns, words.text) == (None, "hello")

    @pytest.mark.parametrize("language", [{"locale": "en_GB"}, {"language": "en-GB"}])
    def test_live_speech_is_what_is_final_whatever_its_version(self, language):
        speech = Message(header=header(), incremental="hello you", final="", confidence=0.0, **language)
        assert BY_TYPE["hri_msgs/LiveSpeech"].convert(speech).text == ""
        speech.final = "hello you all"
        words = BY_TYPE["hri_msgs/LiveSpeech"].convert(speech)
        assert (words.stamp_ns, words.text) == (NOW, "hello you all")

    def test_live_speech_without_a_stamp_has_no_time(self):
        speech = Message(header=header(0), incremental="", final="yes", confidence=1.0)
        assert BY_TYPE["hri_msgs/LiveSpeech"].convert(speech).stamp_ns is None


ABSENT = "ModuleNotFoundError: No module named 'audio_common_msgs'"


def machine(*installed):
    """What can be imported on a machine that has these types."""

    def load(adapter: Adapter):
        if adapter.type not in installed:
            raise ConfigError(ABSENT)
        return f"class of {adapter.type}"

    return load


OWN, MGONZS, STAMPED, DATA, ARRAY = (adapter.type for adapter in SOUNDS)
ROS_DRIVERS = machine(OWN, ARRAY, STAMPED, DATA)
BARE = machine(OWN, ARRAY)


def heard(asked, offered, load, present=None, deaf=False):
    by_type = {kind: {f"/{kind.rpartition('/')[2].lower()}_node"} for kind in offered}
    choice = choose(Wish("/audio", "audio_type", asked, SOUNDS), by_type, present, load, deaf=deaf)
    assert choice.kind == (None if choice.adapter is None else f"class of {choice.adapter.type}")
    return choice.adapter and choice.adapter.type, str(choice.obstacle or "")


class TestChoice:
    def test_before_anybody_publishes_our_own_type_is_heard(self):
        assert heard("auto", [], BARE) == (OWN, "")

    @pytest.mark.parametrize("kind", [OWN, STAMPED, DATA, ARRAY])
    def test_auto_follows_what_is_published(self, kind):
        assert heard("auto", [kind], ROS_DRIVERS) == (kind, "")

    def test_what_is_heard_stays_when_its_publisher_goes(self):
        assert heard("auto", [], ROS_DRIVERS, BY_TYPE[STAMPED]) == (STAMPED, "")

    def test_another_type_is_followed(self):
        assert heard("auto", [DATA], ROS_DRIVERS, BY_TYPE[STAMPED]) == (DATA, "")

    def test_a_type_that_is_not_installed_names_both_sides_and_the_package(self):
        kind, words = heard("auto", [MGONZS], ROS_DRIVERS)
        assert kind == OWN
        assert words == (
            "/audio is published as audio_common_msgs/AudioStamped by /audiostamped_node, and heard as "
            "emollama_ros/AudioChunk here: build audio_common_msgs of mgonzs13/audio_common (it cannot be "
            f"with that of ros-drivers) on this machine ({ABSENT})"
        )

    def test_a_type_that_no_adapter_reads_names_those_that_one_does(self):
        kind, words = heard("auto", ["audio_msgs/Sound"], BARE)
        assert kind == OWN and "published as audio_msgs/Sound by /sound_node" in words
        assert "publish emollama_ros/AudioChunk, audio_common_msgs/AudioStamped" in words

    def test_an_explicit_type_is_heard_though_another_is_published(self):
        kind, words = heard(DATA, [OWN], ROS_DRIVERS)
        assert kind == DATA and "published as emollama_ros/AudioChunk" in words
        assert "heard as audio_common_msgs/AudioData here: set audio_type to emollama_ros/AudioChunk" in words

    def test_an_explicit_type_that_is_not_installed_is_said_at_once(self):
        kind, words = heard(DATA, [], BARE)
        assert kind is None
        assert (
            "audio_common_msgs/AudioData was asked for, but cannot be used here" in words and ABSENT in words
        )
        assert "install ros-$ROS_DISTRO-audio-common-msgs" in words and "set audio_type to auto" in words

    def test_several_types_on_a_topic_are_said_unless_one_was_asked_for(self):
        kind, words = heard("auto", [ARRAY, OWN], BARE)
        assert kind == OWN
        assert "emollama_ros/AudioChunk and std_msgs/Int16MultiArray by /audiochunk_node, /int16" in words
        assert "only emollama_ros/AudioChunk is heard" in words
        assert heard("auto", [ARRAY, OWN], BARE, BY_TYPE[ARRAY])[0] == ARRAY
        assert heard(ARRAY, [ARRAY, OWN], BARE) == (ARRAY, "")

    @pytest.mark.parametrize(("present", "then"), [(OWN, ARRAY), (ARRAY, OWN), (DATA, OWN)])
    def test_when_nothing_comes_another_publisher_is_given_a_turn(self, present, then):
        assert heard("auto", [ARRAY, OWN], ROS_DRIVERS, BY_TYPE[present], deaf=True)[0] == then

    def test_the_only_publisher_keeps_its_turn(self):
        assert heard("auto", [ARRAY], BARE, BY_TYPE[ARRAY], deaf=True) == (ARRAY, "")


def test_the_document_lists_every_type_and_its_time():
    text = (Path(__file__).resolve().parents[2] / "docs" / "nodes.md").read_text()
    rows = {
        row[1].strip(" `"): row[3].strip() for line in text.splitlines() if len(row := line.split("|")) == 5
    }
    assert {adapter.type: adapter.time for adapter in SOUNDS + WORDS}.items() <= rows.items()


def test_the_parameters_choose_among_every_type():
    fields = {field.name: field.metadata["choices"] for field in dataclasses.fields(PerceptionParameters)}
    assert set(fields["audio_type"]) == {"auto", *(adapter.setting for adapter in SOUNDS)}
    assert set(fields["transcript_type"]) == {"auto", *(adapter.setting for adapter in WORDS)}
