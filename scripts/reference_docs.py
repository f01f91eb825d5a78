"""The pages of docs/reference, made of the code that they describe.

scripts/with_env python scripts/reference_docs.py --write

Topics, services and actions are read where nodes create them, parameters from the tables that nodes declare,
commands from the programs' own help, Python from signatures and docstrings.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FOLDER = ROOT / "docs" / "reference"
COMMAND = "scripts/with_env python scripts/reference_docs.py --write"
NODES = ROOT / "emollama_ros" / "nodes"
BEHAVIOURS = ROOT / "emollama_ros" / "behaviours"
#: Which helper of a node creates what the node has.
OWNERS = {
    "outlet": "perception_node",
    "answering": "perception_node",
    "person_services": "perception_node",
    "reporting": "perception_node",
    "dashboard_watch": "dashboard_node",
}
#: Calls that create an interface, and where their type and name stand.
CREATE = {
    "create_publisher": ("topic", "publishes"),
    "create_lifecycle_publisher": ("topic", "publishes"),
    "create_subscription": ("topic", "hears"),
    "hear": ("topic", "hears"),
    "create_service": ("service", "answers"),
    "create_client": ("service", "calls"),
    "PatientServer": ("action", "answers"),
}
PARAMETER_TABLES = (
    ("perception_node", "emollama_ros.nodes.parameters", "PerceptionParameters"),
    ("microphone_node", "emollama_ros.nodes.parameters", "MicrophoneParameters"),
    ("media_player_node", "emollama_ros.nodes.parameters", "MediaPlayerParameters"),
    ("dashboard_node", "emollama_ros.nodes.dashboard_watch", "DashboardParameters"),
    ("annotator_node", "emollama_ros.nodes.annotator_node", "AnnotatorParameters"),
    ("hri_mirror_node", "emollama_ros.nodes.hri_mapping", "HriMirrorParameters"),
    ("greeter_node", "emollama_ros.behaviours.greeter", "GreeterParameters"),
    ("tutor_node", "emollama_ros.behaviours.tutor", "TutorParameters"),
    ("csv_logger_node", "emollama_ros.behaviours.csv_logger", "CsvLoggerParameters"),
)
PROGRAMS = (
    ("emollama", "emollama_ros.cli"),
    ("python -m training", "training.__main__"),
    ("python -m model_export", "model_export.__main__"),
)
#: Module and its names that users may build on; what is not here may change without notice.
PUBLIC = (
    ("emollama_ros.client", ("EmotionListener", "Asking", "Answer")),
    ("emollama_ros.behaviours.tree", ("EmotionCondition", "Status", "as_py_trees")),
    ("emollama_ros.behaviours.steady", ("Steady", "told", "seconds")),
    ("emollama_ros.analysis", ("Analyzer", "AnalysisOptions", "Analysis")),
    ("emollama_ros.estimate", ("EmotionEstimate", "Modality", "Status", "Cue", "Reasoning")),
    ("emollama_ros.bundle", ("Bundle", "default_bundle_path", "resolve", "copy_shipped")),
    ("emollama_ros.errors", ("EmollamaError", "InputError", "BundleError", "EngineError", "ConfigError")),
)
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """Set as code; nothing stays nothing."""
    return f"`{text}`" if text else ""


# --- topics, services, actions ----------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Interface:
    """What a node offers or uses.

    Attributes:
        kind: topic, service or action.
        name: Relative to the node's namespace and to a source, unless it begins with a slash.
        type: Package and name of its type.
        role: What the node does with it.
        node: Which.
    """

    kind: str
    name: str
    type: str
    role: str
    node: str


def interfaces() -> list[Interface]:
    """Return everything that the nodes create under a name that stands in the code, and the inputs."""
    files = [*NODES.glob("*.py"), *BEHAVIOURS.glob("*.py")]
    found = {entry for file in files for entry in created(file)}
    return sorted(found | set(inputs()))


def created(file: Path) -> Iterator[Interface]:
    """Yield what one module creates; programs that only look have no interface of their own."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    types = {
        alias.name: f"{(node.module or '').partition('.')[0]}/{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    owner = OWNERS.get(file.stem) or (file.stem if file.stem.endswith("_node") else f"{file.stem}_node")
    if file.stem in ("demo", "recorder"):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in CREATE and len(node.args) >= 2:
            own = node.args[1:] if called == "PatientServer" else node.args
            name = text_of(own[1], constants)
            if name and isinstance(own[0], ast.Name) and own[0].id[0].isupper():
                kind, role = CREATE[called]
                yield Interface(kind, name, types.get(own[0].id, own[0].id), role, owner)


