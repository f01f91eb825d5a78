"""The robot's own speech-to-text."""
