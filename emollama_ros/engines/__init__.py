"""Engines run a graph: arrays by name in, arrays by name out."""

from emollama_ros.engines.base import Engine, EngineOptions, Signature
from emollama_ros.engines.loading import load_engine

__all__ = ["Engine", "EngineOptions", "Signature", "load_engine"]
