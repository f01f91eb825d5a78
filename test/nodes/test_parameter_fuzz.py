"""Parameters of any name, type and value: refused with a reason and without a trace, or used."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("emollama_ros.msg", reason="needs the built messages")

from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.parameter import Parameter
from rig import Rig, state_of

from emollama_ros.nodes.parameters import PerceptionParameters, check
from emollama_ros.nodes.perception_node import DONE

pytestmark = pytest.mark.ros
ITEMS = {item.name: item for item in fields(PerceptionParameters)}

numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(), st.integers(-3, 20), st.floats(0, 20))
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
lists = st.one_of(*(st.lists(kind, max_size=3) for kind in (words, st.integers(-5, 5), st.booleans())))
likely = [choice for item in ITEMS.values() for choice in item.metadata["choices"]]
others = st.one_of(st.booleans(), st.binary(max_size=4), st.none(), st.sampled_from(likely))
values = st.one_of(numbers, words, lists, others)
names = st.one_of(st.sampled_from(sorted(ITEMS)), words.filter(bool))


def table(node):
    """All present values, checked."""
    return check(PerceptionParameters, {name: node.get_parameter(name).value for name in ITEMS})


class TestFuzz:
    @pytest.fixture
    def node(self, graph):
        rig = Rig(graph).activate()
        rig.feed(1.2)
        self.graph = graph
        return rig.node

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.tuples(names, values), min_size=1, max_size=3), st.booleans())
    @example([("hop_s", float("nan"))], False)
    @example([("hop_s", float("inf"))], False)
    @example([("threads", True)], False)
    @example([("sources", ["a", "a"])], True)
    @example([("patience_s", 5.0), ("hop_s", 10.0), ("window_s", 1.0)], True)
    @example([("timeout_s", None)], False)
    def test_nothing_crashes_it_and_what_is_refused_changes_nothing(self, node, wishes, together):
        before = table(node)
        try:
            asked = [Parameter(name, value=value) for name, value in wishes]
        except (TypeError, ValueError):
            return  # rclpy itself knows no such type
        try:
            results = [node.set_parameters_atomically(asked)] if together else node.set_parameters(asked)
        except ParameterNotDeclaredException:
            results = []
        assert all(result.successful or result.reason for result in results)
        after = table(node)
        if together and not (results and results[0].successful):
            assert after == before
        self.graph.executor.spin_once(timeout_sec=0)
        node._tuning.apply()
        assert node._tuning.settings == table(node) and state_of(node) == "active"
        assert (node._session is not None) == node._tuning.settings.enabled

    def test_and_it_still_works(self, graph, node):
        assert node.trigger_deactivate() == DONE and node.trigger_cleanup() == DONE
        assert node.trigger_configure() == DONE and node.trigger_activate() == DONE
