"""``python -m training``: data to weights, on a workstation."""

from __future__ import annotations

import typer

from training.ablation.cli import register as register_ablation
from training.annotation.cli import register as register_annotation
from training.annotation.measuring.cli import register as register_measuring
from training.annotation.review.cli import register as register_review
from training.cognition.cli import register as register_cognition
from training.commands import Commands
from training.curriculum.cli import register as register_train
from training.evaluation.cli import register as register_evaluation
from training.evaluation.groups_cli import register as register_groups
from training.evaluation.streaming_cli import register as register_streaming
from training.evaluation.uncertainty_cli import register as register_uncertainty
from training.mmeverse.cli import register as register_records
from training.mmeverse.instructions.cli import register as register_instructions
from training.perception.cli import register as register_perception
from training.perception.corruptions_cli import register as register_corruptions
from training.released.cli import register as register_released

app = typer.Typer(cls=Commands, no_args_is_help=True, help=__doc__, add_completion=False)

register_perception(app)
register_cognition(app)
register_ablation(app)
register_annotation(app)
register_evaluation(app)
register_corruptions(app)
register_groups(app)
register_streaming(app)
register_uncertainty(app)
register_measuring(app)
register_review(app)
register_records(app)
register_instructions(app)
register_released(app)
register_train(app)


if __name__ == "__main__":
    app()
