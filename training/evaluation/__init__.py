"""Metrics and reports; every figure comes with its n."""
