/* Latencies by bucket: the twins of judge/histograms.py. Counts are whole numbers, so that the order of sums does not matter; sketches whose
 * buckets lie further apart than durations can, or that are no sketches, are left to the twin. */
#include "buckets.h"
#include "twins.h"

#include <math.h>
#include <string.h>

enum { WIDEST = 8192 };
static const long long MOST = 1LL << 52;
static const double BUCKETS_PER_DOUBLING = 32.0;

static PyObject *BASE, *INDICES, *COUNTS, *ZERO;
static double bucket_ratio;

int prepare_buckets(void) {
    volatile double two = 2.0; /* by libm, as Python does, and not by the compiler */
    bucket_ratio = pow(two, 1.0 / BUCKETS_PER_DOUBLING);
    BASE = PyUnicode_InternFromString("base");
    INDICES = PyUnicode_InternFromString("indices");
    COUNTS = PyUnicode_InternFromString("counts");
    ZERO = PyUnicode_InternFromString("zero");
    return BASE == NULL || INDICES == NULL || COUNTS == NULL || ZERO == NULL ? -1 : 0;
}

/* A whole number small enough for sums of many; returns 0, or -1 for anything else. What one digit holds is read at once: nearly all are. */
static inline int whole(PyObject *value, long long *into) {
    int overflow = 0;
#if PY_VERSION_HEX >= 0x030C0000
    if (PyLong_CheckExact(value) && PyUnstable_Long_IsCompact((const PyLongObject *)value)) {
        *into = PyUnstable_Long_CompactValue((const PyLongObject *)value);
        return 0;
    }
#else
    if (PyLong_CheckExact(value) && Py_SIZE(value) >= 0 && Py_SIZE(value) <= 1) {
        *into = Py_SIZE(value) ? (long long)((const PyLongObject *)value)->ob_digit[0] : 0;
        return 0;
    }
#endif
    if (!PyLong_Check(value))
        return -1;
    *into = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow || *into > MOST || *into < -MOST ? -1 : 0;
}

