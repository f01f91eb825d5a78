"""What a run tells of its steps: lines of JSON, TensorBoard's events, a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.curriculum.checkpoints import Progress


class RunLog:
    """One line of JSON a step, and TensorBoard's events where it is installed."""

    def __init__(self, path: Path) -> None:
        """Go on with the file ``path``, or begin it."""
        self.path = path
        self._writer = _tensorboard(path.parent / "tensorboard")

    def add(self, entry: Mapping[str, float]) -> None:
        """Tell a step: its ``stage`` (from 0) and ``step``, losses, norm of the gradient, rate."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        if self._writer is not None:
            for name in ("total", "answer", "label", "affect", "norm", "rate"):
                self._writer.add_scalar(f"stage{entry['stage'] + 1}/{name}", entry[name], entry["step"])

    def cut(self, progress: Progress) -> None:
        """Take away what a killed run wrote after its last checkpoint."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # the killed run's last line
            if (entry["stage"], entry["step"]) < (progress.stage, progress.step):
                kept.append(line)
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def plot_losses(log: Path, out: Path) -> None:
    """Draw the losses of a run over its steps, one panel a stage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    stages = sorted({entry["stage"] for entry in entries})
    figure, axes = plt.subplots(1, len(stages), figsize=(5 * len(stages), 3.2), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        rows = [entry for entry in entries if entry["stage"] == stage]
        for name in ("answer", "label", "affect"):
            axis.plot([row["step"] for row in rows], [row[name] for row in rows], label=name, linewidth=0.8)
        axis.set(title=f"stage {stage + 1}", xlabel="step", ylabel="loss")
        axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=120)
    plt.close(figure)
