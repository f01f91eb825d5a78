"""The tables of docs/benchmarks.md, made from the JSON files and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.record import ROOT, SCHEMA, significant

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- python -m benchmark table --write -->", "<!-- end of the table -->"
PERCENTILES = ("p50", "p95", "p99")
#: Where a run of the graph has the processor time of what was measured.
CPU = "processes.perception.cpu_percent_of_a_core"
#: What is shown of a system's results: words, unit and path within ``results``.
ROWS = (
    ("stage: frames to features, each new frame", "ms", "stages.vision_a_frame_ms"),
    ("stage: vision of a window", "ms", "stages.vision_ms"),
    ("stage: sound to features", "ms", "stages.audio_ms"),
    ("stage: fusion and head", "ms", "stages.fusion_ms"),
    ("stage: cues", "ms", "stages.cues_ms"),
    ("a 4 s window, all stages", "ms", "stages.total_ms"),
    ("age of /emotion/state, labels only", "ms", "graph.labels_only.age_ms"),
    ("age of /emotion/state, reasoning beside", "ms", "graph.with_reasoning.age_ms"),
    (
        "age of /emotion/state, a language model writing without rest",
        "ms",
        "graph.reasoning_without_rest.age_ms",
    ),
    ("of it: waiting for what completes the window", "ms", "graph.with_reasoning.waiting_ms"),
    ("of it: window complete to published", "ms", "graph.with_reasoning.latency_ms"),
    ("age when the listener has it, reasoning beside", "ms", "graph.with_reasoning.age_at_listener_ms"),
    ("all stages, reasoning beside", "ms", "graph.with_reasoning.stage_ms.total"),
    ("ROS: image sent to arrival", "ms", "graph.with_reasoning.overhead.image.sent_to_arrival_ms"),
    ("ROS: image arrival to buffer", "ms", "graph.with_reasoning.overhead.image.arrival_to_buffer_ms"),
    ("ROS: audio arrival to buffer", "ms", "graph.with_reasoning.overhead.audio.arrival_to_buffer_ms"),
    ("ROS: estimate to publish", "ms", "graph.with_reasoning.overhead.estimate_to_publish_ms"),
    (
        "ROS: image arrival to buffer, a language model writing without rest",
        "ms",
        "graph.reasoning_without_rest.overhead.image.arrival_to_buffer_ms",
    ),
    (
        "ROS: estimate to publish, a language model writing without rest",
        "ms",
        "graph.reasoning_without_rest.overhead.estimate_to_publish_ms",
    ),
    ("vision of a window of 2 s, half a second after the last", "ms", "growth.window.vision_short_ms"),
    ("vision of a window of 8 s, half a second after the last", "ms", "growth.window.vision_long_ms"),
    ("all stages of a window, one source", "ms", "growth.sources.total_one_ms"),
    ("all stages of the windows of four sources apart", "ms", "growth.sources.total_apart_ms"),
    (
        "all stages of the windows of four faces, one microphone",
        "ms",
        "growth.sources.total_one_microphone_ms",
    ),
    ("first words of a reasoning, labels beside", "ms", "graph.with_reasoning.reasonings.first_words_ms"),
    ("whole reasoning, labels beside", "ms", "graph.with_reasoning.reasonings.whole_ms"),
    ("tokens per second of it, labels beside", "1/s", "graph.with_reasoning.reasonings.tokens_s"),
    ("first words of a reasoning, alone, 1 thread", "ms", "language.threads_1.first_words_ms"),
    ("whole reasoning, alone, 1 thread", "ms", "language.threads_1.whole_ms"),
)
FACTS = (
    ("dropped audio samples", "", "graph.with_reasoning.dropped.audio_samples"),
    ("dropped frames", "", "graph.with_reasoning.dropped.frames"),
    ("windows skipped", "", "graph.with_reasoning.dropped.windows_skipped"),
    (
        "CPU of perception, labels only",
        "% of a core",
        "graph.labels_only.processes.perception.cpu_percent_of_a_core",
    ),
    (
        "CPU of perception, with reasoning",
        "% of a core",
        "graph.with_reasoning.processes.perception.cpu_percent_of_a_core",
    ),
    ("CPU of the ROS part alone (null engine)", "% of a core", f"ros.null_engine.{CPU}"),
    ("CPU of a bare subscriber to the same topics", "% of a core", f"ros.bare_subscriber.{CPU}"),
    ("labels a second, labels only", "1/s", "graph.labels_only.labels_hz"),
    ("labels a second, with reasoning", "1/s", "graph.with_reasoning.labels_hz"),
    (
        "labels a second, a language model writing without rest",
        "1/s",
        "graph.reasoning_without_rest.labels_hz",
    ),
    ("share of the time in which it wrote", "%", "graph.reasoning_without_rest.restless.busy_percent"),
    ("CPU of the player", "% of a core", "graph.with_reasoning.processes.player.cpu_percent_of_a_core"),
    ("resident memory, labels only", "MB", "graph.labels_only.processes.perception.resident_mb"),
    ("resident memory, with reasoning", "MB", "graph.with_reasoning.processes.perception.resident_mb"),
    ("prompt, 1 thread", "tokens/s", "language.threads_1.tokens_s.prefill"),
    ("decoding, 1 thread", "tokens/s", "language.threads_1.tokens_s.decode_with_head"),
    ("floor of decoding set by memory, 1 core", "tokens/s", "language.floor_tokens_s_one_core"),
    (
        "torch eager over ONNX Runtime, vision, 1 thread",
        "x",
        "engines.threads_1.vision.torch_over_onnxruntime.p50",
    ),
    (
        "torch eager over ONNX Runtime, vision, 2 threads",
        "x",
        "engines.threads_2.vision.torch_over_onnxruntime.p50",
    ),
    (
        "torch eager over ONNX Runtime, audio, 1 thread",
        "x",
        "engines.threads_1.audio_4s.torch_over_onnxruntime.p50",
    ),
    (
        "torch eager over ONNX Runtime, audio, 2 threads",
        "x",
        "engines.threads_2.audio_4s.torch_over_onnxruntime.p50",
    ),
    (
        "torch eager over ONNX Runtime, fusion, 1 thread",
        "x",
        "engines.threads_1.fusion.torch_over_onnxruntime.p50",
    ),
    (
        "torch eager over ONNX Runtime, fusion, 2 threads",
        "x",
        "engines.threads_2.fusion.torch_over_onnxruntime.p50",
    ),
    ("sound padded to 30 s over the window itself", "x", "engines.threads_2.padding_to_30s_costs_times"),
    ("MER-UniBench scores: loop over words, over the scorer", "x", "scorer.ratio"),
    ("MER-UniBench scores of 36,000 clips", "s", "scorer.scorer_s"),
    ("36,000 predictions: read, checked, scored with intervals", "s", "scorer.predictions.total_s"),
    ("10,000 records: media opened and hashed, checked, split, written", "s", "prepare.first_s"),
    ("The same, when all media are known", "s", "prepare.again_s"),
)

MOST, LEAST = "at most", "at least"
_RESTLESS, _OVERHEAD = "graph.reasoning_without_rest", "graph.with_reasoning.overhead"
#: What was aimed at: words, unit, path within ``results``, which way, and the value.
AIMS = (
    (
        "age of /emotion/state while a reasoning is written, median",
        "ms",
        f"{_RESTLESS}.age_ms.p50",
        MOST,
        150,
    ),
    ("the same, 99th percentile", "ms", f"{_RESTLESS}.age_ms.p99", MOST, 400),
    ("image arrival to buffer, median", "ms", f"{_OVERHEAD}.image.arrival_to_buffer_ms.p50", MOST, 5),
    ("audio arrival to buffer, median", "ms", f"{_OVERHEAD}.audio.arrival_to_buffer_ms.p50", MOST, 5),
    ("estimate to publish, median", "ms", f"{_OVERHEAD}.estimate_to_publish_ms.p50", MOST, 5),
    ("CPU of the ROS part alone", "% of a core", f"ros.null_engine.{CPU}", MOST, 15),
    (
        "labels a second with reasoning, over those without",
        "",
        "graph.with_reasoning.labels_hz_over_labels_only",
        LEAST,
        0.95,
    ),
    (
        "labels a second beside a language model that never rests, over those without",
        "",
        f"{_RESTLESS}.labels_hz_over_labels_only",
        LEAST,
        0.95,
    ),
    (
        "vision of a window of 8 s over that of 2 s, same hop",
        "x",
        "growth.window.vision_long_costs_times.p50",
        MOST,
        1.3,
    ),
    (
        "four sources that share nothing over one, all stages",
        "x",
        "growth.sources.total_apart_costs_times.p50",
        MOST,
        2.5,
    ),
    (
        "four faces before one microphone over one",
        "x",
        "growth.sources.total_one_microphone_costs_times.p50",
        MOST,
        2.5,
    ),
    (
        "torch eager over ONNX Runtime, vision",
        "x",
        "engines.threads_1.vision.torch_over_onnxruntime.p50",
        LEAST,
        2,
    ),
    (
        "torch eager over ONNX Runtime, sound",
        "x",
        "engines.threads_1.audio_4s.torch_over_onnxruntime.p50",
        LEAST,
        2,
    ),
    (
        "torch eager over ONNX Runtime, fusion",
        "x",
        "engines.threads_1.fusion.torch_over_onnxruntime.p50",
        LEAST,
        2,
    ),
)
#: Of each side of the comparison with a straightforward node.
SIDE_BY_SIDE = (
    ("results a second", "", "results_a_second"),
    ("age of a result when it is sent, p50", "ms", "age_when_sent_ms.p50"),
    ("age of a result when it is sent, p95", "ms", "age_when_sent_ms.p95"),
    ("age of the newest result whenever one looks, p50", "ms", "age_when_read_ms.p50"),
    ("age of the newest result whenever one looks, p99", "ms", "age_when_read_ms.p99"),
    ("audio samples lost", "", "audio_samples_lost"),
    ("sound lost", "%", "audio_lost_percent"),
    ("CPU", "% of a core", "cpu_percent_of_a_core"),
    ("peak memory", "MB", "peak_resident_mb"),
)


def run(folder: Path, write: bool) -> int:
    """Print the tables, or put them into the document; returns the exit status."""
    made = table(load(folder))
    if not write:
        print(made)
        return 0
    DOCUMENT.write_text(inserted(DOCUMENT.read_text(), made))
    return 0


def load(folder: Path) -> list[dict[str, Any]]:
    """Read the results of a folder, in order of their names.

    Raises:
        ValueError: A file is of another schema.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        if document.get("schema") != SCHEMA:
            raise ValueError(
                f"{path.name}: schema {document.get('schema')!r}, expected {SCHEMA}; measure again"
            )
        found.append(document)
    return found


