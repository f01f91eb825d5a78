"""IEMOCAP: dialogues of five sessions, their labels, words, video and sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from native_layouts.media import write_clip, write_sound, write_text

#: By session: the dialogue, and its turns: who speaks, the majority's word, what is said.
DIALOGUES: Mapping[int, tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]] = {
    1: (
        ("Ses01F_impro01", (("F000", "neu", "Your ticket."), ("M000", "ang", "What [BREATHING] is it?"))),
        ("Ses01M_script01_1b", (("M000", "hap", "A letter!"), ("F000", "xxx", "Who from?"))),
    ),
    2: (("Ses02F_impro01", (("F000", "exc", "We won!"), ("M000", "fru", "Again."))),),
    3: (("Ses03M_impro03", (("M001", "sad", "She left."), ("F002", "sur", "No!"))),),
    4: (("Ses04F_impro02", (("F000", "neu", "Next."), ("F001", "ang", "Next: now!"))),),
    5: (("Ses05F_impro03", (("F000", "sad", "It is over."), ("M000", "exc", "It begins."))),),
}
#: Seconds that a turn takes.
TURN_S = 0.2


def build(root: Path) -> Path:
    """Write the part of the full release that is read."""
    for session, dialogues in DIALOGUES.items():
        folder = root / f"Session{session}" / "dialog"
        for name, turns in dialogues:
            write_text(folder / "EmoEvaluation" / f"{name}.txt", _evaluation(name, turns))
            write_text(folder / "transcriptions" / f"{name}.txt", _transcript(name, turns))
            write_clip(folder / "avi" / "DivX" / f"{name}.avi", name, TURN_S * len(turns))
            write_sound(folder / "wav" / f"{name}.wav", name, TURN_S * len(turns))
        # What macOS leaves behind in the distribution.
        write_text(folder / "EmoEvaluation" / f"._{dialogues[0][0]}.txt", ["\0\5\26\7"])
    return root


def summary(name: str, index: int, speaker: str, emotion: str, rating: str = "2.5000") -> str:
    """The line of a turn."""
    start = index * TURN_S
    times = f"[{start:.4f} - {start + TURN_S:.4f}]"
    return f"{times}\t{name}_{speaker}\t{emotion}\t[{rating}, 3.5000, 2.5000]"


def _evaluation(name: str, turns: tuple[tuple[str, str, str], ...]) -> list[str]:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for index, (speaker, emotion, _) in enumerate(turns):
        lines += [
            summary(name, index, speaker, emotion),
            "C-E2:\tNeutral;\t()",
            "A-E3:\tval 3; act 2;\t()",
            "",
        ]
    return lines


def _transcript(name: str, turns: tuple[tuple[str, str, str], ...]) -> list[str]:
    lines = ["M: [LAUGHTER]"]
    for index, (speaker, _, words) in enumerate(turns):
        start = index * TURN_S
        lines.append(f"{name}_{speaker} [{start:08.4f}-{start + TURN_S:08.4f}]: {words}")
    return lines
