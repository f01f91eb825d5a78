"""What the documents on deployment compute and measure."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmark import roofline, tables
from emollama_ros.bundle import packaged_path

ROOT = Path(__file__).resolve().parent.parent


def test_a_stage_is_bound_by_the_slower_of_memory_and_arithmetic():
    machine = roofline.Machine("m", bytes_s=10.0, flops_s=100.0, memory=1.0)
    assert roofline.Work(20.0, 100.0).seconds(machine) == 2.0
    assert roofline.Work(10.0, 500.0).seconds(machine) == 5.0


def test_what_does_not_fit_has_no_times():
    work = roofline.Work(1.0, 1.0)
    system = roofline.System("p", "fp16", (work,), work, work, memory=0.9e9)
    small, large = (roofline.Machine("m", 1e9, 1e9, memory) for memory in (1e9, 2e9))
    assert "no room" in roofline.row(system, small) and "no room" not in roofline.row(system, large)


def test_document_shows_what_is_computed():
    pytest.importorskip("torch", reason="needs torch: operations are counted in the networks")
    pytest.importorskip("transformers", reason="needs transformers")
    text = roofline.DOCUMENT.read_text()
    assert tables.inserted(text, roofline.table(), roofline.MARKS) == text, (
        "run: python -m benchmark roofline --write"
    )


def test_graphs_are_measured_on_the_engines_that_run(tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    from benchmark import robot
    from emollama_ros.engines.base import cuda_available

    arguments = ["--out", str(tmp_path), "--bundle", str(packaged_path()), "--runs", "5"]
    document = json.loads(robot.main(arguments).read_text())
    graphs = document["results"]["engines"]["cpu"]["graphs"]
    assert set(graphs) == {"vision", "audio", "fusion", "text"}
    for graph in graphs.values():
        assert graph["run_ms"]["n"] == 5 and graph["relative_error_to_cpu"] < 1e-5
    if not cuda_available():
        assert [why.split(":")[0] for why in document["results"]["skipped"]] == ["cuda", "tensorrt"]
    assert "| vision |" in tables.table([document])
    assert str(tmp_path) not in json.dumps(document)


def test_unknown_engine_is_refused(tmp_path, capsys):
    from benchmark import robot

    with pytest.raises(SystemExit):
        robot.main(["--out", str(tmp_path), "--engines", "npu"])
    assert "npu" in capsys.readouterr().err


def test_scripts_say_how_they_are_called():
    for name in ("jetson.sh", "gpu.sh"):
        done = subprocess.run(
            ["sh", str(ROOT / "benchmark" / name)], capture_output=True, text=True, env=dict(os.environ)
        )
        assert done.returncode == 2 and f"usage: bash benchmark/{name} OUTDIR" in done.stderr
