"""Makers of small folders in the layout each data set is distributed in, media included."""
