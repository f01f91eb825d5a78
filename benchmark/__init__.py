"""Measurements of the system: ``python -m benchmark`` (``make bench``); ``benchmark/gpu.sh`` on a GPU."""
