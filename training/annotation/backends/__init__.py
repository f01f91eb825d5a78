"""Agents that are models behind an endpoint."""
