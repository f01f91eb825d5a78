"""Two processes do, one after the other, all that the tests of several processes look at.

Started by torchrun or accelerate: together.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from small_system import small_trainer

STEPS = {"steps": 20, "save_every": 100}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    was_asked = os.environ.pop("ACCELERATE_USE_FSDP", None)
    small_trainer(folder / "f", folder / "ddp", **STEPS).run()
    AcceleratorState._reset_state()
    if was_asked:
        os.environ["ACCELERATE_USE_FSDP"] = was_asked
    options = {**STEPS, "sharded": was_asked is None, "precision": torch.bfloat16, "accumulate": 2}
    small_trainer(folder / "f", folder / "fsdp", **options).run(stop_after=13)
    trainer = small_trainer(folder / "f", folder / "fsdp", **options)
    trainer.run()
    print(
        "weights", {type(p).__name__ for p in trainer._module.net.llama_model.model.model.layers.parameters()}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
