"""Anytime-valid statistics: tests that may be looked at after every window without crying wolf. Pure, floats in and out.

Two are public functions for anybody: `multinomial_test` (are counts in these proportions?) and `poisson_race_test` (do processes run at
these relative rates?). The judge rests on `betting` (one window's e-value), `harm` (evidence over windows), `dispersion`
(autocorrelation) and `intervals` (effects). Each module names the theorem it uses.
"""

from ctrlplane_stream.decision.stats.multinomial import multinomial_test, poisson_race_test

__all__ = ["multinomial_test", "poisson_race_test"]
