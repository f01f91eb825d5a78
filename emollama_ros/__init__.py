"""Multimodal emotion perception for robots: what a person seems to feel, and in words why."""

import os
import pkgutil

__version__ = "0.1.0"

# ONNX Runtime 1.29 and later reports to its maker and keeps a device id in ~/.cache, unless it is told not to
# before it is imported. A robot that watches people reports to nobody; who wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# CMake generates emollama_ros.msg and installs it to a folder of its own, while these modules may be imported
# from a checkout or from pip's folder. Joining every `emollama_ros` on the path makes them one package;
# whichever comes first on the path gives the modules that several of them have.
__path__ = pkgutil.extend_path(__path__, __name__)
