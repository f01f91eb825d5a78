"""The language model of the slow path: assembly, tokens, decoding, and the grammar that grounds its words."""
