"""The human check: people watch a sample of clips and mark what the agents wrote as right or wrong."""
