"""The record of a search: trials, their store, and which of them nothing dominates."""

from results.trial import Failure, Measurement, Trial

__all__ = ["Failure", "Measurement", "Trial"]
