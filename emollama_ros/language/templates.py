"""The form of a prompt: where the soft tokens stand, what was said, the tag, the instruction.

One implementation for training and robot, so that what was learnt is what is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from emollama_ros.errors import ConfigError

#: Stands in a prompt where the soft tokens of the picture, the film and the sound are put.
PLACEHOLDER = "<VideoHere>"
#: A transcript is cut after so many characters, some 180 words of English; clips of a few seconds never get
#: there. The release cuts a whole prompt at 1,024 tokens.
TRANSCRIPT_LIMIT = 1000

_CONTROL = re.compile(
    r"\[/?(?:INST|SYS)\]"  # LLaMA 2
    r"|<<\s*/?\s*SYS\s*>>"
    r"|<\|[^<>|]{0,40}\|>"  # ChatML and LLaMA 3
    r"|</?\s*(?:s|unk|pad|Vid|Img|Image|VideoHere|ImageHere|FeatureHere|AudioHere|video|feature|think|answer)\s*/?>",
    re.IGNORECASE,
)
_BRACKETS = str.maketrans({"<": "(", ">": ")", "[": "(", "]": ")", '"': "'", "“": "'", "”": "'"})


@dataclass(frozen=True)
class Template:
    """How a prompt is written for one family of language models.

    Attributes:
        name: As in ``--template``.
        begin: Opens the turn of the person who asks. The tokenizer adds its own begin-of-sequence token.
        end: Closes that turn; the answer follows.
        stop: Ends an answer; stands behind every target.
        quotes: Around what was said; empty where the released weights were trained without.
    """

    name: str
    begin: str
    end: str
    stop: str
    quotes: tuple[str, str]

    def prompt(self, tag: str, instruction: str, transcript: str = "") -> str:
        """Write a prompt.

        Args:
            tag: As printed between brackets.
            instruction: Trusted text, from a pool.
            transcript: What is said, or an empty text; data, whatever it says: see `as_data`.
        """
        said = as_data(transcript, TRANSCRIPT_LIMIT).rstrip(". ")
        opening, closing = self.quotes
        words = f" The person in video says: {opening}{said}{closing}. " if said else ""
        return f"{self.begin}<Vid>{PLACEHOLDER}</Vid>{words} [{tag}] {instruction}{self.end}"


#: ``llama2``: as in the release (V2 ``prompt_template``). ``smollm2``: the same within ChatML turns.
TEMPLATES = {
    template.name: template
    for template in (
        Template("llama2", "[INST] ", " [/INST]", "</s>", ("", "")),
        Template(
            "smollm2", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>", ("“", "”")
        ),
    )
}


def template_named(name: str) -> Template:
    """Return a template.

    Raises:
        ConfigError: There is none of that name; the message lists them.
    """
    if name not in TEMPLATES:
        raise ConfigError(f"no template named {name!r}; available: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def as_data(text: str, limit: int | None = None) -> str:
    """Return a text that cannot be taken for a part of the template.

    Control words of the templates go; every other bracket becomes a round one and every double quote a
    single one, so that nothing left can be joined to a control word or end the quotation. Line breaks and
    other control characters become blanks.

    Args:
        text: Transcript, question, description, whoever wrote it.
        limit: Greatest number of characters; what is longer is cut at a word and ends in ``…``.
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    words = " ".join(_CONTROL.sub(" ", printable).translate(_BRACKETS).split())
    return words if limit is None or len(words) <= limit else _cut(words, limit)


def _cut(words: str, limit: int) -> str:
    kept = words[: limit - 1]
    at_word = kept.rpartition(" ")[0] if words[limit - 1] != " " else kept
    return (at_word or kept).rstrip() + "…"  # a text without blanks, such as Chinese, is cut anywhere
