"""The statistics of a lesson: contrasts, critical values, estimates, verdicts, power, variance components."""
