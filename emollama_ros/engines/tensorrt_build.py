"""Building TensorRT engines and keeping them: what one was built from and for stands beside it.

An engine fits one graph, one version of TensorRT and one GPU. All of it is in the key that names its file,
and in a record beside it with the hash of the engine. What is stale, foreign or damaged is built anew.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emollama_ros.engines.base import cuda_available, default_cache_dir
from emollama_ros.engines.cuda import Device, first_device
from emollama_ros.engines.tensorrt_api import TensorRt
from emollama_ros.engines.tensorrt_graph import PreparedGraph, foreign_operators, prepare
from emollama_ros.errors import ConfigError, EngineError
from emollama_ros.hashes import file_sha256

#: Raised with every change of how graphs are prepared: engines built before are then stale.
BUILDER_VERSION = 1
#: Least, most usual and largest size of free dimensions, by their names.
RANGES: Mapping[str, tuple[int, int, int]] = {
    "batch": (1, 1, 4),
    "frames": (1, 2, 16),
    "time": (40, 400, 3000),
    "count": (1, 128, 16384),
    "sequence": (1, 1, 1024),
    "past": (0, 512, 2048),
    "total": (1, 513, 3072),
}
#: Device of an engine that was built where there is no GPU; TensorRT-RTX finishes it on the one it meets.
CPU_ONLY = Device("cpu-only build", "any")


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built.

    Attributes:
        fp16: Compute in half precision.
        workspace_mb: Most memory for scratch while building and running, MB.
        ranges: Of free dimensions, besides or instead of ``RANGES``.
        cache_dir: Where engines and the timing cache are kept.
    """

    fp16: bool = False
    workspace_mb: int = 2048
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    cache_dir: Path = field(default_factory=default_cache_dir)

    def __post_init__(self) -> None:
        if self.workspace_mb < 1:
            raise ConfigError(f"workspace_mb is {self.workspace_mb}; use 1 or more")

    @property
    def precision(self) -> str:
        """``fp16`` or ``fp32``."""
        return "fp16" if self.fp16 else "fp32"


def parse_ranges(texts: Sequence[str]) -> dict[str, tuple[int, int, int]]:
    """Read ``name=least,usual,largest``.

    Raises:
        ConfigError: A text is of another form.
    """
    found = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        try:
            least, usual, largest = (int(size) for size in sizes.split(","))
        except ValueError:
            raise ConfigError(f"range is {text!r}; use name=least,usual,largest: frames=1,2,16") from None
        found[name.strip()] = (least, usual, largest)
    return found


@dataclass(frozen=True)
class Target:
    """What engines are built for: a flavour of TensorRT, its version, a GPU."""

    flavour: str
    version: str
    gpu: str
    capability: str


@dataclass(frozen=True)
class BuiltEngine:
    """An engine on disk.

    Attributes:
        path: Of the engine.
        record: What its ``.json`` says.
        is_new: Whether it was built just now.
        why: Why it was built; empty for one that was there.
    """

    path: Path
    record: Mapping[str, Any]
    is_new: bool
    why: str = ""


def target_of(trt: TensorRt) -> Target:
    """This machine's target."""
    device = first_device() if cuda_available() else CPU_ONLY
    return Target(trt.flavour, trt.version, device.name, device.capability)


