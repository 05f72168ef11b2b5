/* Bets and what they are divided by: the twins of stats/betting.py, stats/harm.py and stats/dispersion.py, where the formulas are explained. */
#include "weighing.h"

#include <math.h>
#include <stddef.h>

static const double NEVER_ALL = 0.95, EDGE = 1e-9, SMALLEST = 1e-4, ABANDONED = -30.0, ROUNDING = 1e-9;
static const double SMALL = 0.03, MEDIUM = 0.15, LARGE = 0.5, LEARNED = 10.0, GUESSED = 10.0;
static const double PRIOR_EFFECT = 2.0, PRIOR_WINDOWS = 5.0, PAST_WINDOWS = 30.0, LARGEST_CORRELATION = 0.6, LARGEST_RESIDUAL = 3.0;

static double harm_weights[4], safety_weights[2];

void prepare_weighing(void) {
    /* By libm, as Python does, and not by the compiler, which rounds better. */
    volatile double weights[] = {0.4, 0.2, 0.2, 0.2, 0.75, 0.25};
    for (int i = 0; i < 4; i++)
        harm_weights[i] = log(weights[i]);
    for (int i = 0; i < 2; i++)
        safety_weights[i] = log(weights[4 + i]);
}

/* As Python's max and min: the first of equals. */
static inline double larger(double a, double b) { return b > a ? b : a; }
static inline double smaller(double a, double b) { return b < a ? b : a; }

static inline double inside(double share) { return share < SMALLEST ? SMALLEST : share > 1.0 - SMALLEST ? 1.0 - SMALLEST : share; }

static double projection(double stable, double candidate, double stable_total, double candidate_total, double margin) {
    double moved = candidate - margin;
    double point = (stable_total * stable + candidate_total * moved) / (stable_total + candidate_total);
    if (margin == 0.0)
        return point < EDGE ? EDGE : point > 1.0 - EDGE ? 1.0 - EDGE : point;
    double low = larger(0.0, -margin) + EDGE, high = smaller(1.0, 1.0 - margin) - EDGE;
    for (int i = 0; i < 4; i++) {
        point = point < low ? low : smaller(high, point);
        double other = point + margin;
        double weight = stable_total * other * (1.0 - other);
        double against = candidate_total * point * (1.0 - point);
        point = (weight * stable + against * moved) / (weight + against);
    }
    return smaller(high, larger(low, point));
}

static double log_capital(const double sample[4], double stable, double candidate, double margin) {
    double x = sample[0], m = sample[1], y = sample[2], n = sample[3];
    double s0 = projection(stable, candidate, n, m, margin);
    double c0 = s0 + margin;
    if ((candidate > c0) != (candidate - stable > margin))
        return 0.0;
    double k = (candidate - c0) / (c0 * (1.0 - c0)), ratio = m / n;
    if (k > 0) {
        double ours = c0, theirs = ratio * (1.0 - s0);
        double most = NEVER_ALL / (theirs > ours ? theirs : ours);
        k = most < k ? most : k;
    } else {
        double ours = 1.0 - c0, theirs = ratio * s0;
        double most = NEVER_ALL / (theirs > ours ? theirs : ours);
        k = -most > k ? -most : k;
    }
    double back = -k * ratio;
    double won = (m - x) * log1p(-k * c0) + (n - y) * log1p(-back * s0);
    if (x != 0.0)
        won += x * log1p(k * (1.0 - c0));
    if (y != 0.0)
        won += y * log1p(back * (1.0 - s0));
    return won;
}

static double log_capital_of_thinned(const double sample[4], double stable, double candidate, double margin, const Thinned *thinned) {
    double x = sample[0], m = sample[1], y = sample[2], n = sample[3];
    double our_each = thinned->ours, their_each = thinned->theirs, ratio = thinned->ratio;
    double c0 = stable + margin;
    double ours = candidate * (1.0 - c0) * (1.0 - c0) + (1.0 - candidate) * our_each * c0 * c0;
    double theirs = stable * (1.0 - stable) * (1.0 - stable + their_each * stable);
    double k = smaller((candidate - c0) / (ours + ratio * theirs), NEVER_ALL / larger(our_each * c0, ratio * (1.0 - stable)));
    double back = -k * ratio;
    double won = (m - x) / our_each * log1p(-k * our_each * c0) + (n - y) / their_each * log1p(-back * their_each * stable);
    return won + x * log1p(k * (1.0 - c0)) + y * log1p(back * (1.0 - stable));
}

