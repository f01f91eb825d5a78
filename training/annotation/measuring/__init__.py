"""Agents that measure instead of asking: face, voice and words of a clip, on this machine alone."""
