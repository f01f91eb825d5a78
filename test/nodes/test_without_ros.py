"""The parts of the nodes that have no ROS in them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emollama_ros.errors import ConfigError, EngineError, InputError
from emollama_ros.nodes import parameters
from emollama_ros.nodes.children import Children
from emollama_ros.nodes.clock import DRIFT_CHUNKS, SECOND, CaptureClock
from emollama_ros.nodes.loading import load_model
from emollama_ros.nodes.numbering import REMEMBERED, Numbering
from emollama_ros.nodes.timeline import Segment, compare, load_truth, merge, true_label
from emollama_ros.nodes.transport import PROFILE, VARIABLES, config_file, with_profile

TABLES = (parameters.PerceptionParameters, parameters.MicrophoneParameters, parameters.MediaPlayerParameters)
ROOT = Path(__file__).resolve().parents[2]


class TestParameters:
    @pytest.mark.parametrize("table", TABLES)
    def test_defaults_are_legal_and_explained(self, table):
        assert parameters.check(table, dataclasses.asdict(table())) == table()
        assert all(len(doc) > 10 for *_, doc in parameters.table_rows(table))

    @pytest.mark.parametrize("table", TABLES)
    def test_every_bound_is_enforced_and_named(self, table):
        for item in dataclasses.fields(table):
            high = item.metadata["high"]
            if high is None:
                continue
            wrong = type(item.default)(high) + 1
            with pytest.raises(ConfigError, match=f"{item.name}: {wrong}.*within"):
                parameters.check(table, {item.name: wrong})

    def test_wrong_choice_lists_what_is_legal(self):
        with pytest.raises(ConfigError, match="engine: 'gpu' is not one of auto, cpu, cuda, tensorrt"):
            parameters.check(parameters.PerceptionParameters, {"engine": "gpu"})

    @given(st.one_of(st.text(), st.booleans(), st.none(), st.lists(st.floats()), st.binary()))
    def test_wrong_type_is_refused(self, value):
        with pytest.raises(ConfigError, match="hop_s"):
            parameters.check(parameters.PerceptionParameters, {"hop_s": value})

    def test_a_whole_number_is_a_float_too_but_no_float_is_a_whole_number(self):
        hop_s = parameters.check(parameters.PerceptionParameters, {"hop_s": 1}).hop_s
        assert hop_s == 1.0 and type(hop_s) is float
        with pytest.raises(ConfigError, match=r"threads: 2\.0 is of type float"):
            parameters.check(parameters.PerceptionParameters, {"threads": 2.0})

    def test_sources_are_different_names_that_fit_into_topics(self):
        def sources(*names):
            return parameters.check(parameters.PerceptionParameters, {"sources": list(names)}).sources

        assert sources() == sources("") == ()
        assert sources("left", "right_2") == ("left", "right_2")
        for wrong in (["a/b"], ["2nd"], ["a b"], ["_a"], ["a__b"], ["a", "a"], [f"n{i}" for i in range(17)]):
            with pytest.raises(ConfigError, match="parameter sources"):
                sources(*wrong)
        for wrong in ("left", [1], None):
            with pytest.raises(ConfigError, match="not an array of strings"):
                parameters.check(parameters.PerceptionParameters, {"sources": wrong})

    @pytest.mark.parametrize("table", TABLES)
    def test_every_parameter_says_when_it_takes_effect(self, table):
        assert set(parameters.effects(table).values()) <= set(parameters.TAKES_EFFECT)

    def test_shipped_file_names_only_parameters_that_exist(self):
        shipped = yaml.safe_load((ROOT / "config" / "perception.yaml").read_text())
        names = ("/**/perception_node", "/**/microphone", "/**/media_player")
        assert set(shipped) == set(names)
        for name, table in zip(names, TABLES, strict=True):
            values = shipped[name]["ros__parameters"]
            assert set(values) <= {f.name for f in dataclasses.fields(table)}
            parameters.check(table, values)

    def test_documentation_has_every_parameter_with_its_default(self):
        text = (ROOT / "docs" / "nodes.md").read_text()
        for table in TABLES:
            for name, default, legal, doc in parameters.table_rows(table):
                assert f"| `{name}` | `{default}` | {legal} | {doc} |" in text
        for name, effect in parameters.effects(parameters.PerceptionParameters).items():
            assert re.search(rf"\| `{name}` \| .* \| {effect} \|\n", text), name


class TestCaptureClock:
    def test_time_is_counted_not_measured(self):
        clock = CaptureClock(16000)
        late_ns = [0, 30_000_000, 0, 25_000_000, 5_000_000]
        stamps = [
            clock.chunk(SECOND + i * SECOND // 10 + late, 1600) for i, late in enumerate(late_ns, start=1)
        ]
        assert [b - a for a, b in zip(stamps, stamps[1:], strict=False)] == [SECOND // 10] * 4
        assert stamps[0] == SECOND

    def test_latency_sets_stamps_back(self):
        assert CaptureClock(8000, latency_ns=50_000_000).chunk(2 * SECOND, 8000) == SECOND - 50_000_000

    @given(st.integers(50, 2000))
    def test_lost_samples_move_the_time_on(self, lost_ms):
        clock, now = CaptureClock(16000), 10 * SECOND
        for _ in range(3):
            now += 20_000_000
            clock.chunk(now, 320)
        now += lost_ms * 1_000_000
        for _ in range(DRIFT_CHUNKS + 3):
            now += 20_000_000
            stamp = clock.chunk(now, 320)
        assert clock.corrections == 1
        assert stamp == now - 20_000_000

    @given(st.lists(st.integers(0, 35_000_000), min_size=20, max_size=60))
    def test_scheduling_noise_never_moves_it(self, noise):
        clock = CaptureClock(16000)
        for i, late in enumerate(noise):
            clock.chunk((i + 1) * 20_000_000 + late, 320)
        assert clock.corrections == 0


class TestLoading:
    @pytest.fixture
    def bundle(self, monkeypatch, tmp_path):
        """A bundle with language, and stand-ins for everything that reads its files."""
        from emollama_ros import bundle, perception, reasoning

        preprocessing = SimpleNamespace(frame_size=64, frame_hz=2.0)
        calibration = SimpleNamespace(uncertain_below=0.35)
        manifest = SimpleNamespace(
            name="tiny", version="1.2", preprocessing=preprocessing, calibration=calibration, prompt=None
        )
        found = SimpleNamespace(manifest=manifest, path=tmp_path, sha256="abc", has_language=True)
        perceiver = SimpleNamespace(device="cpu (test)", warmed=0, people=None)
        perceiver.warm_up = lambda: setattr(perceiver, "warmed", 1)
        monkeypatch.setattr(bundle.Bundle, "load", staticmethod(lambda path: found))
        monkeypatch.setattr(perception, "Perception", lambda bundle, options: perceiver)
        monkeypatch.setattr(reasoning.Reasoner, "load", staticmethod(lambda folder, threads: object()))
        found.perceiver = perceiver
        return found

    def test_the_model_is_warm_and_known(self, bundle):
        model = load_model(parameters.PerceptionParameters())
        assert bundle.perceiver.warmed and model.notices == ()
        assert model.facts["bundle"].startswith("tiny 1.2") and model.facts["engine"] == "cpu (test)"
        assert model.facts["reasoning"] == "on"
        pipeline = model.make_pipeline(lambda _: None, lambda _: None)
        assert isinstance(pipeline.health().windows, int) and pipeline.intake.wants_frame(1)

    def test_the_bundle_says_what_is_uncertain_unless_a_parameter_does(self, bundle):
        model = load_model(parameters.PerceptionParameters())
        assert model.config(parameters.PerceptionParameters()).uncertainty.least_confidence == 0.35
        asked = parameters.PerceptionParameters(least_confidence=0.6)
        assert model.config(asked).uncertainty.least_confidence == 0.6

    def test_without_language_there_are_labels_and_a_notice(self, bundle):
        bundle.has_language = False
        model = load_model(parameters.PerceptionParameters())
        assert model.facts["reasoning"] == "off" and "emollama bundle assemble" in model.notices[0]

    def test_a_language_model_that_fails_does_not_take_the_labels_with_it(self, bundle, monkeypatch):
        from emollama_ros import reasoning

        def fail(folder, threads):
            raise EngineError("onnxruntime is missing")

        monkeypatch.setattr(reasoning.Reasoner, "load", staticmethod(fail))
        model = load_model(parameters.PerceptionParameters())
        assert model.facts["reasoning"] == "off" and model.notices == (
            "no reasoning: onnxruntime is missing",
        )

    def test_reasoning_can_be_left_out(self, bundle):
        assert load_model(parameters.PerceptionParameters(reasoning=False)).notices == ()


class TestNumbering:
    def test_numbers_have_no_gaps_across_pipelines(self):
        numbers = Numbering()
        assert [numbers.state(0), numbers.state(None), numbers.state(1)] == [0, 1, 2]
        assert numbers.reasoning(0, 1) == (0, 2)
        assert numbers.reasoning(0, 1) == (0, 2)
        numbers.new_pipeline()
        assert numbers.reasoning(0, 1) is None
        assert numbers.state(0) == 3
        assert numbers.reasoning(0, 0) == (1, 3)

    def test_memory_is_bounded(self):
        numbers = Numbering()
        for n in range(REMEMBERED + 10):
            numbers.state(n)
        assert numbers.reasoning(0, 9) is None
        assert numbers.reasoning(0, 10) == (0, 10)


class TestTimeline:
    TRUTH = (Segment(0, 3, "neutral"), Segment(3, 10, "happy"))

    def test_a_window_has_the_label_that_fills_most_of_it(self):
        assert true_label(Segment(1, 5, "?"), self.TRUTH) == "neutral"
        assert true_label(Segment(2, 6, "?"), self.TRUTH) == "happy"
        assert true_label(Segment(20, 21, "?"), self.TRUTH) is None

    def test_windows_whose_label_is_not_told_are_counted_apart(self):
        windows = [Segment(0, 2, "neutral"), Segment(4, 6, "uncertain"), Segment(5, 7, "sad")]
        found = compare(windows, self.TRUTH)
        assert (found.hits, found.windows, found.uncertain) == (1, 2, 1)
        assert "1 of 2 windows (50%; 1 more uncertain)" in str(found)
        assert "uncertain" not in str(compare(windows[:1], self.TRUTH))

    def test_agreement_states_both_kinds_of_chance(self):
        windows = [
            Segment(0, 2, "neutral"),
            Segment(3, 5, "happy"),
            Segment(4, 6, "sad"),
            Segment(30, 31, "sad"),
        ]
        result = compare(windows, self.TRUTH)
        assert (result.hits, result.windows, result.majority) == (2, 3, 2 / 3)
        assert "2 of 3 windows (67%); chance: 14% guessing, 67% always" in str(result)

    def test_no_windows_agree_with_nothing(self):
        assert compare([], self.TRUTH).share == 0.0

    def test_merging_makes_stretches(self):
        windows = [Segment(0, 1, "sad"), Segment(0, 1.5, "sad"), Segment(0, 2, "happy")]
        assert merge(windows) == [Segment(0, 1.5, "sad"), Segment(1.5, 2, "happy")]

    def test_truth_is_optional_but_must_be_right(self, tmp_path):
        clip = tmp_path / "a.mp4"
        assert load_truth(clip) == ()
        truth = {"segments": [{"start_s": 0, "end_s": 1.5, "label": "sad"}]}
        clip.with_suffix(".json").write_text(json.dumps(truth))
        assert load_truth(clip) == (Segment(0.0, 1.5, "sad"),)
        clip.with_suffix(".json").write_text("[]")
        with pytest.raises(InputError, match="a.json"):
            load_truth(clip)


class TestTransport:
    def test_profile_is_found_and_set_under_both_names(self):
        environment = with_profile({})
        assert {environment[name] for name in VARIABLES} == {str(config_file(PROFILE))}

    @pytest.mark.parametrize("name", VARIABLES)
    def test_a_profile_of_the_user_stays(self, name):
        assert with_profile({name: "/mine.xml"}) == {name: "/mine.xml"}


class TestChildren:
    @pytest.fixture
    def child_of(self):
        with Children(os.environ) as children:

            def start(code):
                from emollama_ros.nodes.children import Child

                child = Child("it", [sys.executable, "-c", code], os.environ)
                children._children.append(child)
                return child

            yield start, children

    def test_the_last_words_of_a_crash_are_kept(self, child_of):
        start, children = child_of
        child = start("print('before'); raise SystemExit('this is why')")
        child._process.wait(10)
        assert children.fallen() is child
        assert "status 1" in child.epitaph() and "this is why" in child.epitaph()

    def test_one_that_ignores_interrupts_is_ended_all_the_same(self, child_of, monkeypatch):
        monkeypatch.setattr("emollama_ros.nodes.children.GRACE_S", 0.2)
        start, children = child_of
        child = start(
            "import signal,time\nfor s in (2,15): signal.signal(s, signal.SIG_IGN)\n"
            "print('ready', flush=True)\ntime.sleep(60)"
        )
        while child.line_with("ready") is None:
            assert child.exit_status is None
        child.stop()
        assert child.exit_status == -9
