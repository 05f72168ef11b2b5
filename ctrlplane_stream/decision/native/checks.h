/* One check, one more window: the twins of judge/evidence.py. */
#ifndef CHECKS_H
#define CHECKS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int prepare_checks(void);

PyObject *two_arms(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *one_arm(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *two_sided(PyObject *self, PyObject *const *arguments, Py_ssize_t count);
PyObject *race(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

#endif