def inserted(text: str, made: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """Replace what stands between two marks of a document.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"the marks {' and '.join(marks)} are not in the document")
    return f"{before}{begin}\n\n{made}\n{end}{after}"


def table(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables of all results as Markdown."""
    makers = {
        "robot": robot,
        "system": system,
        "gpu": gpu,
        "gpu_smoke": gpu,
        "training": training,
        "soak": soak,
    }
    return "\n".join(makers[d["what"]](d) for d in documents if d["what"] in makers)


def system(document: Mapping[str, Any]) -> str:
    """Tables of one machine's results."""
    settings, results = document["settings"], document["results"]
    lines = [*heading(document)]
    if settings.get("quick"):
        lines += ["Quick run: these figures mean nothing.", ""]
    lines += ["| measured | unit | n | p50 | p95 | p99 | max |", "|---|---|---|---|---|---|---|"]
    for words, unit, path in ROWS:
        if (found := at(results, path)) is not None:
            cells = [shown(found.get(name)) for name in (*PERCENTILES, "max")]
            lines.append(f"| {words} | {unit} | {found['n']} | {' | '.join(cells)} |")
    lines += ["", "| measured | value |", "|---|---|"]
    for words, unit, path in FACTS:
        if (found := at(results, path)) is not None:
            lines.append(f"| {words} | {shown(found)} {unit}".rstrip() + " |")
    lines += [*aims(results), *side_by_side(results.get("side_by_side", {}))]
    return "\n".join([*lines, ""])


def aims(results: Mapping[str, Any]) -> list[str]:
    """Table of what was aimed at, and whether it was reached; nothing where nothing of it was measured."""
    rows = []
    for words, unit, path, kind, bar in AIMS:
        if (found := at(results, path)) is not None:
            reached = found <= bar if kind == MOST else found >= bar
            cells = (f"{kind} {shown(bar)} {unit}".rstrip(), f"{shown(found)} {unit}".rstrip())
            rows.append(f"| {words} | {' | '.join(cells)} | {'yes' if reached else 'no'} |")
    return ["", "| aim | | measured | reached |", "|---|---|---|---|", *rows] if rows else []


def side_by_side(found: Mapping[str, Any]) -> list[str]:
    """Table of our node beside a straightforward one; nothing where it was not measured."""
    if not found:
        return []
    sides = [found[name] for name in ("here", "straightforward")]
    rows = []
    for words, unit, path in SIDE_BY_SIDE:
        cells = [shown(at(side, path)) for side in sides]
        rows.append(f"| {', '.join(filter(None, [words, unit]))} | {' | '.join(cells)} |")
    rounds = f"{sides[0]['rounds']} x {shown(found['clip_s'])} s each"
    return [
        "",
        f"| the same clip, in turns, {rounds} | here | straightforward node |",
        "|---|---|---|",
        *rows,
    ]


def gpu(document: Mapping[str, Any]) -> str:
    """Tables of the networks on a GPU."""
    results = document["results"]
    ceilings = results["ceilings"]
    lines = [*heading(document)]
    lines.append(
        f"Measured ceilings: copy {ceilings['copy_gb_s']} GB/s; matrix product "
        + ", ".join(f"{p} {ceilings[f'matmul_{p}_tflop_s']}" for p in ("fp32", "tf32", "bf16"))
        + " TFLOP/s."
    )
    head = (
        "network | precision | error to float64 | eager p50 / p99, ms | graph p50 / p95 / p99, ms | kernels"
    )
    lines += ["", f"| {head} | floor, ms | graph / floor | n |", "|---|---|---|---|---|---|---|---|---|"]
    for name, found in results.get("stages", {}).items():
        lines += [gpu_row(name, precision, found) for precision in ("fp32", "tf32", "bf16")]
    lines += gpu_preset(results.get("preset", {}))
    lines += [
        "",
        "| decoding in bf16, tokens/s | weights, GB | eager | graph | floor | time of graph / floor |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in results.get("decode", {}).items():
        keys = ("weights_gb", "eager_tokens_s", "graph_tokens_s", "floor_tokens_s", "graph_over_floor")
        lines.append(f"| {name} | " + " | ".join(shown(found[key]) for key in keys) + " |")
    lines += gpu_prompts(results.get("decode", {}))
    lines += gpu_training(results.get("training", {}))
    return "\n".join([*lines, *(f"\nSkipped: {why}." for why in results["skipped"]), ""])


def gpu_row(name: str, precision: str, found: Mapping[str, Any]) -> str:
    """One line of the table of a GPU."""
    here, error = found[precision], found["relative_error"][f"device_{precision}"]
    eager, graph = here["eager_ms"], here["graph_ms"]
    times = (
        " / ".join(shown(eager.get(p)) for p in ("p50", "p99")),
        " / ".join(shown(graph.get(p)) for p in PERCENTILES),
    )
    rest = (here["kernels"], here["floor_ms"], here["graph_over_floor"], graph["n"])
    cells = (name, precision, f"{error:.1e}", *times, *(shown(value) for value in rest))
    return "| " + " | ".join(cells) + " |"


def gpu_preset(found: Mapping[str, Any]) -> list[str]:
    """Table of the stages of a preset on a GPU, and what they come to; nothing where none was measured."""
    if not found:
        return []
    rows = []
    for name, stage in found.items():
        graph, error = stage["graph_ms"], stage["relative_error"]
        times = (stage["eager_ms"].get("p50"), *(graph.get(p) for p in ("p50", "p95")))
        cells = [*(shown(time) for time in times), shown(stage["floor_ms"]), shown(stage["graph_over_floor"])]
        parity = [f"{error[key]:.1e}" for key in ("device_bf16", "device_fp32_to_cpu_fp32")]
        row = [name, shown(stage["parameters"] / 1e6), *cells, shown(stage.get("peak_gb")), *parity]
        rows.append("| " + " | ".join([*row, str(graph["n"])]) + " |")
    together = shown(sum(stage["graph_ms"]["p50"] for stage in found.values()))
    head = "stage of v2_7b, bf16 | parameters, M | eager p50, ms | graph p50, ms | graph p95, ms | floor, ms"
    rest = "graph / floor | peak, GB | error to float64 | GPU to CPU, fp32 | n"
    sums = f"Sum of the medians as graphs, what a label costs when every stage is new: {together} ms."
    return ["", f"| {head} | {rest} |", "|---" * 11 + "|", *rows, "", sums]


def gpu_prompts(found: Mapping[str, Any]) -> list[str]:
    """Table of reading prompts on a GPU; nothing where none was measured."""
    rows = []
    for name, model in found.items():
        if "prefill" in model:
            prompt, error = model["prefill"], model["relative_error"]["device_bf16"]
            times = (prompt["eager_ms"]["p50"], prompt["graph_ms"]["p50"], prompt["floor_ms"])
            cells = [shown(value) for value in (prompt["tokens"], *times, prompt["graph_over_floor"])]
            errors = [f"{error['prefill']:.1e}", f"{error['step']:.1e}"]
            rest = [shown(model.get("peak_gb")), *errors, str(prompt["graph_ms"]["n"])]
            rows.append("| " + " | ".join([name, *cells, *rest]) + " |")
    head = "prompt in bf16 | tokens | eager p50, ms | graph p50, ms | floor, ms | graph / floor"
    more = "peak, GB | error behind the prompt | error of a step | n"
    return ["", f"| {head} | {more} |", "|---" * 10 + "|", *rows] if rows else []


def gpu_training(found: Mapping[str, Any]) -> list[str]:
    """Table of training steps on a GPU; nothing where none was measured."""
    if not found:
        return []
    names = ("tokens", "samples_s", "peak_gb", "worked_out_gb")
    shares = ("utilisation_of_measured", "utilisation_of_data_sheet")
    rows = [
        f"| {name} | {shown(step['step_ms']['p50'])} | "
        + " | ".join(shown(step[key]) for key in (*names, *shares))
        + f" | {step['step_ms']['n']} |"
        for name, step in found.items()
    ]
    head = "training step, bf16 | ms, p50 | tokens | samples/s | peak, GB | worked out, GB"
    shares_head = "model FLOPs: of a matrix product | of the data sheet | n"
    return ["", f"| {head} | {shares_head} |", "|---|---|---|---|---|---|---|---|---|", *rows]


def training(document: Mapping[str, Any]) -> str:
    """Table of training against a straightforward loop."""
    results, settings = document["results"], document["settings"]
    lines = ["### Training against a straightforward loop: " + document["machine"]["processor"], ""]
    lines += [*heading(document)][2:]
    if settings.get("quick"):
        lines += ["Quick run: these figures mean nothing.", ""]
    epochs = range(1, settings["epochs"] + 1)
    width, height = settings["size"]
    lines.append(
        f"{settings['clips']} clips of {settings['seconds']:g} s, {width}x{height}, {settings['fps']} fps; "
        f"batch {settings['batch']}; torch threads: {settings['threads']}."
    )
    head = " | ".join(f"epoch {i}, samples/s | CPU s a sample" for i in epochs)
    lines += ["", f"| | {head} | peak memory, MB |", "|---" * (2 * len(epochs) + 2) + "|"]
    for side, words in (("ours", "here"), ("loop", "straightforward loop")):
        parts = [results[side][f"epoch_{i}"] for i in epochs]
        cells = [f"{shown(p['samples_s'])} | {shown(p['cpu_s'] / settings['clips'])}" for p in parts]
        lines.append(f"| {words} | {' | '.join(cells)} | {shown(results[side]['peak_mb'])} |")
    times = [f"{results[f'ratio_epoch_{i}']} x | {results[f'ratio_cpu_epoch_{i}']} x" for i in epochs]
    lines.append(
        f"| loop over here (memory: here over loop) | {' | '.join(times)} | {results['memory_ratio']} x |"
    )
    return "\n".join([*lines, ""])


def robot(document: Mapping[str, Any]) -> str:
    """Table of a bundle's graphs on the engines of a machine."""
    lines = [
        *heading(document),
        "| engine | graph | load, s | p50, ms | p95, ms | p99, ms | error to CPU | n |",
    ]
    lines.append("|---" * 8 + "|")
    for found in document["results"]["engines"].values():
        for name, graph in found["graphs"].items():
            run = graph["run_ms"]
            times = [shown(graph["load_s"]), *(shown(run.get(p)) for p in PERCENTILES)]
            cells = [found["device"], name, *times, f"{graph['relative_error_to_cpu']:.1e}", str(run["n"])]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, *(f"\nSkipped: {why}." for why in document["results"]["skipped"]), ""])