def graph_sha256(path: Path) -> str:
    """Hash of a graph and of the files beside it that it names: there may be its weights.

    Names are looked for in the bytes of the graph, so that running needs no package that parses it.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data)
    siblings = sorted(p for p in path.parent.iterdir() if p != path and p.is_file())
    for part in (p for p in siblings if p.name.encode() in data):
        digest.update(file_sha256(part).encode())
    return digest.hexdigest()


def identity(graph: str, target: Target, options: BuildOptions) -> dict[str, Any]:
    """Everything an engine depends on; two engines with the same identity are interchangeable."""
    return {
        "builder": BUILDER_VERSION,
        "graph_sha256": graph,
        **asdict(target),
        "precision": options.precision,
        "workspace_mb": options.workspace_mb,
        "ranges": {name: list(sizes) for name, sizes in sorted({**RANGES, **options.ranges}.items())},
    }


def engine_path(name: str, made_for: Mapping[str, Any], folder: Path) -> Path:
    """Where the engine of an identity is kept."""
    key = hashlib.sha256(json.dumps(made_for, sort_keys=True).encode()).hexdigest()[:16]
    return folder / f"{name}-{made_for['precision']}-{key}.engine"


def profile_of(
    graph: PreparedGraph, ranges: Mapping[str, tuple[int, int, int]]
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Least, usual and largest shape of each input that has a free dimension.

    Raises:
        EngineError: A dimension has no range, or one that is not in order.
    """
    known = {**RANGES, **ranges}
    profile = {}
    for name, shape in graph.inputs.items():
        free = [d for d in shape if isinstance(d, str)]
        for dimension in free:
            if dimension not in known:
                raise EngineError(
                    f"{graph.path.name}: no range for {dimension!r} of input {name!r}; "
                    f"give one: --range {dimension}=1,8,64"
                )
            least, usual, largest = known[dimension]
            if not 0 <= least <= usual <= largest:
                raise EngineError(f"range of {dimension!r} is {known[dimension]}; use least,usual,largest")
        if free:
            profile[name] = tuple(
                tuple(known[d][i] if isinstance(d, str) else d for d in shape) for i in range(3)
            )
    return profile


