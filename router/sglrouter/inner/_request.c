/* What runs once per request, in C: recognising heads and filling them in, counting an ended
 * request and writing its line of the log. Each part has a twin in Python that does the same with
 * any input (form.py, work.py, ending.py), used where this was not built.
 * Only the limited API of CPython 3.11 is used: one build serves every later version. */

#include "_tuple.h"

#include <stdint.h>
#include <string.h>
#include <structmember.h>

static int expect(Py_ssize_t given, Py_ssize_t wanted, const char *name)
{
    if (given == wanted)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name, wanted, given);
    return 0;
}

static int bytes_of(PyObject *object, const char **data, Py_ssize_t *size)
{
    return PyBytes_AsStringAndSize(object, (char **)data, size) == 0;
}

/* ---- Tally: counts requests of one kind (ending.py). It cannot be part of a cycle: what it
 * refers to are the metrics' dictionaries, which hold strings and numbers. ---- */

enum { REQUESTS, PROMPT, COMPLETION, CACHED, ENGINE, ROUTER, CELLS };
enum { WHOLE, FIRST_BYTE, HISTOGRAMS };
enum { MAX_BOUNDS = 32 };

typedef struct {
    PyObject *counts, *sums, *label;
    Py_ssize_t size;
    double bounds[MAX_BOUNDS];
} Histogram;

typedef struct {
    PyObject_HEAD
    PyObject *counters[CELLS], *keys[CELLS];
    Histogram histograms[HISTOGRAMS];
} Tally;

