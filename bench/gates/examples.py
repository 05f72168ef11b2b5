"""The published worked examples of the sequential tests (Lindon and Malek, NeurIPS 2022): of the packages savvi and ssrm."""

from ctrlplane_stream.decision.stats import multinomial_test, poisson_race_test
from ctrlplane_stream.decision.stats.multinomial import log_bayes_factor

MULTINOMIAL = ((40, 129, 233), (0.1, 0.4, 0.5), 0.04845591105969517)
"""savvi, examples/Multinomial: 402 units, concentration 100."""

POISSON = ((148, 62), (0.8, 0.2), 0.045579631759249686)
"""savvi, examples/InhomogeneousPoissonProcess: a software canary, 210 events of two processes."""

AGGREGATED = (
    ((20, 17, 9), -7.028201432058012, -4.0776406466061985),
    ((38, 38, 17), -11.947847738358888, -8.265946861099877),
    ((60, 63, 32), -19.96484521090386, -15.781031228536165),
)
"""optimizely/ssrm, its test of sequential posteriors: counts, and the log probabilities under a uniform prior and under (0.4, 0.4, 0.2)."""


def largest_difference() -> float:
    """How far ours are from them at most."""
    counts, expected, known = MULTINOMIAL
    differences = [abs(multinomial_test(counts, expected) - known)]
    counts_of_two, weights, known = POISSON
    differences.append(abs(poisson_race_test(counts_of_two, weights) - known))
    for seen, alternative, null in AGGREGATED:
        differences.append(abs(log_bayes_factor(seen, (0.4, 0.4, 0.2), (1.0, 1.0, 1.0)) - (alternative - null)))
    return max(differences)
