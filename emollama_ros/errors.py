"""Errors a user can act on: each names the thing, the value found, and the fix."""

from __future__ import annotations


class EmollamaError(Exception):
    """Base class of every error this package raises on purpose."""


class InputError(EmollamaError):
    """A clip, image, audio chunk or transcript that cannot be used as it is."""


class BundleError(EmollamaError):
    """A model bundle that is missing, damaged, or not of the expected form."""


class EngineError(EmollamaError):
    """An inference engine that was asked for and cannot run."""


class ConfigError(EmollamaError):
    """A parameter or configuration value outside its documented range."""
