"""From a graph of a bundle to an engine; refused where it takes or gives what the manifest does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emollama_ros.bundle import Bundle
from emollama_ros.engines import Engine, EngineOptions, Signature, load_engine
from emollama_ros.errors import BundleError
from emollama_ros.manifest import TensorSpec

#: Makes an engine of a bundle's graph.
GraphLoader = Callable[[Bundle, str, EngineOptions], Engine]


def load_graph(bundle: Bundle, name: str, options: EngineOptions) -> Engine:
    """Load a graph of a bundle.

    Args:
        bundle: Verified.
        name: As in the manifest's ``graphs``.
        options: Which engine.

    Raises:
        BundleError: The manifest lists no such graph, or declares other inputs or outputs than it has.
        EngineError: The engine cannot run here; there is no silent fall-back.
    """
    graph = bundle.graph(name)
    engine = load_engine(bundle.file(graph.file), options)
    for declared, found in ((graph.inputs, engine.inputs), (graph.outputs, engine.outputs)):
        check_signature(f"{bundle.path / graph.file}", declared, found)
    return engine


def check_signature(where: str, declared: Mapping[str, TensorSpec], found: Signature) -> None:
    """Refuse a graph that differs from what is declared; the names of free dimensions do not matter.

    Raises:
        BundleError: A name, a type, or a shape is another one.
    """
    for name in (*declared, *found):
        if name not in found or name not in declared:
            side = "the graph has none" if name in declared else "the manifest declares none"
            raise BundleError(f"{where}: {name!r}: {side}; the bundle was put together wrongly")
    for name, spec in declared.items():
        dtype, shape = found[name]
        if (dtype, _sizes(shape)) != (spec.dtype, _sizes(spec.shape)):
            raise BundleError(
                f"{where}: {name!r} is {dtype}{list(shape)}, the manifest says "
                f"{spec.dtype}{list(spec.shape)}; the bundle was put together wrongly"
            )


def _sizes(shape: tuple[int | str | None, ...]) -> tuple[int | None, ...]:
    return tuple(d if isinstance(d, int) else None for d in shape)