static int whole_of(PyObject *from, PyObject *name, long long *into) {
    PyObject *value = PyObject_GetAttr(from, name);
    int failed = value == NULL || whole(value, into) < 0;
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

static PyObject *tuple_of(PyObject *from, PyObject *name) {
    PyObject *value = PyObject_GetAttr(from, name);
    if (value != NULL && !PyTuple_Check(value))
        Py_CLEAR(value);
    return value;
}

typedef struct {
    PyObject *indices, *counts;
    Py_ssize_t size;
    long long zero;
} Sketch;

static void close_sketch(Sketch *sketch) {
    Py_CLEAR(sketch->indices);
    Py_CLEAR(sketch->counts);
}

/* Holds a sketch's parts until `close_sketch`. Returns 0, or -1, and holds nothing, where the twin is to answer. */
static int open_sketch(PyObject *from, Sketch *sketch) {
    sketch->indices = tuple_of(from, INDICES);
    sketch->counts = tuple_of(from, COUNTS);
    sketch->size = sketch->indices == NULL ? 0 : PyTuple_GET_SIZE(sketch->indices);
    if (sketch->indices != NULL && sketch->counts != NULL && PyTuple_GET_SIZE(sketch->counts) == sketch->size &&
        whole_of(from, ZERO, &sketch->zero) == 0)
        return 0;
    close_sketch(sketch);
    return -1;
}

/* Counts of the buckets `first` to `last`; of none while `last` is below `first`. */
typedef struct {
    long long first, last, zero;
    long long counts[WIDEST];
} Sum;

static int empty(const Sum *sum) { return sum->last < sum->first; }

static int make_room(Sum *sum, long long first, long long last) {
    if (empty(sum)) {
        sum->first = first;
        sum->last = first - 1;
    }
    long long low = first < sum->first ? first : sum->first, high = last > sum->last ? last : sum->last;
    if (high - low >= WIDEST)
        return -1;
    size_t before = (size_t)(sum->first - low), held = (size_t)(sum->last - sum->first + 1), after = (size_t)(high - sum->last);
    memmove(sum->counts + before, sum->counts, held * sizeof *sum->counts);
    memset(sum->counts, 0, before * sizeof *sum->counts);
    memset(sum->counts + before + held, 0, after * sizeof *sum->counts);
    sum->first = low;
    sum->last = high;
    return 0;
}

static int add_buckets(Sum *sum, const Sketch *sketch) {
    long long first, last, at, count;
    sum->zero += sketch->zero;
    if (sketch->size == 0)
        return 0;
    if (whole(PyTuple_GET_ITEM(sketch->indices, 0), &first) < 0 ||
        whole(PyTuple_GET_ITEM(sketch->indices, sketch->size - 1), &last) < 0 || last < first || make_room(sum, first, last) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < sketch->size; i++) {
        if (whole(PyTuple_GET_ITEM(sketch->indices, i), &at) < 0 || whole(PyTuple_GET_ITEM(sketch->counts, i), &count) < 0 || at < first ||
            at > last)
            return -1;
        sum->counts[at - sum->first] += count;
    }
    return 0;
}

static int add_sketch(Sum *sum, PyObject *from) {
    Sketch sketch;
    if (open_sketch(from, &sketch) < 0)
        return -1;
    int result = add_buckets(sum, &sketch);
    close_sketch(&sketch);
    return result;
}

/* Puts a histogram into an empty sum. */
static int add_histogram(Sum *sum, PyObject *histogram) {
    long long base = 0;
    PyObject *counts = tuple_of(histogram, COUNTS);
    Py_ssize_t size = counts == NULL ? 0 : PyTuple_GET_SIZE(counts);
    int failed = counts == NULL || whole_of(histogram, ZERO, &sum->zero) < 0 || whole_of(histogram, BASE, &base) < 0 ||
                 (size && make_room(sum, base, base + size - 1) < 0);
    for (Py_ssize_t i = 0; !failed && i < size; i++)
        failed = whole(PyTuple_GET_ITEM(counts, i), sum->counts + i) < 0;
    Py_XDECREF(counts);
    return failed ? -1 : 0;
}

static PyObject *counts_of(const Sum *sum) {
    PyObject *counts = PyTuple_New((Py_ssize_t)(sum->last - sum->first + 1));
    for (long long at = 0; counts != NULL && at <= sum->last - sum->first; at++) {
        PyObject *count = PyLong_FromLongLong(sum->counts[at]);
        if (count == NULL)
            Py_CLEAR(counts);
        else
            PyTuple_SET_ITEM(counts, (Py_ssize_t)at, count);
    }
    if (counts != NULL)
        PyObject_GC_UnTrack(counts); /* numbers make no cycles */
    return counts;
}

/* A histogram of the class of another. */
static PyObject *histogram_like(PyObject *other, const Sum *sum) {
    PyObject *parts[4] = {NULL, PyLong_FromLongLong(sum->first), counts_of(sum), PyLong_FromLongLong(sum->zero)}, *found = NULL;
    if (parts[1] != NULL && parts[2] != NULL && parts[3] != NULL)
        found = PyObject_Vectorcall((PyObject *)Py_TYPE(other), parts + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    for (int i = 1; i < 4; i++)
        Py_XDECREF(parts[i]);
    return found;
}

/* with_sketches(histogram, sketches) */
PyObject *with_sketches(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    Sum sum;
    sum.first = 0, sum.last = -1, sum.zero = 0;
    int failed = count != 2 || !PyList_Check(arguments[1]) || add_histogram(&sum, arguments[0]) < 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(arguments[1]); i++)
        failed = add_sketch(&sum, PyList_GET_ITEM(arguments[1], i)) < 0;
    PyErr_Clear();
    /* Where no bucket is filled nothing was added up, and what is to be kept of the old one the twin knows. */
    return failed || empty(&sum) ? twin_of(WITH_SKETCHES, arguments, count) : histogram_like(arguments[0], &sum);
}

/* Adds the counts above a bucket of one sketch, and all its counts; its buckets ascend. */
static int add_above(const Sketch *sketch, long long bucket, long long *slow, long long *total) {
    long long at, count;
    Py_ssize_t low = 0, high = sketch->size;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (whole(PyTuple_GET_ITEM(sketch->indices, middle), &at) < 0)
            return -1;
        if (bucket < at)
            high = middle;
        else
            low = middle + 1;
    }
    *total += sketch->zero;
    for (Py_ssize_t i = 0; i < sketch->size; i++) {
        if (whole(PyTuple_GET_ITEM(sketch->counts, i), &count) < 0)
            return -1;
        *total += count;
        *slow += i < low ? 0 : count;
    }
    return 0;
}

