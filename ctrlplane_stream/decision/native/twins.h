/* The functions in Python that say what is right. Everything in this library gives the bits that its twin gives: the same operations in the
 * same order, the same libm, no contraction (-ffp-contract=off). What a twin would refuse, or treat by a rule of Python's, is left to it. */
#ifndef TWINS_H
#define TWINS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum twin { TWO_ARMS, ONE_ARM, TWO_SIDED, RACE, WITH_SKETCHES, ABOVE, QUANTILE_INTERVAL, TWINS };

/* The answer of the twin in Python. */
PyObject *twin_of(enum twin which, PyObject *const *arguments, Py_ssize_t count);

/* Remember who answers; holds a reference. */
void remember_twin(enum twin which, PyObject *function);

#endif
