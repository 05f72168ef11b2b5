/* The module: its functions, and their twins. */
#include "judging.h"
#include "weighing.h"

static PyObject *twins[TWINS];

PyObject *twin_of(enum twin which, PyObject *const *arguments, Py_ssize_t count) {
    if (twins[which] == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "no twin in Python was named");
        return NULL;
    }
    return PyObject_Vectorcall(twins[which], arguments, (size_t)count, NULL);
}

#define FAST(function) {#function, (PyCFunction)(void (*)(void))function, METH_FASTCALL, NULL}

static PyObject *name_twin(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

/* In the order of `enum twin` first. */
static PyMethodDef methods[] = {
    FAST(two_arms),
    FAST(one_arm),
    FAST(two_sided),
    FAST(race),
    FAST(with_sketches),
    FAST(above),
    FAST(quantile_interval),
    FAST(name_twin),
    {NULL, NULL, 0, NULL},
};

/* name_twin(name, function): what answers where the function of this name does not. */
static PyObject *name_twin(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    (void)self;
    for (int i = 0; count == 2 && PyUnicode_Check(arguments[0]) && i < TWINS; i++)
        if (PyUnicode_CompareWithASCIIString(arguments[0], methods[i].ml_name) == 0) {
            Py_XSETREF(twins[i], Py_NewRef(arguments[1]));
            Py_RETURN_NONE;
        }
    PyErr_SetString(PyExc_TypeError, "give the name of a function of this module, and its twin");
    return NULL;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "judging", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_judging(void) {
    prepare_weighing();
    if (prepare_checks() < 0 || prepare_buckets() < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddStringConstant(module, "source_hash", SOURCE_HASH) < 0)
        Py_CLEAR(module);
    return module;
}