/* above(sketches, bucket): how many lie above it, and how many there are */
PyObject *above(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    long long bucket = 0, slow = 0, total = 0;
    Sketch sketch;
    int failed = count != 2 || !PyList_Check(arguments[0]) || whole(arguments[1], &bucket) < 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(arguments[0]); i++) {
        failed = open_sketch(PyList_GET_ITEM(arguments[0], i), &sketch) < 0;
        if (!failed) {
            failed = add_above(&sketch, bucket, &slow, &total) < 0;
            close_sketch(&sketch);
        }
    }
    PyErr_Clear();
    if (failed)
        return twin_of(ABOVE, arguments, count);
    PyObject *parts[2] = {PyFloat_FromDouble((double)slow), PyFloat_FromDouble((double)total)}, *found = NULL;
    if (parts[0] != NULL && parts[1] != NULL)
        found = PyTuple_Pack(2, parts[0], parts[1]);
    Py_XDECREF(parts[0]);
    Py_XDECREF(parts[1]);
    return found;
}

/* The milliseconds that stand for a bucket; not finite where no duration is so long. */
static double milliseconds(long long bucket) {
    double low = exp2((double)bucket / BUCKETS_PER_DOUBLING), high = low * bucket_ratio;
    return 2.0 * low * high / (low + high) / 1000.0;
}

/* Makes running totals of counts. Returns 0, or -1 where one is negative. */
static int add_up(Sum *sum) {
    long long reached = sum->zero;
    for (long long at = 0; at <= sum->last - sum->first; at++) {
        if (sum->counts[at] < 0)
            return -1;
        reached = sum->counts[at] += reached;
    }
    return sum->zero < 0 ? -1 : 0;
}

/* The quantile of running totals, in milliseconds; -1 where there is none, not finite where the twin is to answer. */
static double quantile(const Sum *sum, long long total, double q) {
    if (!(q >= 0.0 && q < 1.0))
        return -1.0;
    double rank = q * (double)(total - 1);
    if (rank < (double)sum->zero)
        return 0.0;
    long long low = 0, high = sum->last - sum->first + 1;
    while (low < high) {
        long long middle = (low + high) / 2;
        if (rank < (double)sum->counts[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return milliseconds(sum->first + low);
}

static PyObject *found_quantiles(long long total, const double *quantiles) {
    PyObject *parts[4] = {PyLong_FromLongLong(total)}, *found = NULL;
    for (int i = 0; i < 3; i++)
        parts[1 + i] = quantiles[i] < 0.0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(quantiles[i]);
    if (parts[0] != NULL && parts[1] != NULL && parts[2] != NULL && parts[3] != NULL)
        found = PyTuple_Pack(4, parts[0], parts[1], parts[2], parts[3]);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(parts[i]);
    return found;
}

/* quantile_interval(histogram, q, nats, tuning, design_effect) */
PyObject *quantile_interval(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    Sum sum;
    sum.first = 0, sum.last = -1, sum.zero = 0;
    double given[4] = {0.0};
    for (Py_ssize_t i = 1; i < count && i < 5; i++)
        given[i - 1] = PyFloat_AsDouble(arguments[i]);
    int failed = count != 5 || PyErr_Occurred() || add_histogram(&sum, arguments[0]) < 0 || add_up(&sum) < 0;
    PyErr_Clear();
    if (failed)
        return twin_of(QUANTILE_INTERVAL, arguments, count);
    long long size = sum.last - sum.first + 1, total = size ? sum.counts[size - 1] : sum.zero;
    double found[3] = {-1.0, -1.0, -1.0};
    if (total > 0) {
        double q = given[0], error = sqrt(given[3] * q * (1.0 - q) / (double)total);
        volatile double two = 2.0; /* a power, as in Python: not x * x, which may differ in its last bit */
        double k = pow(0.25 * (1.0 - q) / error, two) * given[2];
        double half = error * sqrt((1.0 + 1.0 / k) * (given[1] + log1p(k))), low = q - half;
        if (!isfinite(half))
            return twin_of(QUANTILE_INTERVAL, arguments, count);
        found[0] = quantile(&sum, total, low > 0.0 ? low : 0.0);
        found[1] = quantile(&sum, total, q);
        found[2] = quantile(&sum, total, q + half);
        if (!isfinite(found[0]) || !isfinite(found[1]) || !isfinite(found[2]))
            return twin_of(QUANTILE_INTERVAL, arguments, count);
    }
    return found_quantiles(total, found);
}
