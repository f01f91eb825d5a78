"""A language model that never rests: the hardest neighbour a label can have in its process.

A node reasons about a window when its label is out, and is mostly done before the next one is due. To see
what a label costs *while* a reasoning is written, one has to be written all the time.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmark.bench_decoder import example
from emollama_ros.estimate import Reasoning
from emollama_ros.pipeline import Explainer


class Writer:
    """Writes one reasoning after the other in a thread of its own, as the node's slow worker would."""

    def __init__(self, reasoner: Explainer) -> None:
        """Begin to write.

        Args:
            reasoner: The node's, with the threads that a node gives it.
        """
        self._reasoner = reasoner
        self._stopping = threading.Event()
        self._began = time.monotonic()
        self._written: list[Reasoning] = []
        self._thread = threading.Thread(target=self._run, name="restless", daemon=True)
        self._thread.start()

    def told(self) -> dict[str, Any]:
        """Texts and tokens until now, and the share of the time in which it wrote, in percent."""
        written = list(self._written)
        busy_s = sum(text.elapsed_ms for text in written) / 1e3
        return {
            "texts": len(written),
            "tokens": sum(text.tokens for text in written),
            "busy_percent": 100 * busy_s / max(time.monotonic() - self._began, 1e-9),
        }

    def stop(self) -> None:
        """End after the present token."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            said = self._reasoner.explain(
                example(len(self._written)),
                "I did not expect that",
                on_text=lambda _: None,
                should_stop=self._stopping.is_set,
            )
            self._written.append(said)