double noise_of(const Thinned *thinned, double share) {
    return 1.0 + (larger(thinned->ours, thinned->theirs) - 1.0) * share;
}

static double log_capital_of_split(const double sample[4], double stable, double candidate) {
    double x = sample[0], m = sample[1], y = sample[2], n = sample[3];
    double odds = candidate * (1.0 - stable) / (stable * (1.0 - candidate));
    double less = 1.0 - odds, events = x + y, total = m + n;
    double by_requests = -m * log1p(-less * (events / total)), by_events = -events * log1p(-less * (m / total));
    return x * log(odds) + (by_events > by_requests ? by_events : by_requests);
}

static double log_capital_against(double events, double total, double alternative, double limit) {
    return events * log(alternative / limit) + (total - events) * log1p((limit - alternative) / (1.0 - limit));
}

/* By what the bet on the candidate's own past divides the log capital of a window of so many requests. */
static double own_divisor(double effect, double total, const Past *past) {
    double learned = LEARNED * (past->candidate_total + GUESSED);
    return total > learned ? effect * total / learned : effect;
}

static void alternatives(double bound, const Past *past, double found[4]) {
    double room = 1.0 - bound, twice = 2.0 * bound, half = bound + 0.5 * room;
    double guess = (past->candidate_events + GUESSED * (half < twice ? half : twice)) / (past->candidate_total + GUESSED);
    double least = bound + 0.01 * room;
    found[0] = inside(guess > least ? guess : least);
    found[1] = inside(bound + SMALL * room);
    found[2] = inside(bound + MEDIUM * room);
    found[3] = inside(bound + LARGE * room);
}

static double harmless(double well, double bound, const Past *past) {
    double own = (past->candidate_events + GUESSED * well) / (past->candidate_total + GUESSED);
    return inside(smaller(larger(own, well), well + 0.7 * (bound - well)));
}

static double mixture(const double *logs, const double *weights, int count) {
    double weighted[4], top = logs[0] + weights[0], total = 0.0;
    for (int i = 0; i < count; i++) {
        weighted[i] = logs[i] + weights[i];
        top = larger(top, weighted[i]);
    }
    for (int i = 0; i < count; i++)
        total += exp(weighted[i] - top);
    return top + log(total);
}

static double largest(const double *values, int count) {
    double found = values[0];
    for (int i = 1; i < count; i++)
        found = larger(found, values[i]);
    return found;
}

static int record(Evidence *e, int safety_weighed) {
    for (int i = 0; i < 4; i++)
        if (!isfinite(e->harm[i]))
            return -1;
    if (!isfinite(e->safety[0]) || !isfinite(e->safety[1]))
        return -1;
    if (largest(e->harm, 4) > e->best_harm - ROUNDING)
        e->best_harm = larger(e->best_harm, mixture(e->harm, harm_weights, 4));
    if (safety_weighed && largest(e->safety, 2) > e->best_safety - ROUNDING)
        e->best_safety = larger(e->best_safety, mixture(e->safety, safety_weights, 2));
    return 0;
}

int weigh(Evidence *e, const double sample[4], const Past *past, double margin, double effect, const double *expected, int proof,
          const Thinned *thinned) {
    double stable = past->stable_total > 0 ? inside((past->stable_events + 0.01) / (past->stable_total + 1.0)) : 0.01;
    double bound = stable + margin;
    if (bound < 1.0 && largest(e->harm, 4) > ABANDONED) {
        double bets[4], own = own_divisor(effect, sample[1], past);
        alternatives(bound, past, bets);
        for (int i = 0; i < 4; i++)
            if (e->harm[i] > ABANDONED && bets[i] > bound)
                e->harm[i] += (thinned == NULL ? log_capital(sample, stable, bets[i], margin)
                                               : log_capital_of_thinned(sample, stable, bets[i], margin, thinned)) /
                              (i == 0 ? own : effect);
    }
    double well = expected == NULL ? stable : inside(*expected);
    int weighed = proof && well < bound;
    if (weighed) {
        double own = harmless(well, bound, past), by = thinned == NULL ? effect : effect * noise_of(thinned, stable);
        e->safety[0] += (margin == 0.0 ? log_capital_of_split(sample, stable, well) : log_capital(sample, stable, well, margin)) / by;
        e->safety[1] += (margin == 0.0 ? log_capital_of_split(sample, stable, own) : log_capital(sample, stable, own, margin)) / by;
    }
    return record(e, weighed);
}

