/* Tuples out of what was just made; `Py_BuildValue` reads its format anew each time. */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* A tuple of `items`, which this takes; NULL, with the exception there is, if one is NULL. */
static inline PyObject *tuple_of(Py_ssize_t count, PyObject *const *items)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t n = 0; n < count; n++)
        if (tuple == NULL || items[n] == NULL) {
            Py_XDECREF(items[n]);
            Py_CLEAR(tuple);
        } else if (PyTuple_SetItem(tuple, n, items[n]) < 0) {
            Py_CLEAR(tuple);
        }
    return tuple;
}
