"""The project's own generator of people: a rendered face, a synthetic voice, words, and the truth.

Nothing here needs torch. ``generate`` writes clips with ``labels.jsonl``; ``generate_arrays`` yields
model-sized frames and 16 kHz audio without encoding.
"""
