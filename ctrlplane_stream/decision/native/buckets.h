/* Latencies by bucket: the twins of judge/histograms.py. */
#ifndef BUCKETS_H
#define BUCKETS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int prepare_buckets(void);

PyObject *with_sketches(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *above(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *quantile_interval(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

#endif
