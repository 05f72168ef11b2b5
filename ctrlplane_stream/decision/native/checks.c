/* One check, one more window: the twins of judge/evidence.py. Reads a CheckState, weighs, and makes the next one of the same classes. */
#include "checks.h"
#include "twins.h"
#include "weighing.h"

#include <math.h>

enum {
    EVIDENCE,
    OPPOSITE,
    SCATTER,
    CANDIDATE,
    STABLE,
    WINDOWS,
    TAIL,
    BOUNDS,
    EDGES,
    EFFECT,
    CHECK_FIELDS, /* so far the fields of a CheckState, in its order */
    HARM = CHECK_FIELDS,
    SAFETY,
    BEST_HARM,
    BEST_SAFETY,
    EVENTS,
    TOTAL,
    SQUARES,
    PRODUCTS,
    LAST,
    FLOOR,
    EXPECTED,
    LIMIT,
    NAMES
};

static const char *const texts[NAMES] = {"evidence", "opposite", "scatter",       "candidate",  "stable", "windows",     "tail",   "bounds",
                                         "edges",    "design_effect", "harm",     "safety",     "best_harm", "best_safety", "events", "total",
                                         "squares",  "products", "last",          "floor",      "expected", "limit"};
static PyObject *names[NAMES];

int prepare_checks(void) {
    for (int i = 0; i < NAMES; i++)
        if ((names[i] = PyUnicode_InternFromString(texts[i])) == NULL)
            return -1;
    return 0;
}

static int number_of(PyObject *from, int name, double *into) {
    PyObject *value = PyObject_GetAttr(from, names[name]);
    if (value == NULL)
        return -1;
    *into = PyFloat_AsDouble(value);
    Py_DECREF(value);
    return PyErr_Occurred() ? -1 : 0;
}

static int numbers_of(PyObject *from, int name, int count, double *into) {
    PyObject *tuple = PyObject_GetAttr(from, names[name]);
    int failed = tuple == NULL || !PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != count;
    for (int i = 0; !failed && i < count; i++) {
        into[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(tuple, i));
        failed = PyErr_Occurred() != NULL;
    }
    Py_XDECREF(tuple);
    return failed ? -1 : 0;
}

static int counts_of(PyObject *from, double into[2]) { return number_of(from, EVENTS, into) < 0 ? -1 : number_of(from, TOTAL, into + 1); }

static int scatter_of(PyObject *from, Scatter *into) {
    return number_of(from, SQUARES, &into->squares) < 0 || number_of(from, PRODUCTS, &into->products) < 0 ||
                   number_of(from, WINDOWS, &into->windows) < 0 || number_of(from, LAST, &into->last) < 0
               ? -1
               : 0;
}

static int evidence_of(PyObject *from, Evidence *into) {
    return numbers_of(from, HARM, 4, into->harm) < 0 || numbers_of(from, SAFETY, 2, into->safety) < 0 ||
                   number_of(from, BEST_HARM, &into->best_harm) < 0 || number_of(from, BEST_SAFETY, &into->best_safety) < 0
               ? -1
               : 0;
}

/* A check as it is read: its fields, to be let go, and the numbers in them. */
typedef struct {
    PyObject *fields[CHECK_FIELDS];
    Evidence evidence;
    Scatter scatter;
    double candidate[2], stable[2];
} Check;

static void close_check(Check *check) {
    for (int i = 0; i < CHECK_FIELDS; i++)
        Py_CLEAR(check->fields[i]);
}

/* Returns 0, or -1 where the twin is to answer; to be closed either way. */
static int open_check(PyObject *from, Check *check) {
    int failed = 0;
    for (int i = 0; i < CHECK_FIELDS; i++)
        failed |= (check->fields[i] = PyObject_GetAttr(from, names[i])) == NULL;
    return failed || evidence_of(check->fields[EVIDENCE], &check->evidence) < 0 || scatter_of(check->fields[SCATTER], &check->scatter) < 0 ||
                   counts_of(check->fields[CANDIDATE], check->candidate) < 0 || counts_of(check->fields[STABLE], check->stable) < 0
               ? -1
               : 0;
}

