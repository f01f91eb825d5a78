"""Preprocessing: ONE implementation of pictures, sound and words to numbers.

The robot, the training and the export import the same functions, so that a model never sees anything
at run time that it was not trained on.
"""