def text_of(node: ast.expr, constants: dict[str, Any]) -> str:
    """Return a name without the prefix of a source; empty where it is not known before the node runs."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return str(constants.get(node.id, ""))
    if isinstance(node, ast.BinOp):
        return text_of(node.right, constants)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # f"{name}/emotion".lstrip("/")
        return text_of(node.func.value, constants)
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
    return "" if None in parts[1:] else "".join(part or "" for part in parts).lstrip("/")


def inputs() -> Iterator[Interface]:
    """Yield what perception_node follows, whatever type a driver publishes it as."""
    from emollama_ros.nodes.adapters.sound import SOUNDS
    from emollama_ros.nodes.adapters.words import WORDS

    yield Interface("topic", "camera/image_raw", "sensor_msgs/Image", "hears", "perception_node")
    yield Interface(
        "topic", "camera/image_raw/compressed", "sensor_msgs/CompressedImage", "hears", "perception_node"
    )
    for name, adapters in (("audio", SOUNDS), ("transcript", WORDS)):
        for adapter in adapters:
            yield Interface("topic", name, adapter.type, "hears", "perception_node")


def interfaces_page() -> str:
    """Return the page of topics, services, actions and the messages on them."""
    found = interfaces()
    parts = [
        "Names are relative to the namespace of the node, and begin with `NAME/` for a source with a name;"
        " their meaning, QoS and time stand in [nodes](../nodes.md). `hri_mirror_node` hears"
        " `emotion/state` and publishes on names that depend on who is there ([ROS4HRI](../ros4hri.md))."
        " `perception_node` has the services of every lifecycle node.",
    ]
    for kind, heading in (("topic", "Topics"), ("service", "Services"), ("action", "Actions")):
        rows = [(code(i.name), code(i.type), i.role, code(i.node)) for i in found if i.kind == kind]
        parts += [f"## {heading}", table(("name", "type", "", "by"), rows)]
    parts.append("## Messages of this package")
    parts += [definition(path) for path in sorted((ROOT / "msg").glob("*.msg"))]
    parts += ["## The action", *(definition(path) for path in sorted((ROOT / "action").glob("*.action")))]
    return page("Topics, services, actions", parts)


def definition(path: Path) -> str:
    """Return one message or action as a heading, what it is for, and its fields."""
    about, parts, rows = [], [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        declared, _, comment = line.partition("#")
        words = declared.split(maxsplit=1)
        if words == ["---"] or comment.startswith(" ---"):
            parts, rows = [*parts, *fields_table(rows)], []
            title = comment.strip(" -")
            parts += [f"**{title}**"] if title else []
        elif len(words) == 2:
            rows.append((code(words[1].strip()), code(words[0]), comment.strip()))
        elif comment:
            about.append(comment.strip())
    return "\n\n".join([f"### {path.stem}", " ".join(about), *parts, *fields_table(rows)])


def fields_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table of fields, or nothing where there are none."""
    return [table(("field", "type", "meaning"), rows)] if rows else []


# --- parameters -------------------------------------------------------------------------------------------


def parameters_page() -> str:
    """Return the page of every parameter of every node, and of the launch arguments."""
    from emollama_ros.nodes.parameters import TAKES_EFFECT, effects, table_rows

    parts = [
        "`ros2 param describe NODE NAME` says the same. A value that is not legal is refused with the reason,"
        " at the start and while the node runs.",
    ]
    for node, module, name in PARAMETER_TABLES:
        declared = getattr(importlib.import_module(module), name)
        when = effects(declared)
        rows = [
            (code(own), code(default), legal, prose(meaning), TAKES_EFFECT[when[own]])
            for own, default, legal, meaning in table_rows(declared)
        ]
        parts += [f"## {node}", table(("parameter", "default", "legal", "meaning", "takes effect"), rows)]
    rows = [(code(f"{name}:="), code(default), prose(about)) for name, default, about in launch_arguments()]
    parts += ["## perception.launch.py", table(("argument", "default", "meaning"), rows)]
    return page("Parameters", parts)


