"""Models as a benchmark sees them: a clip in, a prediction out. One module a kind of model."""