/* Puts an object of the class of another into a field; `parts` are new references, which it takes. */
static int put_like(PyObject *other, PyObject **parts, int count, PyObject **field) {
    PyObject *made = NULL;
    int complete = 1;
    for (int i = 0; i < count; i++)
        complete &= parts[i] != NULL;
    if (complete)
        made = PyObject_Vectorcall((PyObject *)Py_TYPE(other), parts, (size_t)count, NULL);
    for (int i = 0; i < count; i++)
        Py_XDECREF(parts[i]);
    if (made == NULL)
        return -1;
    Py_XSETREF(*field, made);
    return 0;
}

static PyObject *tuple_of(const double *values, int count) {
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; tuple != NULL && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (value == NULL)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, value);
    }
    if (tuple != NULL)
        PyObject_GC_UnTrack(tuple); /* numbers make no cycles */
    return tuple;
}

static int put_evidence(PyObject *like, const Evidence *e, PyObject **field) {
    PyObject *parts[] = {tuple_of(e->harm, 4), tuple_of(e->safety, 2), PyFloat_FromDouble(e->best_harm), PyFloat_FromDouble(e->best_safety)};
    return put_like(like, parts, 4, field);
}

static int put_sum(const double before[2], const double more[2], PyObject **field) {
    PyObject *parts[] = {PyFloat_FromDouble(before[0] + more[0]), PyFloat_FromDouble(before[1] + more[1])};
    return put_like(*field, parts, 2, field);
}

static int put_scatter(const Scatter *s, PyObject **field) {
    PyObject *parts[] = {PyFloat_FromDouble(s->squares), PyFloat_FromDouble(s->products), PyFloat_FromDouble(s->windows),
                         PyFloat_FromDouble(s->last)};
    return put_like(*field, parts, 4, field);
}

/* The next state, of which evidence, opposite and edges are set: counts, scatter and windows go on. `stable` may be NULL. */
static PyObject *next_check(PyObject *state, Check *check, const double candidate[2], const double *stable, const double *residual,
                            double effect) {
    PyObject **fields = check->fields, *next = NULL, *one = PyLong_FromLong(1);
    int failed = one == NULL || put_sum(check->candidate, candidate, &fields[CANDIDATE]) < 0 ||
                 (stable != NULL && put_sum(check->stable, stable, &fields[STABLE]) < 0);
    if (residual != NULL) {
        scatter_after(&check->scatter, *residual);
        failed = failed || put_scatter(&check->scatter, &fields[SCATTER]) < 0;
    }
    Py_XSETREF(fields[WINDOWS], failed ? NULL : PyNumber_Add(fields[WINDOWS], one));
    Py_XSETREF(fields[EFFECT], PyFloat_FromDouble(effect));
    if (!failed && fields[WINDOWS] != NULL && fields[EFFECT] != NULL)
        next = PyObject_Vectorcall((PyObject *)Py_TYPE(state), fields, CHECK_FIELDS, NULL);
    Py_XDECREF(one);
    return next;
}

