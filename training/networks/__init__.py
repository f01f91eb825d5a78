"""Encoders, Conv-Attention pre-fusion and the perception head, in PyTorch."""
