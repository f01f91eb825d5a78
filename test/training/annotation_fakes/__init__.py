"""Made-up clips, agents and a server for the tests of the annotation pipeline."""
