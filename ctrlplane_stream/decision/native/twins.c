/* The functions in Python that answer where C leaves it to them. */
#include "twins.h"

static PyObject *twins[TWINS];

PyObject *twin_of(enum twin which, PyObject *const *arguments, Py_ssize_t count) {
    if (twins[which] == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no twin in Python was named");
        return NULL;
    }
    return PyObject_Vectorcall(twins[which], arguments, (size_t)count, NULL);
}

void remember_twin(enum twin which, PyObject *function) { Py_XSETREF(twins[which], Py_NewRef(function)); }
