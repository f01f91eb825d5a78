"""From trained weights to what a robot runs: graphs, bundles, and the proof that they agree."""
