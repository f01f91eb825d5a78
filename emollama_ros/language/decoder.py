"""The decoder loop: embeddings in, hidden state out, caches extended in place.

The caches are buffers of fixed capacity, bound once as both input and output of the graph, so that a token
copies nothing and going back to an earlier position is just a smaller number. That is also how the static
part of a prompt is computed once and kept: ``snapshot`` after it, ``restore`` before each text.

A pass may be asked for the scores behind several of its positions instead of the last one alone. That is how
guessed tokens are checked: appended together, in a pass that costs a fraction more than that of one token.
"""

from __future__ import annotations

import time
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
#: Input that says which positions are asked for; graphs of older releases give the last one and lack it.
_LAST = "last"
#: Tokens of the longer pass, and runs of each, that tell what a further token of a pass costs.
_SEVERAL, _TRIALS = 5, 5
#: It never costs less than this: what is measured below is other work that held up the shorter pass.
_LEAST_COST = 0.2


class LanguageModel(Protocol):
    """What grammar-bound decoding needs of a model; ``Decoder`` is one."""

    def embed(self, tokens: Sequence[int]) -> Floats:
        """Return the embeddings (n, hidden) of tokens."""

    def prefill(self, embeds: Floats) -> object:
        """Append embeddings (n, hidden) in one pass."""

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