static void tally_dealloc(Tally *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    for (int n = 0; n < CELLS; n++) {
        Py_XDECREF(self->counters[n]);
        Py_XDECREF(self->keys[n]);
    }
    for (int n = 0; n < HISTOGRAMS; n++) {
        Py_XDECREF(self->histograms[n].counts);
        Py_XDECREF(self->histograms[n].sums);
        Py_XDECREF(self->histograms[n].label);
    }
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int read_histogram(Histogram *into, PyObject *from)
{
    PyObject *bounds, *counts, *sums, *label;
    if (!PyArg_ParseTuple(from, "O!OOO", &PyTuple_Type, &bounds, &counts, &sums, &label))
        return -1;
    into->size = PyTuple_Size(bounds);
    if (into->size > MAX_BOUNDS) {
        PyErr_SetString(PyExc_ValueError, "too many bounds");
        return -1;
    }
    for (Py_ssize_t n = 0; n < into->size; n++) {
        into->bounds[n] = PyFloat_AsDouble(PyTuple_GetItem(bounds, n));
        if (PyErr_Occurred())
            return -1;
    }
    Py_INCREF(counts);
    Py_INCREF(sums);
    Py_INCREF(label);
    into->counts = counts;
    into->sums = sums;
    into->label = label;
    return 0;
}

static int tally_init(Tally *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *cells, *histograms;
    if (self->counters[0] != NULL) {
        PyErr_SetString(PyExc_TypeError, "a tally is made once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "O!O!", &PyTuple_Type, &cells, &PyTuple_Type, &histograms))
        return -1;
    if (PyTuple_Size(cells) != CELLS || PyTuple_Size(histograms) != HISTOGRAMS) {
        PyErr_SetString(PyExc_ValueError, "six cells and two histograms are wanted");
        return -1;
    }
    for (int n = 0; n < CELLS; n++) {
        PyObject *counter, *key;
        if (!PyArg_ParseTuple(PyTuple_GetItem(cells, n), "OO", &counter, &key))
            return -1;
        Py_INCREF(counter);
        Py_INCREF(key);
        self->counters[n] = counter;
        self->keys[n] = key;
    }
    for (int n = 0; n < HISTOGRAMS; n++)
        if (read_histogram(&self->histograms[n], PyTuple_GetItem(histograms, n)) < 0)
            return -1;
    return 0;
}

/* mapping[key]; what is in a dictionary is found without asking its class, which knows the rest. */
static PyObject *item_of(PyObject *mapping, PyObject *key)
{
    PyObject *found = PyDict_Check(mapping) ? PyDict_GetItemWithError(mapping, key) : NULL;
    return found != NULL || PyErr_Occurred() ? Py_XNewRef(found) : PyObject_GetItem(mapping, key);
}

/* mapping[key] += delta, which this takes. */
static int increase(PyObject *mapping, PyObject *key, PyObject *delta)
{
    if (delta == NULL)
        return -1;
    PyObject *old = item_of(mapping, key);
    PyObject *sum = old != NULL ? PyNumber_Add(old, delta) : NULL;
    int done = sum == NULL ? -1
               : PyDict_Check(mapping) ? PyDict_SetItem(mapping, key, sum)
                                       : PyObject_SetItem(mapping, key, sum);
    Py_XDECREF(old);
    Py_XDECREF(sum);
    Py_DECREF(delta);
    return done;
}

static int observe(Histogram *self, double seconds)
{
    Py_ssize_t at = 0;
    while (at < self->size && self->bounds[at] < seconds)
        at++;
    PyObject *counts = item_of(self->counts, self->label);
    PyObject *place = counts != NULL ? PyLong_FromSsize_t(at) : NULL;
    int done = place != NULL ? increase(counts, place, PyLong_FromLong(1)) : -1;
    Py_XDECREF(place);
    Py_XDECREF(counts);
    return done < 0 ? -1 : increase(self->sums, self->label, PyFloat_FromDouble(seconds));
}

static int spend(Tally *self, int cell, PyObject *tokens)
{
    if (tokens == NULL)
        return -1;
    Py_INCREF(tokens);
    return increase(self->counters[cell], self->keys[cell], tokens);
}

/* add(seconds, first byte or None, usage or None, expected) */
static PyObject *tally_add(Tally *self, PyObject *const *args, Py_ssize_t count)
{
    if (!expect(count, 4, "add"))
        return NULL;
    double seconds = PyFloat_AsDouble(args[0]);
    if (self->counters[0] == NULL || self->histograms[FIRST_BYTE].counts == NULL) {
        PyErr_SetString(PyExc_TypeError, "the tally was not made");
        return NULL;
    }
    if (PyErr_Occurred() ||
        increase(self->counters[REQUESTS], self->keys[REQUESTS], PyLong_FromLong(1)) < 0 ||
        observe(&self->histograms[WHOLE], seconds) < 0)
        return NULL;
    if (args[1] != Py_None) {
        double first = PyFloat_AsDouble(args[1]);
        if (PyErr_Occurred() || observe(&self->histograms[FIRST_BYTE], first) < 0)
            return NULL;
    }
    PyObject *usage = args[2];
    if (usage == Py_None)
        Py_RETURN_NONE;
    PyObject *cached = PyTuple_GetItem(usage, 2); /* checks that it is a tuple */
    if (cached == NULL || spend(self, PROMPT, PyTuple_GetItem(usage, 0)) < 0 ||
        spend(self, COMPLETION, PyTuple_GetItem(usage, 1)) < 0)
        return NULL;
    if (cached != Py_None && (spend(self, CACHED, cached) < 0 || spend(self, ENGINE, cached) < 0 ||
                              spend(self, ROUTER, args[3]) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef tally_methods[] = {
    {"add", (PyCFunction)(void (*)(void))tally_add, METH_FASTCALL, "Count a request."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot tally_slots[] = {
    {Py_tp_init, tally_init}, {Py_tp_dealloc, tally_dealloc}, {Py_tp_methods, tally_methods},
    {0, NULL},
};
static PyType_Spec tally_spec = {
    "sglrouter.inner._request.Tally", sizeof(Tally), 0, Py_TPFLAGS_DEFAULT, tally_slots,
};

/* ---- request_line (ending.py) ---- */

typedef struct {
    char *data;
    Py_ssize_t size, room;
} Text;

/* Room for so many more bytes; 0, and an exception set, where there is none. */
static int reserve(Text *text, Py_ssize_t more)
{
    if (text->room - text->size >= more)
        return 1;
    Py_ssize_t room = 2 * (text->size + more);
    char *data = PyMem_Realloc(text->data, (size_t)room);
    if (data == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    text->data = data;
    text->room = room;
    return 1;
}

static int put(Text *text, const char *data, Py_ssize_t size)
{
    if (!reserve(text, size))
        return 0;
    memcpy(text->data + text->size, data, (size_t)size);
    text->size += size;
    return 1;
}

#define PUT(text, literal) put(text, literal, sizeof(literal) - 1)

static int put_bytes(Text *text, PyObject *object)
{
    const char *data;
    Py_ssize_t size;
    return bytes_of(object, &data, &size) && put(text, data, size);
}

/* Visible ASCII as JSON. */
static int put_quoted(Text *text, PyObject *object)
{
    const char *data;
    Py_ssize_t size;
    if (!bytes_of(object, &data, &size) || !reserve(text, 2 * size + 2))
        return 0;
    char *to = text->data + text->size;
    *to++ = '"';
    for (Py_ssize_t n = 0; n < size; n++) {
        if (data[n] == '"' || data[n] == '\\')
            *to++ = '\\';
        *to++ = data[n];
    }
    *to++ = '"';
    text->size = to - text->data;
    return 1;
}

/* An engine may tell any number. */
static int put_large(Text *text, PyObject *object)
{
    Py_ssize_t size;
    PyObject *digits = PyNumber_ToBase(object, 10);
    const char *data = digits != NULL ? PyUnicode_AsUTF8AndSize(digits, &size) : NULL;
    int done = data != NULL && put(text, data, size);
    Py_XDECREF(digits);
    return done;
}

static int put_count(Text *text, PyObject *object)
{
    int overflow;
    long long count = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow)
        return put_large(text, object);
    if (count == -1 && PyErr_Occurred())
        return 0;
    char digits[24], *at = digits + sizeof digits;
    unsigned long long left = count < 0 ? 0ULL - (unsigned long long)count : (unsigned long long)count;
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (count < 0)
        *--at = '-';
    return put(text, at, digits + sizeof digits - at);
}

static int put_fixed(Text *text, double value, int precision)
{
    char *digits = PyOS_double_to_string(value, 'f', precision, 0, NULL);
    if (digits == NULL)
        return 0;
    int done = put(text, digits, (Py_ssize_t)strlen(digits));
    PyMem_Free(digits);
    return done;
}

static int put_usage(Text *text, PyObject *usage)
{
    if (usage == Py_None)
        return 1;
    PyObject *part[4];
    for (int n = 0; n < 4; n++)
        if ((part[n] = PyTuple_GetItem(usage, n)) == NULL)
            return 0;
    return PUT(text, ",\"prompt_tokens\":") && put_count(text, part[0]) &&
           PUT(text, ",\"completion_tokens\":") && put_count(text, part[1]) &&
           PUT(text, ",\"cached_tokens\":") &&
           (part[2] == Py_None ? PUT(text, "null") : put_count(text, part[2])) &&
           PUT(text, ",\"tokens_estimated\":") &&
           (part[3] == Py_True ? PUT(text, "true") : PUT(text, "false"));
}

enum { WALL, ID, WHO, STATUS, BYTES_IN, BYTES_OUT, WHERE, ATTEMPTS, WAITED, BEGAN, FIRST, NOW, USED,
       EXTRA, LINE_ARGUMENTS };

static int put_line(Text *text, PyObject *const *args)
{
    double number[LINE_ARGUMENTS] = {0};
    const int times[] = {WALL, WAITED, BEGAN, FIRST, NOW};
    for (int n = 0; n < 5; n++) {
        number[times[n]] = PyFloat_AsDouble(args[times[n]]);
        if (number[times[n]] == -1.0 && PyErr_Occurred())
            return 0;
    }
    return PUT(text, "{\"ts\":") && put_fixed(text, number[WALL], 3) &&
           PUT(text, ",\"event\":\"request\",\"id\":") && put_quoted(text, args[ID]) &&
           PUT(text, ",") && put_bytes(text, args[WHO]) && PUT(text, ",\"status\":") &&
           put_count(text, args[STATUS]) && PUT(text, ",\"bytes_in\":") &&
           put_count(text, args[BYTES_IN]) && PUT(text, ",\"bytes_out\":") &&
           put_count(text, args[BYTES_OUT]) && PUT(text, ",") && put_bytes(text, args[WHERE]) &&
           PUT(text, ",\"attempts\":") && put_count(text, args[ATTEMPTS]) &&
           PUT(text, ",\"queue_ms\":") && put_fixed(text, 1000 * number[WAITED], 2) &&
           PUT(text, ",\"first_byte_ms\":") &&
           (number[FIRST] != 0 ? put_fixed(text, 1000 * (number[FIRST] - number[BEGAN]), 2)
                               : PUT(text, "null")) &&
           PUT(text, ",\"duration_ms\":") &&
           put_fixed(text, 1000 * (number[NOW] - number[BEGAN]), 2) &&
           put_usage(text, args[USED]) && put_bytes(text, args[EXTRA]) && PUT(text, "}\n");
}

static PyObject *request_line(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (!expect(count, LINE_ARGUMENTS, "request_line"))
        return NULL;
    Text text = {NULL, 0, 0};
    PyObject *line = NULL;
    if (reserve(&text, 1024) && put_line(&text, args))
        line = PyBytes_FromStringAndSize(text.data, text.size);
    PyMem_Free(text.data);
    return line;
}

/* ---- Form: recognises a head by comparison, and writes it anew (form.py) ---- */

enum { MAX_VALUE = 256, MAX_VALUES = 16, MAX_DIGITS = 15 };

typedef struct {
    PyObject_HEAD
    PyObject *texts, *pieces;
    Py_ssize_t values; /* how many */
    Py_ssize_t filled; /* pieces - 1: how many of the values are passed on */
    int places[MAX_VALUES], length_at;
} Form;

static void form_dealloc(Form *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->texts);
    Py_XDECREF(self->pieces);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int all_bytes(PyObject *tuple)
{
    for (Py_ssize_t n = 0; n < PyTuple_Size(tuple); n++)
        if (!PyBytes_CheckExact(PyTuple_GetItem(tuple, n))) {
            PyErr_SetString(PyExc_TypeError, "texts and pieces must be bytes");
            return 0;
        }
    return 1;
}

static int refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return -1;
}

static int read_places(Form *self, PyObject *texts, PyObject *pieces, PyObject *places)
{
    Py_ssize_t values = PyTuple_Size(texts) - 1, filled = PyTuple_Size(places);
    if (values < 0 || values > MAX_VALUES || filled > MAX_VALUES)
        return refuse("too many values, or no text");
    if (PyTuple_Size(pieces) != filled + 1)
        return refuse("a place has no value");
    for (Py_ssize_t n = 0; n < filled; n++) {
        long place = PyLong_AsLong(PyTuple_GetItem(places, n));
        if (place == -1 && PyErr_Occurred())
            return -1;
        if (place < 0 || place >= values)
            return refuse("a place has no value");
        self->places[n] = (int)place;
    }
    if (self->length_at < -1 || self->length_at >= values)
        return refuse("the length has no value");
    for (Py_ssize_t n = 1; n <= values; n++) {
        PyObject *text = PyTuple_GetItem(texts, n);
        if (PyBytes_Size(text) < 2 || memcmp(PyBytes_AsString(text), "\r\n", 2) != 0)
            return refuse("a value must end its line");
    }
    self->values = values;
    self->filled = filled;
    return 0;
}

static int form_init(Form *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *texts, *pieces, *places;
    if (self->texts != NULL) {
        PyErr_SetString(PyExc_TypeError, "a form is made once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "O!O!O!i", &PyTuple_Type, &texts, &PyTuple_Type, &pieces,
                          &PyTuple_Type, &places, &self->length_at) ||
        !all_bytes(texts) || !all_bytes(pieces) || read_places(self, texts, pieces, places) < 0)
        return -1;
    Py_INCREF(texts);
    Py_INCREF(pieces);
    self->texts = texts;
    self->pieces = pieces;
    return 0;
}

typedef struct {
    const char *start;
    Py_ssize_t size;
} Value;

static int begins_with(const char *at, const char *end, PyObject *text)
{
    Py_ssize_t size = PyBytes_Size(text);
    return end - at >= size && memcmp(at, PyBytes_AsString(text), (size_t)size) == 0;
}

/* Where the head ends, NULL if it is none of this form; its values go to `found`. */
static const char *find_values(Form *self, const char *at, const char *end, Value *found)
{
    PyObject *text = PyTuple_GetItem(self->texts, 0);
    if (!begins_with(at, end, text))
        return NULL;
    at += PyBytes_Size(text);
    for (Py_ssize_t n = 0; n < self->values; n++) {
        const char *start = at, *last = end - at > MAX_VALUE ? at + MAX_VALUE : end;
        while (at < last && *at >= ' ' && *at <= '~')
            at++;
        if (at == start || *start == ' ' || at[-1] == ' ')
            return NULL;
        found[n].start = start;
        found[n].size = at - start;
        text = PyTuple_GetItem(self->texts, n + 1);
        if (!begins_with(at, end, text))
            return NULL;
        at += PyBytes_Size(text);
    }
    return at;
}

/* -1: it is none, or too long. */
static int64_t read_length(const Value *value)
{
    if (value->size > MAX_DIGITS)
        return -1;
    int64_t length = 0;
    for (Py_ssize_t n = 0; n < value->size; n++) {
        if (value->start[n] < '0' || value->start[n] > '9')
            return -1;
        length = length * 10 + (value->start[n] - '0');
    }
    return length;
}

static PyObject *fill(Form *self, const Value *found)
{
    if (self->filled == 0) {
        PyObject *constant = PyTuple_GetItem(self->pieces, 0);
        Py_INCREF(constant);
        return constant;
    }
    Py_ssize_t size = 0;
    for (Py_ssize_t n = 0; n <= self->filled; n++)
        size += PyBytes_Size(PyTuple_GetItem(self->pieces, n)) +
                (n < self->filled ? found[self->places[n]].size : 0);
    PyObject *whole = PyBytes_FromStringAndSize(NULL, size);
    if (whole == NULL)
        return NULL;
    char *to = PyBytes_AsString(whole);
    for (Py_ssize_t n = 0; n <= self->filled; n++) {
        PyObject *piece = PyTuple_GetItem(self->pieces, n);
        memcpy(to, PyBytes_AsString(piece), (size_t)PyBytes_Size(piece));
        to += PyBytes_Size(piece);
        if (n < self->filled) {
            const Value *value = &found[self->places[n]];
            memcpy(to, value->start, (size_t)value->size);
            to += value->size;
        }
    }
    return whole;
}

static PyObject *list_of(const Value *found, Py_ssize_t count)
{
    PyObject *list = PyList_New(count);
    for (Py_ssize_t n = 0; list != NULL && n < count; n++) {
        PyObject *value = PyBytes_FromStringAndSize(found[n].start, found[n].size);
        if (value == NULL || PyList_SetItem(list, n, value) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *form_read(Form *self, PyObject *data)
{
    Value found[MAX_VALUES];
    const char *start;
    Py_ssize_t size;
    if (self->texts == NULL) {
        PyErr_SetString(PyExc_TypeError, "the form was not made");
        return NULL;
    }
    if (!bytes_of(data, &start, &size))
        return NULL;
    const char *end = find_values(self, start, start + size, found);
    int64_t length = -1;
    if (end == NULL ||
        (self->length_at >= 0 && (length = read_length(&found[self->length_at])) < 0))
        Py_RETURN_NONE;
    PyObject *const read[] = {PyLong_FromSsize_t(end - start), PyLong_FromLongLong(length),
                              fill(self, found), list_of(found, self->values)};
    return tuple_of(4, read);
}

static PyMethodDef form_methods[] = {
    {"read", (PyCFunction)form_read, METH_O, "(end, length, passed, values) of a head, or None."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot form_slots[] = {
    {Py_tp_init, form_init}, {Py_tp_dealloc, form_dealloc}, {Py_tp_methods, form_methods},
    {0, NULL},
};
static PyType_Spec form_spec = {
    "sglrouter.inner._request.Form", sizeof(Form), 0, Py_TPFLAGS_DEFAULT, form_slots,
};

/* ---- Work: what there is to do on a worker; least_work (work.py) ---- */

enum { IN_FLIGHT, OTHERS, BACKLOG, LAST_CHOSEN, SLOT, FIELDS };

typedef struct {
    PyObject_HEAD
    PyObject *fields[FIELDS];
} Work;

static PyTypeObject *work_type;
static PyObject *work_names[FIELDS], *name_load, *name_get;

static int work_traverse(Work *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    for (int n = 0; n < FIELDS; n++)
        Py_VISIT(self->fields[n]);
    return 0;
}

static int work_clear(Work *self)
{
    for (int n = 0; n < FIELDS; n++)
        Py_CLEAR(self->fields[n]);
    return 0;
}

static void work_dealloc(Work *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    work_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* A worker as it is compared: `fields` are NULL where it is another object with such attributes. */
typedef struct {
    PyObject *object, *const *fields;
} Worker;

static Worker worker_of(PyObject *object)
{
    int plain = PyObject_TypeCheck(object, work_type);
    return (Worker){object, plain ? ((Work *)object)->fields : NULL};
}

/* By way of an integer where it is one: as a float it would first be made an object. */
static double as_double(PyObject *number)
{
    int overflow = !PyLong_CheckExact(number);
    long long whole = overflow ? 0 : PyLong_AsLongLongAndOverflow(number, &overflow);
    return overflow ? PyFloat_AsDouble(number) : (double)whole;
}

static double attribute_of(PyObject *object, PyObject *name)
{
    PyObject *number = PyObject_GetAttr(object, name);
    double value = number != NULL ? as_double(number) : -1.0;
    Py_XDECREF(number);
    return value;
}

/* A number of a worker; -1, and an exception set, if it has none. */
static double number_of(Worker worker, int field)
{
    if (worker.fields == NULL)
        return attribute_of(worker.object, work_names[field]);
    if (worker.fields[field] != NULL)
        return as_double(worker.fields[field]);
    PyErr_SetObject(PyExc_AttributeError, work_names[field]);
    return -1.0;
}

static double load_of(Worker worker)
{
    if (worker.fields == NULL)
        return attribute_of(worker.object, name_load);
    double own = number_of(worker, IN_FLIGHT);
    if (own == -1.0 && PyErr_Occurred())
        return -1.0;
    double others = number_of(worker, OTHERS);
    return others == -1.0 && PyErr_Occurred() ? -1.0 : own + others;
}

static PyObject *work_load(Work *self, void *closure)
{
    (void)closure;
    for (int n = IN_FLIGHT; n <= OTHERS; n++)
        if (self->fields[n] == NULL) {
            PyErr_SetObject(PyExc_AttributeError, work_names[n]);
            return NULL;
        }
    return PyNumber_Add(self->fields[IN_FLIGHT], self->fields[OTHERS]);
}

/* burdens.get(worker's slot, 0.0) */
static double burden_of(Worker worker, PyObject *burdens)
{
    double slot = number_of(worker, SLOT);
    if (slot == -1.0 && PyErr_Occurred())
        return -1.0;
    PyObject *key = PyLong_FromDouble(slot);
    PyObject *zero = key != NULL ? PyFloat_FromDouble(0.0) : NULL;
    PyObject *found =
        zero != NULL ? PyObject_CallMethodObjArgs(burdens, name_get, key, zero, NULL) : NULL;
    double burden = found != NULL ? PyFloat_AsDouble(found) : -1.0;
    Py_XDECREF(key);
    Py_XDECREF(zero);
    Py_XDECREF(found);
    return burden;
}

#define FAILED(number) ((number) == -1.0 && PyErr_Occurred())

typedef struct {
    PyObject *burdens;
    int burdened; /* whether any worker is */
    double tokens_per_request;
    Worker best;
    double least;
} Search;

static int consider(Search *search, Worker worker)
{
    double backlog = number_of(worker, BACKLOG);
    if (FAILED(backlog))
        return -1;
    double load = load_of(worker);
    if (FAILED(load))
        return -1;
    double cost = backlog + search->tokens_per_request * load;
    if (cost > search->least)
        return 0;
    if (search->burdened) {
        double burden = burden_of(worker, search->burdens);
        if (FAILED(burden))
            return -1;
        cost += burden;
    }
    int better = cost < search->least;
    if (cost == search->least) {
        double mine = number_of(worker, LAST_CHOSEN);
        double theirs = FAILED(mine) ? -1.0 : number_of(search->best, LAST_CHOSEN);
        if (PyErr_Occurred())
            return -1;
        better = mine < theirs;
    }
    if (better) {
        search->best = worker;
        search->least = cost;
    }
    return 0;
}

static PyObject *least_work(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (!expect(count, 3, "least_work"))
        return NULL;
    Py_ssize_t burdened = PyObject_Size(args[1]);
    double tokens = burdened < 0 ? -1.0 : PyFloat_AsDouble(args[2]);
    if (FAILED(tokens))
        return NULL;
    PyObject *workers = PySequence_Tuple(args[0]); /* the same one, if it is a tuple */
    if (workers == NULL)
        return NULL;
    Py_ssize_t size = PyTuple_Size(workers);
    PyObject *found = NULL;
    if (size < 1) {
        PyErr_SetString(PyExc_IndexError, "there are no workers");
    } else {
        Worker first = worker_of(PyTuple_GetItem(workers, 0));
        Search search = {args[1], burdened > 0, tokens, first, Py_HUGE_VAL};
        Py_ssize_t n = 0;
        while (n < size && consider(&search, worker_of(PyTuple_GetItem(workers, n))) == 0)
            n++;
        if (n == size) {
            PyObject *const best[] = {Py_NewRef(search.best.object),
                                      PyFloat_FromDouble(search.least)};
            found = tuple_of(2, best);
        }
    }
    Py_DECREF(workers);
    return found;
}

static PyMemberDef work_members[] = {
    {"in_flight", T_OBJECT_EX, offsetof(Work, fields[IN_FLIGHT]), 0, NULL},
    {"others", T_OBJECT_EX, offsetof(Work, fields[OTHERS]), 0, NULL},
    {"backlog", T_OBJECT_EX, offsetof(Work, fields[BACKLOG]), 0, NULL},
    {"last_chosen", T_OBJECT_EX, offsetof(Work, fields[LAST_CHOSEN]), 0, NULL},
    {"slot", T_OBJECT_EX, offsetof(Work, fields[SLOT]), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef work_properties[] = {
    {"load", (getter)work_load, NULL, "All requests on it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyType_Slot work_slots[] = {
    {Py_tp_traverse, work_traverse}, {Py_tp_clear, work_clear},     {Py_tp_dealloc, work_dealloc},
    {Py_tp_members, work_members},   {Py_tp_getset, work_properties}, {0, NULL},
};
static PyType_Spec work_spec = {
    "sglrouter.inner._request.Work", sizeof(Work), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, work_slots,
};

/* The names its search needs; kept for the life of the process. */
static int name_work(PyObject *module)
{
    static const char *const names[FIELDS] = {"in_flight", "others", "backlog", "last_chosen",
                                              "slot"};
    for (int n = 0; n < FIELDS; n++)
        if ((work_names[n] = PyUnicode_InternFromString(names[n])) == NULL)
            return -1;
    name_load = PyUnicode_InternFromString("load");
    name_get = PyUnicode_InternFromString("get");
    work_type = (PyTypeObject *)PyType_FromSpec(&work_spec);
    if (name_load == NULL || name_get == NULL || work_type == NULL)
        return -1;
    return PyModule_AddObjectRef(module, "Work", (PyObject *)work_type);
}

/* ---- module ---- */

static PyMethodDef functions[] = {
    {"request_line", (PyCFunction)(void (*)(void))request_line, METH_FASTCALL,
     "A request's line of the log."},
    {"least_work", (PyCFunction)(void (*)(void))least_work, METH_FASTCALL,
     "(the worker with the least work, how much)"},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "sglrouter.inner._request", "Once per request.", -1, functions,
    NULL, NULL, NULL, NULL,
};

static int add_type(PyObject *module, PyType_Spec *spec, const char *name)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL)
        return -1;
    int done = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return done;
}

PyMODINIT_FUNC PyInit__request(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && (add_type(module, &form_spec, "Form") < 0 ||
                           add_type(module, &tally_spec, "Tally") < 0 || name_work(module) < 0))
        Py_CLEAR(module);
    return module;
}
