"""The data: one record type, one reader a source."""