class _Rows:
    """Where a pass leaves the states of its last positions, and the head their scores.

    Arrays and bound values share memory, so that nothing is copied or made again for a pass of as many.
    """

    def __init__(self, ort: Any, count: int, width: int) -> None:
        self._ort, self._count, self._head = ort, count, None
        self.hidden = np.zeros((1, count, width), np.float32)
        self._states = ort.OrtValue.ortvalue_from_numpy(self.hidden)
        self._last = ort.OrtValue.ortvalue_from_numpy(np.arange(-count, 0, dtype=np.int64))
        self._logits: Floats = np.zeros((0, 0), np.float32)
        self._binding: Any = None

    def bind(self, binding: Any, has_last: bool) -> None:
        """Have a run of the decoder write here."""
        binding.bind_ortvalue_output("hidden", self._states)
        if has_last:
            binding.bind_ortvalue_input(_LAST, self._last)

    def logits(self, head: Any) -> Floats:
        """Run ``head.onnx``; returns (count, vocab)."""
        if self._binding is None:
            self._logits = np.zeros((self._count, head.get_outputs()[0].shape[-1]), np.float32)
            self._binding = head.io_binding()
            states = self._ort.OrtValue.ortvalue_from_numpy(self.hidden[0])
            self._binding.bind_ortvalue_input("hidden", states)
            scores = self._ort.OrtValue.ortvalue_from_numpy(self._logits)
            self._binding.bind_ortvalue_output("logits", scores)
        head.run_with_iobinding(self._binding)
        return self._logits


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
        self.vocab = int(shape.get("vocab", 0))
        self._folder = graph.parent
        self._threads = threads
        self._session = self._open(graph)
        self._has_last = any(i.name == _LAST for i in self._session.get_overridable_initializers())
        # A graph that checks guesses computes one position more than it is asked for.
        spare = int(self._has_last)
        self.capacity = min(capacity, int(shape["positions"]) - spare)
        self._binding = self._session.io_binding()
        self._bind_caches(shape, self.capacity + spare)
        # Arrays and bound values share memory, so that a step only writes into arrays before it runs.
        self._used_before, self._used_after = np.zeros(1, np.int32), np.zeros((), np.int32)
        self._bind("seqlens_k", self._used_before)
        self._bind("total_sequence_length", self._used_after)
        self._one = np.zeros((1, 1, embed.hidden), np.float32)
        self._one_value = ort.OrtValue.ortvalue_from_numpy(self._one)
        self._head: Any = None
        self._kept: dict[int, _Rows] = {}
        self._rows: _Rows | None = None
        self._logits: Floats | None = None
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

    @property
    def gives_rows(self) -> bool:
        """Whether a pass can give the scores behind several positions; not with graphs of older releases."""
        return self._has_last

    def prefill(self, embeds: Floats, rows: int = 1) -> Floats:
        """Append embeddings, soft tokens included.

        Args:
            embeds: float32 (n, hidden), n >= 1.
            rows: Last positions whose scores `logits` can give then, 1..n.

        Returns:
            Normed hidden state (hidden,) of the last position; valid until the next call.

        Raises:
            EngineError: Nothing was given, the caches are full, or the graph cannot give so many rows.
        """
        after = self.position + len(embeds)
        if not len(embeds) or after > self.capacity:
            raise EngineError(
                f"decoder: {len(embeds)} more positions after {self.position}, room for 1 to "
                f"{self.capacity - self.position}; shorten the prompt or raise the capacity"
            )
        self._bind_embeds(embeds)
        self._bind_rows(rows, len(embeds))
        self._used_before[0], self._used_after[()] = after - 1, after
        self._session.run_with_iobinding(self._binding)
        self.position = after
        return self._states()[-1]

    def _bind_rows(self, rows: int, given: int) -> None:
        if not 1 <= rows <= (given if self._has_last else 1):
            raise EngineError(
                f"decoder: scores behind {rows} positions of a pass of {given}; "
                + ("ask for 1 to as many" if self._has_last else "this graph gives the last: export it again")
            )
        if rows not in self._kept:
            self._kept[rows] = _Rows(self._ort, rows, self.embed.hidden)
        self._rows, self._logits = self._kept[rows], None
        self._rows.bind(self._binding, self._has_last)

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
        return self._head_rows(tokens) @ self._states()[-1]

    def logits(self, row: int = -1) -> Floats:
        """Return the logits (vocab,) of every token; valid until the next pass.

        Args:
            row: Of which position of the last pass, among those that were asked for; the last one by default.
        """
        self._states()
        assert self._rows is not None
        if self._logits is None:
            if self._head is None:
                self._head = self._open(self._folder / "head.onnx")
            self._logits = self._rows.logits(self._head)
        return self._logits[row]

    def cost_of_more(self) -> float:
        """Measure what a further token of a pass costs, with its scores, as a share of a pass of one.

        Writes behind the position, where nothing is kept. Least times, so that other work counts little.

        Returns:
            A share in 0.2..1; 1 where the graph cannot check several or there is no room.
        """
        if not self._has_last or self.position + _SEVERAL > self.capacity:
            return 1.0
        mark = self.position
        one, several = (min(self._timed(n) for _ in range(_TRIALS)) for n in (1, _SEVERAL))
        self.restore(mark)
        return float(np.clip((several / one - 1) / (_SEVERAL - 1), _LEAST_COST, 1.0))

    def _timed(self, count: int) -> float:
        mark, begin = self.position, time.perf_counter()
        self.prefill(self.embed([0] * count), count)
        self.logits()
        taken = time.perf_counter() - begin
        self.restore(mark)
        return taken

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
        self._rows = None

    def _states(self) -> Floats:
        """States (rows, hidden) that the last pass was asked for."""
        if self._rows is None:
            raise EngineError("decoder: nothing was appended since the start or restore; call prefill first")
        return self._rows.hidden[0]

    def _open(self, graph: Path) -> Any:
        settings = self._ort.SessionOptions()
        settings.intra_op_num_threads = self._threads
        settings.inter_op_num_threads = 1
        settings.enable_mem_pattern = False  # every length of a prompt would keep a plan of its own
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

    def _bind_caches(self, shape: Mapping[str, Any], positions: int) -> None:
        layers, size = int(shape["layers"]), (int(shape["kv_heads"]), positions, int(shape["head_dim"]))
        # One allocation: of arrays this large, NumPy asks for huge pages, which are read a bit faster.
        self._caches = np.zeros((2 * layers, 1, *size), np.float32)
        for index, array in enumerate(self._caches):
            name = f"{index // 2}.{('key', 'value')[index % 2]}"
            cache = self._bind(f"past.{name}", array)
            # The same buffer in and out: the operator then appends in place.
            self._binding.bind_ortvalue_output(f"present.{name}", cache)