def read_engine(path: Path, made_for: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """Check an engine against its record.

    Returns:
        The record and an empty string, or None and why the engine cannot be used.
    """
    if not path.is_file():
        return None, "there is none for this graph, TensorRT and GPU"
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        told = {name: record[name] for name in made_for}
        size, digest = record["engine_bytes"], record["engine_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, "its record is missing or damaged"
    if told != dict(made_for):
        return None, "it was built for something else"
    if path.stat().st_size != size or file_sha256(path) != digest:
        return None, "it is damaged"
    return record, ""


def find_engine(path: Path, target: Target, folder: Path) -> BuiltEngine | None:
    """Return an engine that was built before for this graph, TensorRT and GPU, whatever its ranges.

    Args:
        path: The ONNX graph.
        target: What for.
        folder: Where engines are kept.

    Returns:
        One in half precision if there is one, and of several the latest; ``None`` where none can be used.
    """
    made_for = {"builder": BUILDER_VERSION, "graph_sha256": graph_sha256(path), **asdict(target)}
    places = sorted(folder.glob(f"{glob.escape(path.stem)}-*.engine"), key=lambda p: p.stat().st_mtime)
    found = ((place, read_engine(place, made_for)[0]) for place in reversed(places))
    fitting = [BuiltEngine(place, record, False) for place, record in found if record is not None]
    fitting.sort(key=lambda engine: engine.record.get("precision") != "fp16")
    return fitting[0] if fitting else None


def ensure_engine(path: Path, trt: TensorRt, target: Target, options: BuildOptions) -> BuiltEngine:
    """Return the engine of a graph, built if there is none that fits.

    Args:
        path: The ONNX graph.
        trt: What builds it.
        target: What for.
        options: How.

    Raises:
        EngineError: It cannot be built; names the graph and what TensorRT said.
    """
    made_for = identity(graph_sha256(path), target, options)
    place = engine_path(path.stem, made_for, options.cache_dir)
    record, why = read_engine(place, made_for)
    if record is not None:
        return BuiltEngine(place, record, False)
    options.cache_dir.mkdir(parents=True, exist_ok=True)
    graph = prepare(path, options.fp16)
    profile = profile_of(graph, options.ranges)
    data = build(graph, profile, trt, options, _timing_path(target, options))
    rest = {"graph": path.name, "profile": profile, "engine_bytes": len(data)}
    found = {**made_for, **rest, "engine_sha256": hashlib.sha256(data).hexdigest()}
    _write(place, data)
    _write(place.with_suffix(".json"), (json.dumps(found, indent=1) + "\n").encode())
    return BuiltEngine(place, found, True, why)


def build_all(
    graphs: Mapping[str, Path], trt: TensorRt, options: BuildOptions
) -> Iterator[tuple[str, BuiltEngine | str]]:
    """Build the engines of several graphs for this machine.

    Args:
        graphs: ONNX files by name; those of a language model that is not assembled may be missing.
        trt: What builds them.
        options: How.

    Yields:
        Name, and the engine, or in words why there is none: the graph is not for TensorRT.

    Raises:
        EngineError: A graph that TensorRT should take cannot be built.
    """
    target = target_of(trt)
    for name, path in graphs.items():
        if not path.is_file():
            yield name, "not assembled"
        elif foreign := foreign_operators(path):
            yield name, f"has {', '.join(foreign)}, which only ONNX Runtime knows"
        else:
            yield name, ensure_engine(path, trt, target, options)


def _timing_path(target: Target, options: BuildOptions) -> Path:
    words = "-".join(asdict(target).values()).lower()
    return options.cache_dir / f"{''.join(c if c.isalnum() or c in '.-' else '_' for c in words)}.timing"


def build(
    graph: PreparedGraph,
    profile: Mapping[str, tuple[tuple[int, ...], ...]],
    trt: TensorRt,
    options: BuildOptions,
    timing_cache: Path | None = None,
) -> bytes:
    """Build an engine, strongly typed: precision is what the graph says, no flag changes it.

    Raises:
        EngineError: The graph does not parse, or the engine does not build.
    """
    module, log = trt.module, trt.logger()
    builder = module.Builder(log)
    flag = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = module.OnnxParser(network, log)
    if not parser.parse(graph.data, str(graph.path)):
        raise EngineError(f"{graph.path.name}: {trt.title} cannot parse it: {_parser_errors(parser)}")
    config = _configured(builder, module, profile, options)
    # TensorRT-RTX has no use for timings: it finishes engines on the GPU that it meets.
    timing = None if trt.flavour == "rtx" else _timing(config, module, timing_cache)
    built = builder.build_serialized_network(network, config)
    if built is None:
        said = "; ".join(log.errors[-3:]) or "no reason given"
        hint = " (raise --workspace-mb, or narrow a --range)" if "OutOfMemory" in said else ""
        raise EngineError(f"{graph.path.name}: {trt.title} cannot build it: {said}{hint}")
    if timing_cache is not None and timing is not None:
        _write(timing_cache, bytes(timing.serialize()))
    return bytes(built)


def _configured(
    builder: Any, module: Any, profile: Mapping[str, tuple[tuple[int, ...], ...]], options: BuildOptions
) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if profile:
        shapes = builder.create_optimization_profile()
        for name, (least, usual, largest) in profile.items():
            shapes.set_shape(name, least, usual, largest)
        config.add_optimization_profile(shapes)
    return config


def _timing(config: Any, module: Any, path: Path | None) -> Any:
    """Start from the timings of earlier builds; a cache of another TensorRT is begun anew."""
    if path is None or not hasattr(config, "create_timing_cache"):
        return None
    kept = path.read_bytes() if path.is_file() else b""
    for data in (kept, b""):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    return None


def _parser_errors(parser: Any) -> str:
    lines = []
    for number in range(parser.num_errors):
        error = parser.get_error(number)
        where = f"{error.node_operator()} {error.node_name()!r}: " if error.node_operator() else ""
        lines.append(where + " ".join(error.desc().split()))
    return "; ".join(lines) or "no reason given"


def _write(path: Path, data: bytes) -> None:
    """Write in one move, so that an interrupted build leaves nothing that looks like an engine."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
