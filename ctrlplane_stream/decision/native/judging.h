/* What the parts of the library share. Everything here gives the bits that its twin in Python gives: the same operations in the same order,
 * the same libm, no contraction (-ffp-contract=off). What a twin would refuse, or treat by a rule of Python's, is left to the twin. */
#ifndef JUDGING_H
#define JUDGING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum twin { TWO_ARMS, ONE_ARM, TWO_SIDED, RACE, WITH_SKETCHES, ABOVE, QUANTILE_INTERVAL, TWINS };

/* The answer of the twin in Python. */
PyObject *twin_of(enum twin which, PyObject *const *arguments, Py_ssize_t count);

int prepare_checks(void);
int prepare_buckets(void);

PyObject *two_arms(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *one_arm(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *two_sided(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *race(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *with_sketches(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *above(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *quantile_interval(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

#endif