def soak(document: Mapping[str, Any]) -> str:
    """Table of hours of stream time through the node."""
    results, settings = document["results"], document["settings"]
    windows, sound, memory = (results[name] for name in ("windows", "audio_samples", "memory"))
    lines = ["### Soak: " + document["machine"]["processor"], "", *[*heading(document)][2:]]
    parts = [
        f"{shown(p['seconds'] / 60)} minutes at {p['speed']:g} times real time" for p in settings["parts"]
    ]
    lines.append(f"{', then '.join(parts)} at most; {shown(results['wall_s'] / 60)} minutes in all.")
    rows = [
        ("stream time", f"{shown(results['stream_s'] / 3600)} h"),
        ("windows due", windows["due"]),
        (
            "of them given / left out / failed",
            " / ".join(str(windows[n]) for n in ("given", "left_out", "failed")),
        ),
        ("audio samples sent", sound["sent"]),
        ("audio samples lost", sound["lost"] + sound["sent"] - sound["arrived"]),
        (
            "resident memory at half time / at the end",
            _ends(memory, "resident_mb_at_half", "resident_mb_at_end", "MB"),
        ),
        ("growth of memory over the second half", f"{shown(memory['growth_percent_second_half'])} %"),
        *(
            (f"{name} at half time / at the end", _ends(found, "at_half", "at_end"))
            for name, found in results["held"].items()
        ),
    ]
    lines += ["", "| soak | |", "|---|---|", *(f"| {words} | {value} |" for words, value in rows)]
    return "\n".join([*lines, ""])


