"""Bags are tested where the library that reads them is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="needs the extra `bags`")
sys.path.insert(0, str(Path(__file__).parent))
