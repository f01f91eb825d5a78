"""The decoder loop: embeddings in, hidden state out, caches extended in place.

The caches are buffers of fixed capacity, bound once as both input and output of the graph, so that a token
copies nothing and going back to an earlier position is just a smaller number. That is also how the static
part of a prompt is computed once and kept: ``snapshot`` after it, ``restore`` before each text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emollama_ros.engines.onnx_runtime import import_onnxruntime
from emollama_ros.errors import EngineError
from emollama_ros.language.assemble import EMBEDDINGS, LAYOUT, Layout, read_layout, require_assembled
from emollama_ros.language.packing import BLOCK

Floats = NDArray[np.float32]

#: Positions kept by default: static prompt, evidence, transcript and text of one reasoning.
CAPACITY = 512
#: File of a head that is not tied to the embeddings.
HEAD = "head.onnx.data"


class LanguageModel(Protocol):
    """What grammar-bound decoding needs of a model; ``Decoder`` is one."""

    def extend(self, tokens: Sequence[int]) -> object:
        """Append tokens in one pass."""

    def scores(self, tokens: Sequence[int]) -> Floats:
        """Return the logits (n,) that each of ``tokens`` comes next."""

    def snapshot(self) -> int:
        """Return a mark of the current position."""

    def restore(self, mark: int) -> None:
        """Go back to a mark."""


class TokenTable(Protocol):
    """One row of numbers a token: its embedding, or its row of the head."""

    def __call__(self, tokens: Sequence[int]) -> Floats:
        """Return the rows (n, hidden) of tokens."""

    @property
    def hidden(self) -> int:
        """Width of a row."""


def open_table(folder: Path, layout: Layout, name: str) -> TokenTable:
    """Map a table of tokens from disk, in the form its file has: codes with scales, or plain numbers."""
    # A plain view of each map: indexing the subclass itself takes several times as long.
    arrays = [
        np.asarray(np.memmap(folder / name, dtype=t.dtype, mode="r", offset=t.offset, shape=t.shape))
        for t in layout.file(name).tensors
    ]
    return EmbeddingTable(*arrays) if len(arrays) == 2 else PlainTable(*arrays)


class PlainTable:
    """Rows in float32 or float16.

    Attributes:
        rows: (vocab, hidden).
    """

    def __init__(self, rows: NDArray[np.floating[Any]]) -> None:
        """Wrap rows (vocab, hidden)."""
        self.rows = rows

    def __call__(self, tokens: Sequence[int]) -> Floats:
        """See `TokenTable`."""
        return self.rows[np.asarray(tokens, dtype=np.intp)].astype(np.float32)

    @property
    def hidden(self) -> int:
        """See `TokenTable`."""
        return int(self.rows.shape[1])


class EmbeddingTable:
    """Rows as 8-bit codes with a scale for each 32 (docs/language.md)."""

    def __init__(self, codes: NDArray[np.uint8], scale: Floats) -> None:
        """Wrap codes (vocab, blocks, 32) and scale (vocab, blocks)."""
        self._codes = codes
        self._scale = scale

    def __call__(self, tokens: Sequence[int]) -> Floats:
        """See `TokenTable`."""
        rows = np.asarray(tokens, dtype=np.intp)
        values = (self._codes[rows].astype(np.float32) - 128) * self._scale[rows][..., None]
        return values.reshape(len(rows), self.hidden)

    @property
    def hidden(self) -> int:
        """See `TokenTable`."""
        return int(self._codes.shape[1]) * BLOCK


class _Head:
    """``head.onnx``, bound to the hidden state that the decoder writes."""

    def __init__(self, ort: Any, session: Any, hidden: Floats) -> None:
        self._session, self._binding = session, session.io_binding()
        (output,) = session.get_outputs()
        self._logits = np.zeros(tuple(output.shape), np.float32)
        self._binding.bind_ortvalue_input("hidden", ort.OrtValue.ortvalue_from_numpy(hidden))
        self._binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits))

    def logits(self) -> Floats:
        """Return (vocab,)."""
        self._session.run_with_iobinding(self._binding)
        return self._logits[0]


class Decoder:
    """A LLaMA in ONNX Runtime on the CPU. Not thread-safe: one thread, or a lock."""

    def __init__(
        self,
        graph: Path,
        embed: TokenTable,
        shape: Mapping[str, Any],
        threads: int,
        capacity: int,
        head: TokenTable | None = None,
    ) -> None:
        """Load the graph; use ``Decoder.load`` for a bundle.

        Args:
            graph: ``decoder.onnx``; ``head.onnx`` lies beside it.
            embed: Embeddings of the tokens.
            shape: Sizes: layers, kv_heads, head_dim, positions.
            threads: CPU threads.
            capacity: Positions of the caches.
            head: Rows of the head; ``None`` where they are the embeddings.
        """
        ort = import_onnxruntime()
        self._ort = ort
        self.embed = embed
        self._head_rows = head or embed
        self.capacity = min(capacity, int(shape["positions"]))
        self._folder = graph.parent
        self._threads = threads
        self._session = self._open(graph)
        self._binding = self._session.io_binding()
        self._bind_caches(shape)
        # Arrays and bound values share memory, so that a step only writes into arrays before it runs.
        self._used_before, self._used_after = np.zeros(1, np.int32), np.zeros((), np.int32)
        self._bind("seqlens_k", self._used_before)
        self._bind("total_sequence_length", self._used_after)
        self._one = np.zeros((1, 1, embed.hidden), np.float32)
        self._one_value = ort.OrtValue.ortvalue_from_numpy(self._one)
        self._output = np.zeros((1, 1, embed.hidden), np.float32)
        self._binding.bind_ortvalue_output("hidden", ort.OrtValue.ortvalue_from_numpy(self._output))
        self._head: _Head | None = None
        self._hidden: Floats | None = None
        self.position = 0

    @staticmethod
    def load(folder: Path, threads: int = 2, capacity: int = CAPACITY) -> Decoder:
        """Load ``decoder.onnx`` and the assembled files beside it.

        Args:
            folder: Bundle folder.
            threads: CPU threads.
            capacity: Positions of the caches (46 kB each for SmolLM2-135M).

        Raises:
            BundleError: A file is missing or of the wrong size.
            EngineError: onnxruntime is missing or cannot run the graph.
        """
        layout = read_layout(folder / LAYOUT)
        require_assembled(folder, layout)
        embed = open_table(folder, layout, EMBEDDINGS)
        is_tied = all(entry.name != HEAD for entry in layout.files)
        head = None if is_tied else open_table(folder, layout, HEAD)
        return Decoder(folder / "decoder.onnx", embed, layout.shape, threads, capacity, head)

    def prefill(self, embeds: Floats) -> Floats:
        """Append embeddings, soft tokens included.

        Args:
            embeds: float32 (n, hidden), n >= 1.

        Returns:
            Normed hidden state (hidden,) of the last position; valid until the next call.

        Raises:
            EngineError: Nothing was given, or the caches are full.
        """
        after = self.position + len(embeds)
        if not len(embeds) or after > self.capacity:
            raise EngineError(
                f"decoder: {len(embeds)} more positions after {self.position}, room for 1 to "
                f"{self.capacity - self.position}; shorten the prompt or raise the capacity"
            )
        self._bind_embeds(embeds)
        self._used_before[0], self._used_after[()] = after - 1, after
        self._session.run_with_iobinding(self._binding)
        self.position = after
        self._hidden = self._output[0, 0]
        return self._hidden

    def _bind_embeds(self, embeds: Floats) -> None:
        if len(embeds) == 1:
            self._one[0] = embeds
            value = self._one_value
        else:
            whole = np.ascontiguousarray(embeds[None], dtype=np.float32)
            value = self._ort.OrtValue.ortvalue_from_numpy(whole)
        self._binding.bind_ortvalue_input("inputs_embeds", value)

    def extend(self, tokens: Sequence[int]) -> Floats:
        """Append tokens in one pass; see ``prefill``."""
        return self.prefill(self.embed(tokens))

    def step(self, token: int) -> Floats:
        """Append one token; see ``prefill``."""
        return self.extend((token,))

    def scores(self, tokens: Sequence[int]) -> Floats:
        """Return the logits (n,) of some tokens at the last position, without those of all others."""
        return self._head_rows(tokens) @ self._last_hidden()

    def logits(self) -> Floats:
        """Return the logits (vocab,) of every token at the last position; valid until the next call."""
        if self._head is None:
            self._head = _Head(self._ort, self._open(self._folder / "head.onnx"), self._output[0])
        self._last_hidden()
        return self._head.logits()

    def snapshot(self) -> int:
        """Return a mark of the current position, to go back to with ``restore``."""
        return self.position

    def restore(self, mark: int) -> None:
        """Go back to a mark; what was appended since is forgotten, what came before is not recomputed.

        Raises:
            EngineError: The mark lies ahead.
        """
        if not 0 <= mark <= self.position:
            raise EngineError(f"decoder: cannot go to position {mark}, only 0 to {self.position} are known")
        self.position = mark
        self._hidden = None

    def _last_hidden(self) -> Floats:
        if self._hidden is None:
            raise EngineError("decoder: nothing was appended since the start or restore; call prefill first")
        return self._hidden

    def _open(self, graph: Path) -> Any:
        settings = self._ort.SessionOptions()
        settings.intra_op_num_threads = self._threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # Workers may spin inside a pass, where the next kernel is microseconds away, but not between passes.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            return self._ort.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own classes, which share no useful base
            raise EngineError(f"{graph.name}: cannot be loaded: {error}") from error

    def _bind(self, name: str, initial: NDArray[Any]) -> Any:
        value = self._ort.OrtValue.ortvalue_from_numpy(initial)
        self._binding.bind_ortvalue_input(name, value)
        return value

    def _bind_caches(self, shape: Mapping[str, Any]) -> None:
        layers, size = int(shape["layers"]), (int(shape["kv_heads"]), self.capacity, int(shape["head_dim"]))
        # One allocation: of arrays this large, NumPy asks for huge pages, which are read a bit faster.
        self._caches = np.zeros((2 * layers, 1, *size), np.float32)
        for index, array in enumerate(self._caches):
            name = f"{index // 2}.{('key', 'value')[index % 2]}"
            cache = self._bind(f"past.{name}", array)
            # The same buffer in and out: the operator then appends in place.
            self._binding.bind_ortvalue_output(f"present.{name}", cache)
