"""What the documents say must be so: links lead somewhere, commands exist, names and figures are true."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from emollama_ros import cli
from emollama_ros.bundle import file_sha256, packaged_path, parse_manifest
from emollama_ros.labels import DEFAULT_LABELS
from emollama_ros.nodes.parameters import PerceptionParameters, table_rows

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CARD = ROOT / "docs" / "model_card.md"
REPORTS = ROOT / "training" / "reports"
DOCUMENTS = (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
#: Row of a quality table, as (input, start of the data's name) -> the report, and the part of it, it shows.
QUALITY = {
    ("voice", "Javanese"): ("leave_one_out_javanese_av", "audio"),
    ("picture", "Javanese"): ("leave_one_out_javanese_av", "video"),
    ("voice and picture", "Javanese"): ("leave_one_out_javanese_av", "video+audio"),
    ("voice", "Emo-DB"): ("leave_one_out_emodb", "audio"),
    ("voice", "RAVDESS"): ("ravdess_16k", ""),
    ("words", "GoEmotions"): ("goemotions_dev", ""),
}


def by_name(path: Path) -> str:
    return path.name


each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)


def rows_of(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table whose first line of headings starts with ``heading``."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(heading))
    next(lines)  # the rule below the headings
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def prose(text: str) -> str:
    """A document without its blocks of code, in which brackets mean something else."""
    return re.sub(r"^```.*?^```|^    [^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)


def code_in(document: Path) -> Iterator[str]:
    """Everything in a document that is set as code: indented lines, fenced lines and `spans`."""
    text = document.read_text()
    for block in re.findall(r"^```.*?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        yield from block.splitlines()
    yield from re.findall(r"^    (.*)$", text, flags=re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", text)


def anchors(document: Path) -> set[str]:
    """Anchors of a document's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (document.parent / name).resolve() if name else document
        assert file.exists(), f"{document.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{document.name} links to {target}"


@each_document
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for line in code_in(document):
        for words in re.findall(r"^\s*make ((?:[a-z]+ ?)+)", line):
            assert set(words.split()) <= targets, f"{document.name}: make {words}"


@each_document
def test_commands_and_their_options_exist(document: Path) -> None:
    for line in code_in(document):
        for words in re.findall(r"(?:^|[\s(])emollama ([a-z].*)", line):
            resolve(typer.main.get_command(cli.app), words, document)


