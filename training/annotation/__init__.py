"""Re-annotation of clips by several agents, after the pipeline of MMEVerse (arXiv 2601.16449)."""
