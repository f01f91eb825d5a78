"""Emotion-LLaMAv2 trained from perception to cognition (arXiv 2601.16449): examples, trainer, scores."""