/* two_arms(state, candidate, stable, margin, prior, scatter, expected, proof, edges, thinned) */
static PyObject *of_two_arms(PyObject *const *arguments, Check *check) {
    double candidate[2], stable[2], prior[2], margin = PyFloat_AsDouble(arguments[3]), expected = 0.0, residual = 0.0;
    Scatter scatter;
    Thinned thinned, *sampled = arguments[9] == Py_None ? NULL : &thinned;
    if (sampled != NULL && !PyArg_ParseTuple(arguments[9], "ddd", &thinned.ours, &thinned.theirs, &thinned.ratio))
        return NULL;
    if (PyErr_Occurred() || open_check(arguments[0], check) < 0 || counts_of(arguments[1], candidate) < 0 ||
        counts_of(arguments[2], stable) < 0 || counts_of(arguments[4], prior) < 0 || scatter_of(arguments[5], &scatter) < 0 ||
        !PyBool_Check(arguments[7]) || candidate[1] <= 0 || stable[1] <= 0)
        return NULL;
    if (arguments[6] != Py_None && (expected = PyFloat_AsDouble(arguments[6])) == -1.0 && PyErr_Occurred())
        return NULL;
    double sample[] = {candidate[0], candidate[1], stable[0], stable[1]};
    Past past = {check->candidate[0], check->candidate[1], prior[0] + check->stable[0], prior[1] + check->stable[1]};
    double effect = design_effect(&check->scatter, &scatter);
    int known = residual_of_shares(sample[0], sample[1], sample[2], sample[3], check->candidate[0], check->candidate[1], check->stable[0],
                                   check->stable[1], &residual);
    if (sampled != NULL)
        residual = residual / sqrt(noise_of(sampled, (check->candidate[0] + check->stable[0] + sample[0] + sample[2]) /
                                                         (check->candidate[1] + check->stable[1] + sample[1] + sample[3])));
    if (isnan(effect) || known < 0 || !isfinite(residual) ||
        weigh(&check->evidence, sample, &past, margin, effect, arguments[6] == Py_None ? NULL : &expected, arguments[7] == Py_True,
              sampled) < 0 ||
        put_evidence(check->fields[EVIDENCE], &check->evidence, &check->fields[EVIDENCE]) < 0)
        return NULL;
    if (arguments[8] != Py_None)
        Py_XSETREF(check->fields[EDGES], Py_NewRef(arguments[8]));
    return next_check(arguments[0], check, candidate, stable, known ? &residual : NULL, effect);
}

/* one_arm(state, candidate, scatter, proof), against the state's bounds */
static PyObject *of_one_arm(PyObject *const *arguments, Check *check) {
    double candidate[2], bounds[2], limit, residual = 0.0;
    Scatter scatter;
    if (open_check(arguments[0], check) < 0 || counts_of(arguments[1], candidate) < 0 || scatter_of(arguments[2], &scatter) < 0 ||
        !PyBool_Check(arguments[3]) || check->fields[BOUNDS] == Py_None || number_of(check->fields[BOUNDS], FLOOR, bounds) < 0 ||
        number_of(check->fields[BOUNDS], EXPECTED, bounds + 1) < 0 || number_of(check->fields[BOUNDS], LIMIT, &limit) < 0 ||
        candidate[1] <= 0 || limit >= 1.0)
        return NULL;
    Past past = {check->candidate[0], check->candidate[1], 0.0, 0.0};
    double effect = design_effect(&check->scatter, &scatter);
    int known = residual_of_share(candidate[0], candidate[1], check->candidate[0], check->candidate[1], &residual);
    if (isnan(effect) || known < 0 ||
        weigh_against(&check->evidence, candidate[0], candidate[1], &past, limit, effect, arguments[3] == Py_True ? bounds : NULL) < 0 ||
        put_evidence(check->fields[EVIDENCE], &check->evidence, &check->fields[EVIDENCE]) < 0)
        return NULL;
    return next_check(arguments[0], check, candidate, NULL, known ? &residual : NULL, effect);
}

/* two_sided(state, candidate, stable, most, least, scatter): counts of all, the candidate's among them, and the others'. */
static PyObject *of_two_sided(PyObject *const *arguments, Check *check) {
    double seen[2], given[3], residual = 0.0;
    Scatter scatter;
    Evidence opposite = {{0.0, 0.0, 0.0, 0.0}, {0.0, 0.0}, 0.0, 0.0};
    for (int i = 0; i < 3; i++)
        given[i] = PyFloat_AsDouble(arguments[2 + i]);
    if (PyErr_Occurred() || open_check(arguments[0], check) < 0 || counts_of(arguments[1], seen) < 0 ||
        scatter_of(arguments[5], &scatter) < 0 || seen[1] <= 0)
        return NULL;
    if (check->fields[OPPOSITE] != Py_None && evidence_of(check->fields[OPPOSITE], &opposite) < 0)
        return NULL;
    const double *before = check->candidate;
    Past past = {before[0], before[1], 0.0, 0.0}, missing = {before[1] - before[0], before[1], 0.0, 0.0};
    double effect = design_effect(&check->scatter, &scatter);
    int known = residual_of_share(seen[0], seen[1], before[0], before[1], &residual);
    if (isnan(effect) || known < 0 || weigh_against(&check->evidence, seen[0], seen[1], &past, given[1], effect, NULL) < 0 ||
        weigh_against(&opposite, given[0], seen[1], &missing, 1.0 - given[2], effect, NULL) < 0 ||
        put_evidence(check->fields[EVIDENCE], &opposite, &check->fields[OPPOSITE]) < 0 ||
        put_evidence(check->fields[EVIDENCE], &check->evidence, &check->fields[EVIDENCE]) < 0)
        return NULL;
    return next_check(arguments[0], check, seen, NULL, known ? &residual : NULL, effect);
}