int weigh_against(Evidence *e, double events, double total, const Past *past, double given_limit, double effect, const double proof[2]) {
    if (total <= 0)
        return 0;
    double limit = inside(given_limit);
    if (largest(e->harm, 4) > ABANDONED) {
        double bets[4], own = own_divisor(effect, total, past);
        alternatives(limit, past, bets);
        for (int i = 0; i < 4; i++)
            if (e->harm[i] > ABANDONED)
                e->harm[i] += log_capital_against(events, total, bets[i], limit) / (i == 0 ? own : effect);
    }
    int weighed = 0;
    if (proof != NULL) {
        double least = inside(proof[0]), well = inside(proof[1]);
        weighed = well < least;
        if (weighed) {
            e->safety[0] += log_capital_against(events, total, well, least) / effect;
            e->safety[1] += log_capital_against(events, total, harmless(well, least, past), least) / effect;
        }
    }
    return record(e, weighed);
}

double design_effect(const Scatter *now, const Scatter *past) {
    double squares = now->squares, products = now->products, windows = now->windows;
    if (past->windows != 0.0) {
        double part = past->windows > PAST_WINDOWS ? PAST_WINDOWS / past->windows : 1.0;
        windows = windows + part * past->windows;
        squares = squares + part * past->squares;
        products = products + part * past->products;
    }
    double all = windows + PRIOR_WINDOWS;
    double scatter = (squares + PRIOR_WINDOWS * PRIOR_EFFECT - sqrt(2.0 * windows)) / all;
    double correlation = products / (squares + PRIOR_WINDOWS) - 1.0 / sqrt(all);
    if (!isfinite(scatter) || !isfinite(correlation))
        return NAN;
    double least = scatter > 1.0 ? scatter : 1.0;
    if (correlation <= 0.0)
        return least;
    double lasting = correlation < LARGEST_CORRELATION ? correlation : LARGEST_CORRELATION;
    return least * (1.0 + lasting) / (1.0 - lasting);
}

void scatter_after(Scatter *scatter, double residual) {
    double cut = residual > LARGEST_RESIDUAL ? LARGEST_RESIDUAL : residual < -LARGEST_RESIDUAL ? -LARGEST_RESIDUAL : residual;
    scatter->squares += cut * cut;
    scatter->products += cut * scatter->last;
    scatter->windows += 1.0;
    scatter->last = cut;
}

int residual_of_shares(double x, double m, double y, double n, double x0, double m0, double y0, double n0, double *residual) {
    if (smaller(m, n) <= 0 || smaller(m0, n0) < 1)
        return 0;
    double p = (x0 + x + 0.5) / (m0 + m + 1.0), q = (y0 + y + 0.5) / (n0 + n + 1.0);
    double variance = p * (1.0 - p) * (1.0 / m + 1.0 / m0) + q * (1.0 - q) * (1.0 / n + 1.0 / n0);
    *residual = ((x / m - y / n) - (x0 / m0 - y0 / n0)) / sqrt(variance);
    return isfinite(*residual) ? 1 : -1;
}

int residual_of_share(double x, double m, double x0, double m0, double *residual) {
    if (m <= 0 || m0 < 1)
        return 0;
    double p = (x0 + x + 0.5) / (m0 + m + 1.0);
    *residual = (x / m - x0 / m0) / sqrt(p * (1.0 - p) * (1.0 / m + 1.0 / m0));
    return isfinite(*residual) ? 1 : -1;
}

int residual_of_race(double x, double m, double y, double n, double x0, double m0, double y0, double n0, double *residual) {
    if (smaller(m0, n0) <= 0)
        return 0;
    double ours = (x0 + x + 0.5) / (m0 + m), theirs = (y0 + y + 0.5) / (n0 + n);
    double variance = ours * (1.0 / m + 1.0 / m0) + theirs * (1.0 / n + 1.0 / n0);
    *residual = (x / m - y / n - (x0 / m0 - y0 / n0)) / sqrt(variance);
    return isfinite(*residual) ? 1 : -1;
}