def launch_arguments() -> Iterator[tuple[str, str, str]]:
    """Yield name, default and meaning of every argument that the launch file declares."""
    tree = ast.parse((ROOT / "launch" / "perception.launch.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DeclareLaunchArgument":
            if not isinstance(node.args[0], ast.Constant):
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            yield node.args[0].value, _default(given["default_value"]), ast.literal_eval(given["description"])


def _default(node: ast.expr) -> str:
    if isinstance(node, ast.Call):  # share("config", "perception.yaml")
        return "/".join(ast.literal_eval(argument) for argument in node.args)
    return str(ast.literal_eval(node))


# --- commands ---------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Return the page of the three programs."""
    parts = [
        "Results go to the standard output, everything else to the standard error; what cannot be done is one"
        " line that begins with `error:`. `make help` lists the targets of the Makefile.",
    ]
    for program, module in PROGRAMS:
        parts += [f"## {program}", *program_parts(program, importlib.import_module(module).app)]
    return page("Commands", parts)


def program_parts(program: str, app: Any) -> Iterator[str]:
    """Yield the parts about one program."""
    import typer

    for words, command in leaves(program, typer.main.get_command(app)):
        yield f"### {words}"
        yield prose(command.help or "")
        rows = [(shown(p), default_of(p), prose(getattr(p, "help", "") or "")) for p in command.params]
        rows = [row for row in rows if row[0] != "`--help`"]
        if rows:
            yield table(("option", "default", "meaning"), rows)


def leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield every command that is not a group, with the words that call it."""
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name in sorted(command.commands):
        yield from leaves(f"{words} {name}", command.commands[name])


def shown(parameter: Any) -> str:
    """Return an option as it is typed, or the name of an argument."""
    if parameter.param_type_name == "argument":
        return code((parameter.metavar or parameter.name.upper()).strip("[]"))
    return ", ".join(code(name) for name in (*parameter.opts, *parameter.secondary_opts))


def default_of(parameter: Any) -> str:
    """Return a default in words; flags that are off, and nothing, have none."""
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value in ((), []) or callable(value) or "UNSET" in repr(value):
        return ""
    return code("on" if value is True else str(getattr(value, "value", value)))


# --- Python -----------------------------------------------------------------------------------------------


def python_page() -> str:
    """Return the page of what programs may import."""
    parts = [
        "What stands here keeps its name and meaning within a version; the rest of the package may change."
        " How a behaviour uses it: [behaviours](../behaviours.md).",
    ]
    for module, names in PUBLIC:
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        known = {node.name: node for node in tree.body if hasattr(node, "name")}
        parts += [f"## {module}", prose((ast.get_docstring(tree) or "").split("\n\n")[0])]
        for name in names:
            parts += described(known[name], name, "###")
    return page("Python", parts)


def described(node: Any, name: str, level: str) -> Iterator[str]:
    """Yield heading, signature and docstring of a class or function, and of a class's public methods."""
    is_class = isinstance(node, ast.ClassDef)
    yield f"{level} {name}"
    if not is_class or any(getattr(part, "name", "") == "__init__" for part in node.body):
        yield f"```text\n{signature(node, name)}\n```"
    yield from docstring(ast.get_docstring(node) or "")
    if not is_class:
        return
    members = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
    for member in members:
        if member.name == "__init__":
            yield from docstring(ast.get_docstring(member) or "")
        elif not member.name.startswith("_"):
            yield from described(member, f"{name}.{member.name}", "####")


def signature(node: Any, name: str) -> str:
    """Return how something is called, without ``self``."""
    if isinstance(node, ast.ClassDef):
        node = next(part for part in node.body if getattr(part, "name", "") == "__init__")
    given = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    marks = {getattr(mark, "id", "") for mark in node.decorator_list}
    result = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return f"{name}{result}" if "property" in marks else f"{name}({given}){result}"


def docstring(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring; what follows a heading such as ``Args:`` becomes a list."""
    for paragraph in text.split("\n\n"):
        head, _, rest = paragraph.partition("\n")
        found = SECTION.match(head)
        if not found:
            yield prose(paragraph)
        elif found[1] in ("Returns", "Yields"):
            yield f"**{found[1]}** {prose(rest)}"
        else:
            yield f"**{found[1]}**\n\n" + "\n".join(entries(rest))


def entries(text: str) -> Iterator[str]:
    """Yield ``- `name`: meaning`` for each indented entry; a line that is indented further goes on."""
    for entry in re.split(r"\n    (?! )", "\n" + text)[1:]:
        name, _, meaning = entry.partition(":")
        yield f"- {code(name.strip())}: {prose(meaning)}"


def prose(text: str) -> str:
    """Return running text in Markdown, from docstrings that have a little of reStructuredText."""
    text = re.sub(r":\w+:(?=`)", "", text).replace("``", "`")
    return " ".join(text.split()).replace("<", "&lt;")


# --- pages ------------------------------------------------------------------------------------------------


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page."""
    return "\n\n".join([f"# {title}", f"<!-- {COMMAND} -->", *(part for part in parts if part)]) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "interfaces": interfaces_page,
    "parameters": parameters_page,
    "commands": commands_page,
    "python": python_page,
}


def main() -> None:
    """Write the pages, or say which of them are no longer what the code says."""
    parser = argparse.ArgumentParser(description="Make the pages of docs/reference from the code.")
    parser.add_argument("--write", action="store_true", help="write them; without it, only compare")
    write = parser.parse_args().write
    for name, make in PAGES.items():
        path, made = FOLDER / f"{name}.md", make()
        is_so = path.is_file() and path.read_text(encoding="utf-8") == made
        if write and not is_so:
            path.write_text(made, encoding="utf-8")
        state = "as the code" if is_so else "written" if write else "out of date"
        print(f"{path.relative_to(ROOT)}: {state}")


if __name__ == "__main__":
    main()
