"""The tags of the prompts, and the streams that a language model may look at."""

from __future__ import annotations

from enum import Enum, IntFlag

from training.mmeverse.schema import Task


class Stream(IntFlag):
    """What the soft tokens and the words of a prompt are made of.

    The released model looks at a clip twice: at one sharp picture (``IMAGE``) and at sixteen small ones
    over time (``VIDEO``). A stream that is not in the set is masked: its tokens are left out, not zeroed.
    """

    NONE = 0
    IMAGE = 1
    VIDEO = 2
    AUDIO = 4
    TEXT = 8

    def names(self) -> tuple[str, ...]:
        """Lower-case names of the members, in fixed order."""
        return tuple(name for member, name in _NAMES if member in self)


_NAMES = (
    (Stream.IMAGE, "image"),
    (Stream.VIDEO, "video"),
    (Stream.AUDIO, "audio"),
    (Stream.TEXT, "text"),
)


class Tag(str, Enum):
    """What an instruction asks for; one pool of instructions each."""

    EMOTION = "emotion"
    SENTIMENT = "sentiment"
    INTENT = "intent"
    MULTI_LABEL = "multi-label"
    OPEN_VOCABULARY = "open-vocabulary"
    REASON = "reason"
    THINK = "think"
    THINK_MULTI = "think-multi"
    AUDIO = "audio"
    IMAGE = "image"
    CAPTION = "caption"
    REFER = "refer"
    VQA = "vqa"

    @property
    def printed(self) -> str:
        """The tag as it stands in the prompt: the released prompts say ``think`` for sets of labels too."""
        return Tag.THINK.value if self is Tag.THINK_MULTI else self.value


#: Tags of general vision-language data; the others are about people.
REPLAY_TAGS = frozenset({Tag.CAPTION, Tag.REFER, Tag.VQA})


def label_tag(task: Task) -> Tag:
    """The tag that asks for the label or labels of a task, and for nothing else."""
    return Tag(task.value)


def think_tag(task: Task) -> Tag:
    """The tag that asks for reasons first and the label or labels of a task then."""
    return Tag.THINK_MULTI if task is Task.MULTI_LABEL else Tag.THINK
