"""Multimodal emotion perception for robots: what a person seems to feel, and in words why."""

__version__ = "0.1.0"
