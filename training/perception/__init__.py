"""The default bundle's perception: glimpse, direct paths, fusion, words, calibration; made on two cores."""