def _ends(found: Mapping[str, Any], begin: str, end: str, unit: str = "") -> str:
    return f"{shown(found[begin])} / {shown(found[end])} {unit}".rstrip()


def heading(document: Mapping[str, Any]) -> Iterator[str]:
    """Say what the figures were taken on."""
    machine, versions = document["machine"], document["versions"]
    yield f"### {machine.get('device') or machine['processor']}"
    yield ""
    parts = [f"{machine['cores']} cores ({machine['processor']})", *(f"{k} {v}" for k, v in versions.items())]
    load, commit = machine["load_average_before"], document["commit"]
    code = (
        f"commit {commit[:12]}{'+' * commit.endswith('+')}"
        if commit
        else "code: see inputs_sha256 in the file"
    )
    yield f"{', '.join(parts)}; load before: {load}; {code}."
    yield ""


def lost_samples(document: Mapping[str, Any]) -> int:
    """Audio samples that our node lost in all runs of the graph."""
    results = document["results"]
    runs = [run for part in ("graph", "ros") for run in results.get(part, {}).values() if "dropped" in run]
    lost = sum(abs(run["dropped"]["audio_samples"]) + run["dropped"]["audio_gaps_samples"] for run in runs)
    return lost + abs(at(results, "side_by_side.here.audio_samples_lost") or 0)


def at(results: Any, path: str) -> Any:
    """Follow a dotted path; ``None`` where it ends early."""
    for name in path.split("."):
        if not isinstance(results, Mapping) or name not in results:
            return None
        results = results[name]
    return results


def shown(value: Any) -> str:
    """A figure with three significant digits; a dash where there is none."""
    if value is None:
        return "-"
    rounded = significant(float(value), 3)
    return f"{rounded:.0f}" if abs(rounded) >= 100 or rounded == int(rounded) else f"{rounded:g}"
