/* The statistics of one window, on plain numbers. */
#ifndef WEIGHING_H
#define WEIGHING_H

typedef struct {
    double harm[4], safety[2], best_harm, best_safety;
} Evidence;

typedef struct {
    double candidate_events, candidate_total, stable_events, stable_total;
} Past;

typedef struct {
    double squares, products, windows, last;
} Scatter;

/* How successes were sampled: what a kept one of the candidate's and of stable's stands for, and the candidate requests to each of stable's
 * that are to be expected. */
typedef struct {
    double ours, theirs, ratio;
} Thinned;

void prepare_weighing(void);

/* A window of two arms (candidate events and total, stable's; both totals positive) into evidence; `expected` and `thinned` may be NULL.
 * Returns 0, or -1 where a number came out that is none. */
int weigh(Evidence *e, const double sample[4], const Past *past, double margin, double effect, const double *expected, int proof,
          const Thinned *thinned);

/* By how much more than a share of requests that were all seen one with an estimated total scatters. */
double noise_of(const Thinned *thinned, double share);

/* The same of one arm against a fixed share; `proof` (floor and expected share) may be NULL. */
int weigh_against(Evidence *e, double events, double total, const Past *past, double limit, double effect, const double proof[2]);

/* At least 1, or NAN. */
double design_effect(const Scatter *now, const Scatter *past);

void scatter_after(Scatter *scatter, double residual);

/* Each returns 1 with a residual, 0 where there is none, -1 where it is no number. */
int residual_of_shares(double x, double m, double y, double n, double x0, double m0, double y0, double n0, double *residual);
int residual_of_share(double x, double m, double x0, double m0, double *residual);
int residual_of_race(double x, double m, double y, double n, double x0, double m0, double y0, double n0, double *residual);

#endif
