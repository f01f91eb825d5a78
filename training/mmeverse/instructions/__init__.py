"""From records to what a language model is asked and what it should answer.

    record -> `samples.instruction_of` -> Instruction (prompt, target, streams it may use)
    many   -> `sampling.instruction_stream`, in the proportions of Emotion-LLaMAv2
    answer -> `answers.read_answer`, from a model's words back to labels

Emotion-LLaMAv2, arXiv 2601.16449; docs/instructions.md says what is kept of the release and what is not.
"""

from training.mmeverse.instructions.answers import Answer, read_answer
from training.mmeverse.instructions.samples import Instruction, instruction_of, instructions_of
from training.mmeverse.instructions.sampling import instruction_stream
from training.mmeverse.instructions.tags import Stream, Tag
from training.mmeverse.instructions.template import TEMPLATES, Template

__all__ = [
    "TEMPLATES",
    "Answer",
    "Instruction",
    "Stream",
    "Tag",
    "Template",
    "instruction_of",
    "instruction_stream",
    "instructions_of",
    "read_answer",
]
