/* The module: its functions. */
#include "buckets.h"
#include "checks.h"
#include "twins.h"
#include "weighing.h"

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
            remember_twin((enum twin)i, arguments[1]);
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
