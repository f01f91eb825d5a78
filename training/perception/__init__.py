"""The default bundle's perception: trunk, fusion, words, calibration; data that fit on two cores."""
