"""Disturbances of sound and pictures: what studio data must survive to be of use on a robot.

They augment clips in training (`random_sound`, `random_pictures`, `speed`), and at fixed strengths they make
the corruption table (``python -m training corruptions``). NumPy, SciPy and Pillow only; no torch.
"""

from __future__ import annotations

from training.disturbances.pictures import PICTURES, random_pictures
from training.disturbances.sound import SOUNDS, random_sound, speed

#: The strengths of the corruption table.
STRENGTHS = (0.33, 0.67, 1.0)

__all__ = ["PICTURES", "SOUNDS", "STRENGTHS", "random_pictures", "random_sound", "speed"]
