/* One client's row of the journal, in C; row.py is its twin and says what it means.
 * Only the limited API of CPython 3.11 is used: one build serves every later version. */

#define _GNU_SOURCE
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, IDLE, WAITING, WAITING_AGAIN, ANSWERING };
enum { RETURNED_BYTES = 8 * 1024 };

typedef struct {
    PyObject_HEAD
    Py_buffer memory;
    uint64_t *taken, *kept, *file, *written, *whole;
    uint8_t *state;
    char *place;
    size_t room;
} Row;

/* Stores before it are done when the process is killed after it: the compiler keeps the order. */
static void in_order(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void row_dealloc(Row *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->memory.obj != NULL)
        PyBuffer_Release(&self->memory);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int row_init(Row *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *memory;
    Py_ssize_t number, rows, room;
    if (!PyArg_ParseTuple(args, "Onnn", &memory, &number, &rows, &room))
        return -1;
    if (self->memory.obj != NULL) {
        PyErr_SetString(PyExc_TypeError, "a row has one place");
        return -1;
    }
    if (PyObject_GetBuffer(memory, &self->memory, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0)
        return -1;
    if (room < 0 || room > PY_SSIZE_T_MAX - 41 || number < 0 || number >= rows ||
        self->memory.len / (41 + room) < rows) {
        PyErr_SetString(PyExc_ValueError, "there is no such row");
        return -1;
    }
    uint64_t *words = self->memory.buf;
    self->taken = words + number;
    self->kept = words + rows + number;
    self->file = words + 2 * rows + number;
    self->written = words + 3 * rows + number;
    self->whole = words + 4 * rows + number;
    self->state = (uint8_t *)(words + 5 * rows) + number;
    self->place = (char *)(words + 5 * rows) + rows + number * room;
    self->room = (size_t)room;
    return 0;
}

static PyObject *row_state(Row *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(*self->state);
}

static PyObject *row_open(Row *self, PyObject *taken)
{
    uint64_t value = PyLong_AsUnsignedLongLong(taken);
    if (PyErr_Occurred())
        return NULL;
    *self->taken = value;
    in_order();
    *self->state = IDLE;
    Py_RETURN_NONE;
}

static int write_at(int file, const char *data, size_t size, uint64_t offset)
{
    return pwrite(file, data, size, (off_t)offset) == (ssize_t)size;
}

/* Write to the row's own file; 0: there is no room for it. */
static int spill(Row *self, uint64_t before, const char *data, size_t size)
{
    if (*self->file == 0) {
        int file = memfd_create("sglrouter-request", MFD_CLOEXEC);
        if (file <= 0) { /* 0 would mean that there is none */
            if (file == 0)
                close(file);
            return 0;
        }
        *self->file = (uint64_t)file;
        if (!write_at(file, self->place, (size_t)before, 0))
            return 0;
    }
    return write_at((int)*self->file, data, size, before);
}

static void give_back(Row *self)
{
    if (*self->file != 0) {
        close((int)*self->file);
        *self->file = 0;
    }
    (void)madvise(self->place, self->room, MADV_REMOVE); /* where pages are larger, it stays */
}

/* The request's bytes are of no use in `state`. */
static void forget(Row *self, uint8_t state)
{
    *self->state = state;
    in_order();
    if (*self->kept > RETURNED_BYTES)
        give_back(self);
    *self->kept = 0;
}

static void keep(Row *self, uint64_t before, const char *data, size_t size)
{
    if (before <= self->room && size <= self->room - before)
        memcpy(self->place + before, data, size);
    else if (!spill(self, before, data, size)) {
        *self->kept = RETURNED_BYTES + 1;
        forget(self, NONE);
        return;
    }
    in_order();
    *self->kept = before + size;
    in_order();
    if (*self->state < WAITING)
        *self->state = WAITING;
}

static PyObject *row_took(Row *self, PyObject *given)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(given, &data, &size) < 0)
        return NULL;
    if (*self->state == ANSWERING)
        forget(self, NONE);
    uint8_t state = *self->state;
    if (state != NONE)
        keep(self, state == IDLE ? 0 : *self->kept, data, (size_t)size);
    in_order();
    *self->taken += (uint64_t)size;
    return PyBool_FromLong(state != NONE);
}

static PyObject *row_begin(Row *self, PyObject *given)
{
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(given, &data, &size) < 0)
        return NULL;
    keep(self, 0, data, (size_t)size);
    Py_RETURN_NONE;
}

static PyObject *row_again(Row *self, PyObject *unused)
{
    (void)unused;
    if (*self->state == WAITING)
        *self->state = WAITING_AGAIN;
    Py_RETURN_NONE;
}

static PyObject *row_answer(Row *self, PyObject *args)
{
    unsigned long long written, whole;
    if (!PyArg_ParseTuple(args, "KK", &written, &whole))
        return NULL;
    if (*self->state == WAITING) {
        *self->written = written;
        *self->whole = whole ? written + whole : 0;
        in_order();
        *self->state = ANSWERING;
    } else
        forget(self, NONE);
    Py_RETURN_NONE;
}

static PyObject *row_idle(Row *self, PyObject *unused)
{
    (void)unused;
    forget(self, IDLE);
    Py_RETURN_NONE;
}

static PyObject *row_end(Row *self, PyObject *unused)
{
    (void)unused;
    forget(self, NONE);
    Py_RETURN_NONE;
}

static PyMethodDef row_methods[] = {
    {"open", (PyCFunction)row_open, METH_O, "A client has connected."},
    {"took", (PyCFunction)row_took, METH_O, "Bytes were read; whether they are kept."},
    {"begin", (PyCFunction)row_begin, METH_O, "A request's beginning after all."},
    {"again", (PyCFunction)row_again, METH_NOARGS, "The request has met a death."},
    {"answer", (PyCFunction)row_answer, METH_VARARGS, "An answer begins."},
    {"idle", (PyCFunction)row_idle, METH_NOARGS, "The answer is the kernel's."},
    {"end", (PyCFunction)row_end, METH_NOARGS, "Nobody else can go on."},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef row_properties[] = {
    {"state", (getter)row_state, NULL, "What is going on.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot row_slots[] = {
    {Py_tp_init, row_init},       {Py_tp_dealloc, row_dealloc},
    {Py_tp_methods, row_methods}, {Py_tp_getset, row_properties}, {0, NULL},
};
static PyType_Spec row_spec = {
    "sglrouter.inner._row.Row", sizeof(Row), 0, Py_TPFLAGS_DEFAULT, row_slots,
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "sglrouter.inner._row", "Once per read.", -1, NULL,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__row(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = module == NULL ? NULL : PyType_FromSpec(&row_spec);
    if (type == NULL || PyModule_AddObjectRef(module, "Row", type) < 0)
        Py_CLEAR(module);
    Py_XDECREF(type);
    return module;
}
