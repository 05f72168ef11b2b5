"""How much less than independent requests the requests of a window tell: the design effect, from the scatter between windows.

Where failures come in bunches, the difference between two arms scatters more from window to window than independent outcomes would, and
where bunches outlast a window, neighbouring residuals agree. The design effect is the mean squared standardised residual (Pearson's
dispersion; McCullagh and Nelder, Generalized Linear Models, 4.5) times (1 + r) / (1 - r) for the residuals' lag-one correlation r (the
variance inflation of a first-order autoregression; Kish, Survey Sampling, for the name). It is taken from earlier windows only, those of
the step and those before it; a drift that both arms share cancels in the difference. Where no window is known nothing speaks for
independence, and a prior of 2 is assumed, which weighs as much as five windows.
"""

# ruff: noqa: FURB136  (max and min are calls, five times the cost of a comparison, and this runs thousands of times a window)

from math import sqrt

import msgspec

_PRIOR_EFFECT = 2.0
_PRIOR_WINDOWS = 5.0
_PAST_WINDOWS = 30.0
"""The past counts as no more than this many windows, so that a step can tell that bunches have begun."""
_LARGEST = 3.0
"""One residual of a step counts as at most so many standard deviations: a fault that begins must not explain itself away as scatter."""
LARGEST_OF_THE_PAST = 5.0
"""The past is no fault of the candidate's; the cut only keeps one outage from standing for all."""
_LARGEST_CORRELATION = 0.6


class Dispersion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Sums over windows of squared residuals and of products of neighbours, their number, and the last residual."""

    squares: float = 0.0
    products: float = 0.0
    windows: float = 0.0
    last: float = 0.0

    def after(self, residual: float | None, largest: float = _LARGEST) -> "Dispersion":
        """The sums with one more window's standardised residual, cut at ``largest``; unchanged by None."""
        if residual is None:
            return self
        cut = largest if residual > largest else -largest if residual < -largest else residual
        return Dispersion(self.squares + cut * cut, self.products + cut * self.last, self.windows + 1.0, cut)


UNSCATTERED = Dispersion()


def of_two_arms(past: Dispersion, *, drifting: bool) -> Dispersion:
    """What a past says of the difference of two arms: all that it knows where they are of different times, which a drift sets apart.

    No drift touches the difference of arms in the same windows: of those it is the scatter between neighbours alone. Half the squared
    differences of neighbours add up to squares less products (von Neumann 1941, the mean square successive difference).
    """
    if drifting or not past.windows:
        return past
    return Dispersion(past.squares - max(0.0, past.products), 0.0, past.windows, past.last)


def design_effect(now: Dispersion, past: Dispersion = UNSCATTERED) -> float:
    """At least 1; what the log capital of the next window is divided by, from the windows of a step and from those before it."""
    windows, squares, products = now.windows, now.squares, now.products
    if past.windows:
        part = _PAST_WINDOWS / past.windows if past.windows > _PAST_WINDOWS else 1.0
        windows, squares, products = windows + part * past.windows, squares + part * past.squares, products + part * past.products
    all_windows = windows + _PRIOR_WINDOWS
    # Sampling noise alone would make half of all estimates exceed 1: only what is beyond one standard error counts.
    scatter = (squares + _PRIOR_WINDOWS * _PRIOR_EFFECT - sqrt(2.0 * windows)) / all_windows
    correlation = products / (squares + _PRIOR_WINDOWS) - 1.0 / sqrt(all_windows)
    least = scatter if scatter > 1.0 else 1.0
    if correlation <= 0.0:
        return least
    lasting = correlation if correlation < _LARGEST_CORRELATION else _LARGEST_CORRELATION
    return least * (1.0 + lasting) / (1.0 - lasting)


def residual_of_shares(
    candidate: tuple[float, float], stable: tuple[float, float], candidate_before: tuple[float, float], stable_before: tuple[float, float]
) -> float | None:
    """The standardised change of (candidate share - stable share) in one window against earlier windows; (events, total) each.

    None where an arm is empty or earlier windows are too few to expect anything.
    """
    (x, m), (y, n), (x0, m0), (y0, n0) = candidate, stable, candidate_before, stable_before
    if min(m, n) <= 0 or min(m0, n0) < 1:
        return None
    p, q = (x0 + x + 0.5) / (m0 + m + 1.0), (y0 + y + 0.5) / (n0 + n + 1.0)
    variance = p * (1 - p) * (1 / m + 1 / m0) + q * (1 - q) * (1 / n + 1 / n0)
    return ((x / m - y / n) - (x0 / m0 - y0 / n0)) / sqrt(variance)


def residual_of_rate(events: float, exposure: float, events_before: float, exposure_before: float) -> float | None:
    """The standardised change of a Poisson rate per unit of exposure in one window against earlier windows; None as there."""
    if exposure <= 0 or exposure_before <= 0:
        return None
    rate = (events_before + events + 0.5) / (exposure_before + exposure)
    return (events / exposure - events_before / exposure_before) / sqrt(rate * (1 / exposure + 1 / exposure_before))


def residual_of_share(events: float, total: float, events_before: float, total_before: float) -> float | None:
    """As `residual_of_shares` for one arm alone."""
    if total <= 0 or total_before < 1:
        return None
    p = (events_before + events + 0.5) / (total_before + total + 1.0)
    return (events / total - events_before / total_before) / sqrt(p * (1 - p) * (1 / total + 1 / total_before))
