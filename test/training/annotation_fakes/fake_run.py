"""A run with fake agents, to be killed: python -m annotation_fakes.fake_run ROOT OUT WORKERS.

Tells each call on stdout.
"""

import sys
from pathlib import Path

from annotation_fakes.clips import FakeFactory
from training.annotation.pipeline import Job, run  # noqa: E402

root, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
run(Job(root / "records.jsonl", root, out, FakeFactory(is_telling=True), workers=workers))
print("done", flush=True)
