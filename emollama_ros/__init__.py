"""Multimodal emotion perception for robots: what a person seems to feel, and in words why."""

import pkgutil

__version__ = "0.1.0"

# CMake generates emollama_ros.msg and installs it to a folder of its own, while these modules may be imported
# from a checkout or from pip's folder. Joining every `emollama_ros` on the path makes them one package;
# whichever comes first on the path gives the modules that several of them have.
__path__ = pkgutil.extend_path(__path__, __name__)
