/* What `_body.c` takes from `_hash.c`. */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

PyObject *inner_hash_blocks(PyObject *module, PyObject *const *args, Py_ssize_t given);