def resolve(command: Any, words: str, document: Path) -> None:
    """Walk from the command into its subcommands, and look its options up."""
    words = re.split(r"\s#|&&|\)", words)[0]
    rest = words.split()
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{document.name}: emollama {words}"
        command = command.commands[rest.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    for word in rest:
        name = word.strip("[]`'\"").partition("=")[0]
        assert not name.startswith("--") or name in options, f"{document.name}: emollama {words}"


@pytest.mark.parametrize("module", ["training", "model_export"])
def test_training_commands_and_their_options_exist(module: str) -> None:
    pytest.importorskip("torch")
    wanted: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        for line in code_in(document):
            own = re.sub(r"\$\(.*?\)", "", line)  # without commands inside the command
            for name, rest in re.findall(rf"python -m {module} ([a-z][a-z-]*)(.*)", own):
                wanted.setdefault(name, set()).update(re.findall(r"--[a-z-]+", rest))
    assert wanted
    commands = typer.main.get_command(importlib.import_module(f"{module}.__main__").app).commands
    for name, options in wanted.items():
        assert name in commands, f"python -m {module} {name}"
        known = {opt for p in commands[name].params for opt in (*p.opts, *p.secondary_opts)} | {"--help"}
        assert options <= known, f"python -m {module} {name}: no {options - known}"


def test_readme_has_every_parameter_with_its_default() -> None:
    rows = rows_of(README.read_text(), "| parameter |")
    found = [(name.strip("`"), default.strip("`")) for name, default, _ in rows]
    assert found == [(name, default) for name, default, *_ in table_rows(PerceptionParameters)]


def test_readme_has_the_topics_of_the_nodes_document() -> None:
    readme = [row[:2] for row in rows_of(README.read_text(), "| topic |")]
    assert readme == [row[:2] for row in rows_of((ROOT / "docs/nodes.md").read_text(), "| topic |")]


def test_readme_has_every_topic_that_the_code_names() -> None:
    """Names given to publishers and subscriptions as text; ``test_readme_has_every_input`` has the others."""
    known = {row[0].strip("`") for row in rows_of(README.read_text(), "| topic |")}
    named = {topic for file in (ROOT / "emollama_ros" / "nodes").glob("*.py") for topic in topics_in(file)}
    assert {"emotion/state", "emotion/reasoning", "/diagnostics", "audio"} <= named <= known


def topics_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        is_topic = re.fullmatch(r"create_(lifecycle_)?(publisher|subscription)", node.func.attr)
        if is_topic:  # a name may have the prefix of a source
            yield from (n.value for n in ast.walk(node.args[1]) if isinstance(n, ast.Constant))


@pytest.mark.ros
@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_readme_has_every_input(transport: str) -> None:
    from emollama_ros.nodes.sensors import input_topics

    known = {row[0].strip("`") for row in rows_of(README.read_text(), "| topic |")}
    assert set(input_topics(dataclasses.replace(PerceptionParameters(), image_transport=transport))) <= known


def test_readme_names_the_fields_of_the_json_result() -> None:
    """The object that `emollama analyze --json` prints, read from the code that makes it."""
    source = (ROOT / "emollama_ros" / "analysis.py").read_text()
    (method,) = re.findall(r"def as_json\(self\).*?return \{(.*?)\n        \}", source, flags=re.DOTALL)
    text = README.read_text()
    fields = re.findall(r"^\s+\"(\w+)\":", method, flags=re.MULTILINE)
    assert len(fields) > 8
    assert [name for name in fields if f"`{name}`" not in text] == []


@pytest.mark.parametrize("document", [README, CARD], ids=by_name)
def test_quality_tables_equal_the_reports(document: Path) -> None:
    rows = rows_of(document.read_text(), "| input | data |")
    shown = {(row[0], row[1].split()[0].strip(",")): row[2:] for row in rows}
    assert set(shown) == set(QUALITY)
    has_ece = document == CARD
    for key, (name, part) in QUALITY.items():
        assert shown[key] == quality_row(report(name, part), key[0] != "words", has_ece), key


def report(name: str, part: str = "") -> dict:
    content = json.loads((REPORTS / f"{name}.json").read_text())
    scores = content.get("scores", content)
    return scores[part] if part else scores


def quality_row(scores: dict, has_people: bool, has_ece: bool) -> list[str]:
    """Cells after input and data: n, people, UAR, interval, accuracy, [ECE,] guess."""
    low, high = (share(value) for value in scores["uar_interval"])
    count = f"{scores['n']:,}" if has_ece else str(scores["n"])
    people = str(scores["persons"]) if has_people else ""
    ece = [share(scores["ece"])] if has_ece else []
    guess = share(1 / len(scores["labels"]))
    return [count, people, share(scores["uar"]), f"{low} to {high}", share(scores["war"]), *ece, guess]


def share(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


@pytest.mark.parametrize(
    ("heading", "name", "part"),
    [
        ("### Javanese AV, voice and picture", "leave_one_out_javanese_av", "video+audio"),
        ("### Javanese AV, picture alone", "leave_one_out_javanese_av", "video"),
        ("### RAVDESS", "ravdess_16k", ""),
    ],
)
def test_confusions_of_the_model_card_equal_the_reports(heading: str, name: str, part: str) -> None:
    section = CARD.read_text().split(heading)[1]
    shown = {row[0].strip("*"): row[1:] for row in rows_of(section, "| true")}
    scores = report(name, part)
    for i, (label, counts) in enumerate(zip(scores["labels"], scores["confusion"], strict=True)):
        assert shown[label] == [*map(str, counts), share(counts[i] / sum(counts))]
    assert len(shown) == len(scores["labels"])


def test_model_card_lists_the_weights_of_the_manifest() -> None:
    data = (packaged_path() / "manifest.json").read_bytes()
    listed = {row[0].strip("`"): row for row in rows_of(CARD.read_text(), "| file | bytes |")}
    files = parse_manifest(data).files
    assert set(listed) == set(files)
    for name, entry in files.items():
        kind = "assembled" if entry.assembled_from else "committed"
        expected = [f"{entry.bytes:,}", kind, entry.licence, f"`{entry.sha256}`"]
        assert [listed[name][i] for i in (1, 2, 3, 5)] == expected


def test_model_card_names_the_labels() -> None:
    assert ", ".join(DEFAULT_LABELS) in CARD.read_text()


def test_cross_corpus_report_is_of_the_bundle_that_ships() -> None:
    tag = file_sha256(packaged_path() / "manifest.json")[:12]
    bundle = json.loads((REPORTS / "ravdess_16k.json").read_text())["bundle"]
    assert bundle.endswith(tag), "measure again: python -m training evaluate --source ravdess_16k --out ..."
    assert bundle in CARD.read_text()


def test_speed_in_the_readme_is_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmark" / "results" / "system-amd-epyc-2c.json").read_text())["results"]
    usual, restless = (found["graph"][name] for name in ("with_reasoning", "reasoning_without_rest"))
    node, bare = (case["processes"]["perception"] for case in (usual, found["ros"]["null_engine"]))
    assert [row[1] for row in rows_of(README.read_text(), "| measured |")] == [
        f"{usual['age_ms']['p50']:.0f} / {usual['age_ms']['p99']:.0f} ms",
        f"{restless['age_ms']['p50']:.0f} / {restless['age_ms']['p99']:.0f} ms",
        f"{usual['labels_hz']:.1f}",
        f"{node['cpu_percent_of_a_core']:.0f} %",
        f"{bare['cpu_percent_of_a_core']:.0f} %",
        f"{node['resident_mb']:.0f} MB",
    ]


@pytest.mark.parametrize("name", ["graph.svg", "demo.svg", "bundle.svg", "rates.svg"])
def test_pictures_are_well_formed_and_load_nothing(name: str) -> None:
    file = ROOT / "docs" / "images" / name
    ElementTree.parse(file)
    assert not re.search(r"(href|src|url)\s*[=(:]\s*[\"']?https?:", file.read_text())


def test_what_a_run_of_tiny_gives_is_what_its_report_says():
    report = json.loads((ROOT / "training" / "reports" / "tiny" / "report.json").read_text())
    text = (ROOT / "docs" / "training.md").read_text()
    everyone, removal = report["head"]["video+audio"], report["removal"]
    both = removal["both"]
    rows = [f"| all {everyone['n']} | all they have | {everyone['uar']:.3f} | |"]
    rows += [
        f"| {name} | {found['uar']:.3f} | {found['answer']:.3f} |"
        for name, found in (
            (f"the {both['n']} that have sound and pictures | both", both),
            ("the same | pictures removed", removal["pictures removed"]),
            ("the same | sound removed", removal["sound removed"]),
        )
    ]
    assert [row for row in rows if row not in text] == []
    cognition = report["answers"]["stage 2"]
    assert f"cheaper by {cognition['foreign'] - cognition['own']:.3f} nats" in text
    assert f"of {both['persons']} people" in text


def test_verified_bundles_are_as_their_reports_say():
    text = (ROOT / "docs" / "bundles.md").read_text()
    reports = sorted((ROOT / "model_export" / "reports").glob("tiny-*/verification.json"))
    assert len(reports) == 3
    for path in reports:
        found = json.loads(path.read_text())
        cpu, tokens = found["engines"]["cpu"], found["text"]["token_agreement"]
        row = (
            f"{path.parent.name}/verification.md) | {cpu['graphs']['audio']['relative']:.1e} | "
            f"{100 * cpu['label_agreement']:.1f} % | {cpu['valence']:.1e} | {100 * tokens:.1f} % |"
        )
        assert row in text and not found["failures"] and len(found["clips"]) == 20
