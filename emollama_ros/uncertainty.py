"""Saying that one does not know: what is not likely enough is published as ``uncertain``.

A classifier always has a most probable label, of an empty room too. Whoever acts on labels wants to hear one
only where it can be relied on: selective classification, a classifier with a reject option (Chow 1970;
El-Yaniv & Wiener 2010), whose confidence is the probability of the label itself, the "softmax response" of
Geifman & El-Yaniv (2017). What a threshold costs in coverage and gains in accuracy: docs/uncertainty.md.

The threshold is applied last, to what would be published, after the moving average and after the label was
steadied (``emollama_ros.smoothing``), for three reasons:

* a state must not contradict itself: no label is told whose published confidence is below the threshold;
* one odd window is averaged away before anybody can be told that the robot is lost, and windows that
  disagree with each other, each sure of itself, average to what they are together: not sure;
* the average of calibrated probabilities is calibrated or too modest (Ranjan & Gneiting 2010), so where this
  order errs it is on the careful side: silent where it might have spoken.

Scores, valence, arousal and confidence stay as they are: who wants a guess all the same has it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from emollama_ros.errors import ConfigError
from emollama_ros.estimate import EmotionEstimate
from emollama_ros.labels import UNCERTAIN, UNKNOWN

#: By so much a label must clear the threshold to be told again, probability.
HYSTERESIS = 0.05


@dataclass(frozen=True)
class Uncertainty:
    """When a label is not likely enough to be told; never by default.

    Attributes:
        least_confidence: Probability below which the label is not told, 0..1; 0 = every label is.
    """

    least_confidence: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.least_confidence <= 1.0:
            raise ConfigError(f"least_confidence is {self.least_confidence}; use 0 to 1")

    @property
    def enough(self) -> float:
        """Confidence that ends an uncertainty; never out of reach, however high the threshold is."""
        return min(self.least_confidence + HYSTERESIS, (self.least_confidence + 1.0) / 2.0)


#: Every label is told.
NEVER = Uncertainty()


def uncertainty_of(asked: float, of_bundle: float) -> Uncertainty:
    """Return what a user asks for, or where that is negative what the bundle's calibration says.

    Args:
        asked: The parameter ``least_confidence``.
        of_bundle: ``Calibration.uncertain_below``.

    Raises:
        ConfigError: The value that counts is above 1.
    """
    return Uncertainty(of_bundle if asked < 0 else asked)


class Doubt:
    """Withholds the labels of one source that are not likely enough. One thread only.

    Two thresholds, as of a Schmitt trigger, keep a confidence that trembles around one of them from making
    the label come and go.

    Attributes:
        settings: May be changed between two estimates.
    """

    def __init__(self, settings: Uncertainty) -> None:
        """Start without a doubt.

        Args:
            settings: When a label is not likely enough.
        """
        self.settings = settings
        self._is_doubting = False

    def reset(self) -> None:
        """Forget whether the label before was withheld."""
        self._is_doubting = False

    def update(self, estimate: EmotionEstimate) -> EmotionEstimate:
        """Return an estimate as it may be published: as it is, or with the label ``uncertain``.

        ``unknown`` passes through, and what comes after it is judged afresh.

        Args:
            estimate: The next one of this source, averaged and steadied.
        """
        if estimate.label == UNKNOWN:
            self.reset()
            return estimate
        needed = self.settings.enough if self._is_doubting else self.settings.least_confidence
        self._is_doubting = estimate.confidence < needed
        return replace(estimate, label=UNCERTAIN) if self._is_doubting else estimate