/* Earlier calls as if both arms had had requests in this window's proportion. */
static Past raced(const double ours[2], const double theirs[2], double m, double n) {
    Past past = {0.0, 0.0, 0.0, 0.0};
    if (ours[1] <= 0 || theirs[1] <= 0)
        return past;
    double a = ours[0] / ours[1] * m, b = theirs[0] / theirs[1] * n, calls = ours[0] + theirs[0];
    if (a + b > 0) {
        past.candidate_events = calls * a / (a + b);
        past.candidate_total = calls;
    }
    return past;
}

/* race(state, candidate, stable, ratio, noise, scatter) */
static PyObject *of_race(PyObject *const *arguments, Check *check) {
    double candidate[2], stable[2], residual = 0.0, ratio = PyFloat_AsDouble(arguments[3]), noise = PyFloat_AsDouble(arguments[4]);
    Scatter scatter;
    Evidence opposite = {{0.0, 0.0, 0.0, 0.0}, {0.0, 0.0}, 0.0, 0.0};
    if (PyErr_Occurred() || open_check(arguments[0], check) < 0 || counts_of(arguments[1], candidate) < 0 ||
        counts_of(arguments[2], stable) < 0 || scatter_of(arguments[5], &scatter) < 0 || candidate[1] <= 0 || stable[1] <= 0)
        return NULL;
    if (check->fields[OPPOSITE] != Py_None && evidence_of(check->fields[OPPOSITE], &opposite) < 0)
        return NULL;
    double x = candidate[0], m = candidate[1], y = stable[0], n = stable[1], effect = design_effect(&check->scatter, &scatter) * noise;
    double most = m * ratio / (m * ratio + n), least = m / (m + n * ratio);
    Past past = raced(check->candidate, check->stable, m, n);
    Past missing = {past.candidate_total - past.candidate_events, past.candidate_total, 0.0, 0.0};
    int known = residual_of_race(x, m, y, n, check->candidate[0], check->candidate[1], check->stable[0], check->stable[1], &residual);
    residual = residual / sqrt(noise);
    if (isnan(effect) || known < 0 || !isfinite(residual) || x + y <= 0 ||
        weigh_against(&check->evidence, x, x + y, &past, most, effect, NULL) < 0 ||
        weigh_against(&opposite, y, x + y, &missing, 1.0 - least, effect, NULL) < 0 ||
        put_evidence(check->fields[EVIDENCE], &opposite, &check->fields[OPPOSITE]) < 0 ||
        put_evidence(check->fields[EVIDENCE], &check->evidence, &check->fields[EVIDENCE]) < 0)
        return NULL;
    return next_check(arguments[0], check, candidate, stable, known ? &residual : NULL, effect);
}

static PyObject *answered(enum twin which, PyObject *(*by)(PyObject *const *, Check *), Py_ssize_t wanted, PyObject *const *arguments,
                          Py_ssize_t count) {
    Check check = {.fields = {NULL}};
    PyObject *found = count == wanted ? by(arguments, &check) : NULL;
    close_check(&check);
    if (found != NULL)
        return found;
    PyErr_Clear();
    return twin_of(which, arguments, count);
}

PyObject *two_arms(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    return answered(TWO_ARMS, of_two_arms, 10, arguments, count);
}

PyObject *one_arm(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    return answered(ONE_ARM, of_one_arm, 4, arguments, count);
}

PyObject *two_sided(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    return answered(TWO_SIDED, of_two_sided, 6, arguments, count);
}

PyObject *race(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    return answered(RACE, of_race, 6, arguments, count);
}
