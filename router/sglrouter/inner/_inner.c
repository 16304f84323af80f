/* What runs per token and per block, in C. Each part has a twin in Python that does the same with
 * any input (relay.py, table.py; serving/usage.py for scan_usage), used where this was not built.
 * Only the limited API of CPython 3.11 is used: one build serves every later version.
 * Nothing here parses beyond the size line of a chunk and a flat object of numbers. */

#include "_tuple.h"

#include <stdint.h>
#include <string.h>
#include <structmember.h>

/* ---- Meter: passes pieces of an answer on, and counts them (relay.py) ---- */

enum { TAIL_PIECES = 4 };

typedef struct {
    PyObject_HEAD
    PyObject *sink;
    Py_ssize_t sent, events;
    PyObject *tail[TAIL_PIECES]; /* piece n is at n % TAIL_PIECES */
} Meter;

static PyTypeObject *meter_type;

static int meter_traverse(Meter *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->sink);
    return 0; /* the pieces are bytes, which refer to nothing */
}

static int meter_clear(Meter *self)
{
    Py_CLEAR(self->sink);
    for (int i = 0; i < TAIL_PIECES; i++)
        Py_CLEAR(self->tail[i]);
    return 0;
}

static void meter_dealloc(Meter *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    meter_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *meter_write(Meter *self, PyObject *data)
{
    if (!PyBytes_CheckExact(data)) { /* a subclass could do anything when it goes */
        PyErr_SetString(PyExc_TypeError, "a piece must be bytes");
        return NULL;
    }
    if (self->sink == NULL) {
        PyErr_SetString(PyExc_AttributeError, "sink");
        return NULL;
    }
    int at = (int)(self->events % TAIL_PIECES);
    PyObject *old = self->tail[at];
    Py_INCREF(data);
    self->tail[at] = data;
    Py_XDECREF(old);
    self->sent += PyBytes_Size(data);
    self->events += 1;
    PyObject *sink = self->sink;
    Py_INCREF(sink);
    PyObject *done = PyObject_CallFunctionObjArgs(sink, data, NULL);
    Py_DECREF(sink);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    Py_RETURN_NONE;
}

static PyObject *meter_tail(Meter *self, void *closure)
{
    (void)closure;
    Py_ssize_t total = 0;
    for (int i = 0; i < TAIL_PIECES; i++)
        if (self->tail[i] != NULL)
            total += PyBytes_Size(self->tail[i]);
    PyObject *joined = PyBytes_FromStringAndSize(NULL, total);
    if (joined == NULL)
        return NULL;
    char *to = PyBytes_AsString(joined);
    for (int i = 0; i < TAIL_PIECES; i++) {
        PyObject *piece = self->tail[(self->events + i) % TAIL_PIECES]; /* the oldest first */
        if (piece == NULL)
            continue;
        Py_ssize_t size = PyBytes_Size(piece);
        memcpy(to, PyBytes_AsString(piece), (size_t)size);
        to += size;
    }
    return joined;
}

static PyMemberDef meter_members[] = {
    {"sink", T_OBJECT, offsetof(Meter, sink), 0, "What takes the bytes."},
    {"sent", T_PYSSIZET, offsetof(Meter, sent), 0, "Bytes passed on."},
    {"events", T_PYSSIZET, offsetof(Meter, events), READONLY, "Pieces passed on."},
    {NULL, 0, 0, 0, NULL},
};
static PyGetSetDef meter_properties[] = {
    {"tail", (getter)meter_tail, NULL, "The last pieces.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
static PyMethodDef meter_methods[] = {
    {"write", (PyCFunction)meter_write, METH_O, "Pass bytes on to the client."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot meter_slots[] = {
    {Py_tp_traverse, meter_traverse}, {Py_tp_clear, meter_clear},
    {Py_tp_dealloc, meter_dealloc},   {Py_tp_members, meter_members},
    {Py_tp_getset, meter_properties}, {Py_tp_methods, meter_methods},
    {0, NULL},
};
static PyType_Spec meter_spec = {
    "sglrouter.inner._inner.Meter", sizeof(Meter), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, meter_slots,
};

/* ---- Relay: whole chunks go straight to `fast`, all else to `received` (relay.py) ---- */

typedef struct {
    PyObject_HEAD
    PyObject *fast;
} Relay;

static PyObject *name_received;

static int relay_traverse(Relay *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->fast);
    return 0;
}

static int relay_clear(Relay *self)
{
    Py_CLEAR(self->fast);
    return 0;
}

static void relay_dealloc(Relay *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    relay_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int hex_digit(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    letter |= 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Whether these bytes are one chunk, which is not the last: size, CRLF, data, CRLF. */
static int whole_chunk(const char *data, Py_ssize_t length)
{
    Py_ssize_t size = 0, at = 0;
    int digit;
    while (at < length && at < 6 && (digit = hex_digit(data[at])) >= 0) {
        size = size * 16 + digit;
        at++;
    }
    return at > 0 && size > 0 && length == at + size + 4 && data[at] == '\r' &&
           data[at + 1] == '\n' && data[length - 2] == '\r' && data[length - 1] == '\n';
}

static PyObject *relay_data_received(Relay *self, PyObject *data)
{
    PyObject *fast = self->fast;
    if (fast != NULL && PyObject_TypeCheck(fast, meter_type) && PyBytes_CheckExact(data) &&
        whole_chunk(PyBytes_AsString(data), PyBytes_Size(data))) {
        Py_INCREF(fast); /* the client may fail at this very write */
        PyObject *done = meter_write((Meter *)fast, data);
        Py_DECREF(fast);
        return done;
    }
    return PyObject_CallMethodObjArgs((PyObject *)self, name_received, data, NULL);
}

static PyMemberDef relay_members[] = {
    {"fast", T_OBJECT, offsetof(Relay, fast), 0, "Where whole chunks go; None: nowhere."},
    {NULL, 0, 0, 0, NULL},
};
static PyMethodDef relay_methods[] = {
    {"data_received", (PyCFunction)relay_data_received, METH_O, "asyncio's."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot relay_slots[] = {
    {Py_tp_traverse, relay_traverse}, {Py_tp_clear, relay_clear},
    {Py_tp_dealloc, relay_dealloc},   {Py_tp_members, relay_members},
    {Py_tp_methods, relay_methods},   {0, NULL},
};
static PyType_Spec relay_spec = {
    "sglrouter.inner._inner.Relay", sizeof(Relay), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, relay_slots,
};

/* ---- Index and Match (table.py has the layout) ---- */

enum { MAX_SLOT = 0xFFF, SLOT_BITS = 12, HOLDERS = 4, GAP = 2 };
#define AGE_SHIFT 48
#define HOLDERS_MASK ((1ULL << AGE_SHIFT) - 1)

typedef struct {
    PyObject_HEAD
    Py_buffer memory;
    uint64_t *header, *words;
    uint64_t buckets, per_tick;
} Index;

typedef struct {
    int64_t place;  /* of the block's value in `words`, -1: unknown */
    uint64_t value; /* as it was found */
} Found;

typedef struct {
    PyObject_VAR_HEAD
    Index *index;
    Py_ssize_t seen; /* blocks looked at */
    Found found[1];
} Match;

static PyTypeObject *match_type;

static void index_dealloc(Index *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->memory.obj != NULL)
        PyBuffer_Release(&self->memory);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static int index_init(Index *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *memory;
    unsigned long long buckets, per_tick;
    if (!PyArg_ParseTuple(args, "OKK", &memory, &buckets, &per_tick))
        return -1;
    if (self->memory.obj != NULL) {
        PyErr_SetString(PyExc_TypeError, "an index has one table");
        return -1;
    }
    if (PyObject_GetBuffer(memory, &self->memory, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0)
        return -1;
    if (buckets < 1 || per_tick < 1 ||
        (uint64_t)self->memory.len < 32 || buckets > ((uint64_t)self->memory.len - 32) / 32) {
        PyErr_SetString(PyExc_ValueError, "the table does not fit its memory");
        return -1;
    }
    self->header = self->memory.buf;
    self->words = self->header + 4;
    self->buckets = buckets;
    self->per_tick = per_tick;
    return 0;
}

/* Hashes: a list of integers, or packed as `hash_blocks` gives them (a buffer of words). */
typedef struct {
    PyObject *list; /* borrowed, NULL: packed */
    Py_buffer packed;
    Py_ssize_t count;
} Blocks;

static int open_blocks(Index *self, PyObject *given, Blocks *blocks)
{
    blocks->list = NULL;
    if (self->words == NULL) {
        PyErr_SetString(PyExc_TypeError, "an index without a table");
        return 0;
    }
    if (PyList_Check(given)) {
        blocks->list = given;
        blocks->count = PyList_Size(given);
        return 1;
    }
    if (PyObject_GetBuffer(given, &blocks->packed, PyBUF_SIMPLE) < 0)
        return 0;
    blocks->count = blocks->packed.len / 8;
    if (blocks->packed.len % 8 == 0)
        return 1;
    PyBuffer_Release(&blocks->packed);
    PyErr_SetString(PyExc_TypeError, "expected hashes of 64 bits");
    return 0;
}

static void close_blocks(Blocks *blocks)
{
    if (blocks->list == NULL)
        PyBuffer_Release(&blocks->packed);
}

/* The n-th hash; NO_HASH, and an exception set, if it is none. */
#define NO_HASH UINT64_MAX
static uint64_t block_at(const Blocks *blocks, Py_ssize_t n)
{
    uint64_t hash;
    if (blocks->list != NULL) {
        PyObject *item = PyList_GetItem(blocks->list, n); /* borrowed */
        return item == NULL ? NO_HASH : PyLong_AsUnsignedLongLong(item);
    }
    memcpy(&hash, (const char *)blocks->packed.buf + 8 * n, 8);
    return hash;
}

static PyObject *match_blocks(Index *self, const Blocks *blocks)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(match_type, Py_tp_alloc);
    Match *match = (Match *)allocate(match_type, blocks->count);
    if (match == NULL)
        return NULL;
    Py_INCREF((PyObject *)self);
    match->index = self;
    int missing = 0;
    for (Py_ssize_t n = 0; n < blocks->count; n++) {
        uint64_t key = block_at(blocks, n);
        if (key == NO_HASH && PyErr_Occurred()) {
            Py_DECREF(match);
            return NULL;
        }
        uint64_t at = key % self->buckets * 4;
        if (self->words[at] != key)
            at += 2;
        if (self->words[at] != key) {
            if (++missing > GAP)
                break;
            match->found[match->seen++].place = -1;
            continue;
        }
        missing = 0;
        match->found[match->seen].value = self->words[at + 1];
        match->found[match->seen++].place = (int64_t)at + 1;
    }
    return (PyObject *)match;
}

static PyObject *index_match(Index *self, PyObject *given)
{
    Blocks blocks;
    if (!open_blocks(self, given, &blocks))
        return NULL;
    PyObject *match = match_blocks(self, &blocks);
    close_blocks(&blocks);
    return match;
}

static PyObject *match_depths(Match *self, PyObject *nothing)
{
    (void)nothing;
    PyObject *depths = PyDict_New();
    if (depths == NULL)
        return NULL;
    uint64_t before = 0;
    for (Py_ssize_t n = self->seen - 1; n >= 0; n--) {
        if (self->found[n].place < 0)
            continue;
        uint64_t holders = self->found[n].value & HOLDERS_MASK;
        if (holders == before)
            continue;
        before = holders;
        for (; holders != 0; holders >>= SLOT_BITS) {
            if ((holders & MAX_SLOT) == 0)
                continue;
            PyObject *slot = PyLong_FromLong((long)(holders & MAX_SLOT));
            PyObject *depth = PyLong_FromSsize_t(n + 1);
            int failed = slot == NULL || depth == NULL;
            if (!failed) {
                int known = PyDict_Contains(depths, slot);
                failed = known < 0 || (known == 0 && PyDict_SetItem(depths, slot, depth) < 0);
            }
            Py_XDECREF(slot);
            Py_XDECREF(depth);
            if (failed) {
                Py_DECREF(depths);
                return NULL;
            }
        }
    }
    return depths;
}

/* `holders` with `slot` the latest; a fifth, the longest unused, drops out. */
static uint64_t with_first(uint64_t holders, uint64_t slot)
{
    if ((holders & MAX_SLOT) == slot)
        return holders;
    uint64_t packed = slot;
    for (int n = 1; holders != 0 && n < HOLDERS; holders >>= SLOT_BITS) {
        uint64_t other = holders & MAX_SLOT;
        if (other != 0 && other != slot)
            packed |= other << (SLOT_BITS * n++);
    }
    return packed;
}

/* Blocks are anywhere in a table larger than the caches: ask for all before waiting for one. */
static void prefetch(Index *self, const Blocks *blocks, Py_ssize_t from)
{
    if (blocks->list == NULL)
        for (Py_ssize_t n = from; n < blocks->count; n++)
            __builtin_prefetch(&self->words[block_at(blocks, n) % self->buckets * 4], 1);
}

static void enter(Index *self, uint64_t key, uint64_t value)
{
    uint64_t *words = self->words, at = key % self->buckets * 4;
    if (words[at] != key && (words[at + 2] == key || words[at + 3] < words[at + 1]))
        at += 2;
    words[at] = key;
    words[at + 1] = value;
}

/* False: a hash is none. */
static int record_blocks(Index *self, const Blocks *blocks, const Match *match, uint64_t slot)
{
    uint64_t age = (self->header[0] / self->per_tick & 0xFFFF) << AGE_SHIFT, entered = 0;
    Py_ssize_t seen = match->seen < blocks->count ? match->seen : blocks->count;
    prefetch(self, blocks, seen);
    for (Py_ssize_t n = 0; n < seen; n++) { /* first, while the places are those of the blocks */
        const Found *found = &match->found[n];
        if (found->place < 0)
            continue;
        uint64_t value = age | with_first(found->value & HOLDERS_MASK, slot);
        if (value != found->value)
            self->words[found->place] = value;
    }
    for (Py_ssize_t n = 0; n < blocks->count; n++) {
        if (n < seen && match->found[n].place >= 0)
            continue;
        uint64_t key = block_at(blocks, n);
        if (key == NO_HASH && PyErr_Occurred())
            return 0;
        enter(self, key, age | slot);
        entered++;
    }
    if (entered)
        self->header[0] += entered;
    return 1;
}

/* record(blocks, match, slot) */
static PyObject *index_record(Index *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyObject_TypeCheck(args[1], match_type)) {
        PyErr_SetString(PyExc_TypeError, "record takes blocks, their match and a slot");
        return NULL;
    }
    Match *match = (Match *)args[1];
    Blocks blocks;
    long slot = PyLong_AsLong(args[2]);
    if (slot == -1 && PyErr_Occurred())
        return NULL;
    if (match->index != self) {
        PyErr_SetString(PyExc_ValueError, "the match is another index's");
        return NULL;
    }
    if (!open_blocks(self, args[0], &blocks))
        return NULL;
    int done = slot <= 0 || slot > MAX_SLOT || record_blocks(self, &blocks, match, (uint64_t)slot);
    close_blocks(&blocks);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

static void match_dealloc(Match *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF((PyObject *)self->index);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef index_methods[] = {
    {"match", (PyCFunction)index_match, METH_O, "Which of the blocks are known."},
    {"record", (PyCFunction)(void (*)(void))index_record, METH_FASTCALL,
     "The worker in a slot has these blocks."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot index_slots[] = {
    {Py_tp_init, index_init}, {Py_tp_dealloc, index_dealloc}, {Py_tp_methods, index_methods},
    {0, NULL},
};
static PyType_Spec index_spec = {
    "sglrouter.inner._inner.Index", sizeof(Index), 0, Py_TPFLAGS_DEFAULT, index_slots,
};
static PyMethodDef match_methods[] = {
    {"depths", (PyCFunction)match_depths, METH_NOARGS, "Slot -> blocks its worker has."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot match_slots[] = {
    {Py_tp_dealloc, match_dealloc}, {Py_tp_methods, match_methods}, {0, NULL},
};
static PyType_Spec match_spec = {
    "sglrouter.inner._inner.Match", offsetof(Match, found), sizeof(Found),
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, match_slots,
};

/* ---- scan_usage (serving/usage.py reads what this does not) ---- */

typedef struct {
    const char *at, *end;
} Text;

static void skip_space(Text *text)
{
    while (text->at < text->end &&
           (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t'))
        text->at++;
}

static int take(Text *text, char wanted)
{
    skip_space(text);
    if (text->at >= text->end || *text->at != wanted)
        return 0;
    text->at++;
    return 1;
}

/* A key without escapes; its length, -1 for none. */
static Py_ssize_t take_key(Text *text, const char **key)
{
    if (!take(text, '"'))
        return -1;
    *key = text->at;
    while (text->at < text->end && *text->at != '"') {
        if (*text->at == '\\' || (unsigned char)*text->at < ' ' || (unsigned char)*text->at > '~')
            return -1;
        text->at++;
    }
    if (text->at >= text->end)
        return -1;
    Py_ssize_t length = text->at++ - *key;
    return take(text, ':') ? length : -1;
}

enum { ABSENT = -3, NOTHING = -2, OTHER = -1 }; /* of a number: null, not for us */

/* A whole number of at most 15 digits, or null. */
static int64_t take_count(Text *text)
{
    skip_space(text);
    if (text->end - text->at >= 4 && memcmp(text->at, "null", 4) == 0) {
        text->at += 4;
        return NOTHING;
    }
    int64_t count = 0;
    const char *start = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        if (text->at - start >= 15)
            return OTHER;
        count = count * 10 + (*text->at++ - '0');
    }
    if (text->at == start || (*start == '0' && text->at - start > 1))
        return OTHER;
    skip_space(text);
    if (text->at < text->end && *text->at != ',' && *text->at != '}')
        return OTHER;
    return count;
}

static int is(const char *key, Py_ssize_t length, const char *name)
{
    return (size_t)length == strlen(name) && memcmp(key, name, (size_t)length) == 0;
}

static int is_details(const char *key, Py_ssize_t length)
{
    return is(key, length, "prompt_tokens_details") || is(key, length, "input_tokens_details");
}

enum { PROMPT, INPUT, COMPLETION, OUTPUT, CACHED, CACHE_READ, FIELDS };
static const char *const names[FIELDS] = {"prompt_tokens", "input_tokens",  "completion_tokens",
                                          "output_tokens", "cached_tokens", "cache_read_input_tokens"};

/* The members of an object behind its brace: counts, and (`inner` given) objects of counts.
 * False: something else is in it. `inner` gets what the details of the prompt say is cached. */
static int take_members(Text *text, int64_t *found, int64_t *inner)
{
    if (take(text, '}'))
        return 1;
    for (int n = 0; n < 64; n++) {
        const char *key;
        Py_ssize_t length = take_key(text, &key);
        if (length < 0)
            return 0;
        skip_space(text);
        if (text->at < text->end && *text->at == '{') {
            int64_t details[FIELDS] = {ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT};
            if (inner == NULL)
                return 0;
            text->at++;
            if (take(text, '}') || !take_members(text, details, NULL))
                return 0; /* an empty object is none to Python */
            if (is_details(key, length)) {
                if (*inner != ABSENT)
                    return 0; /* both, or one twice: the slow reader knows which counts */
                *inner = details[CACHED] < 0 ? NOTHING : details[CACHED];
            } else {
                for (int f = 0; f < FIELDS; f++)
                    if (is(key, length, names[f]))
                        return 0;
            }
        } else {
            int64_t count = take_count(text);
            if (count == OTHER)
                return 0;
            if (is_details(key, length) && (count != NOTHING || (inner != NULL && *inner != ABSENT)))
                return 0;
            for (int f = 0; f < FIELDS; f++)
                if (is(key, length, names[f])) {
                    if (found[f] != ABSENT)
                        return 0;
                    found[f] = count;
                }
        }
        if (take(text, '}'))
            return 1;
        if (!take(text, ','))
            return 0;
    }
    return 0;
}

static PyObject *optional_count(int64_t count)
{
    if (count >= 0)
        return PyLong_FromLongLong(count);
    Py_RETURN_NONE;
}

static const char MARK[] = "\"usage\":";

/* (prompt, completion, cached or None, False) of the last usage in a tail; None: read it in
 * Python. */
static PyObject *scan_usage(PyObject *module, PyObject *data)
{
    (void)module;
    if (!PyBytes_Check(data)) {
        PyErr_SetString(PyExc_TypeError, "a tail must be bytes");
        return NULL;
    }
    const char *start = PyBytes_AsString(data), *end = start + PyBytes_Size(data);
    const Py_ssize_t size = sizeof(MARK) - 1;
    for (const char *at = end - size; at >= start; at--) {
        if (*at != '"' || memcmp(at, MARK, (size_t)size) != 0)
            continue;
        Text text = {at + size, end};
        int64_t found[FIELDS] = {ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT}, inner = ABSENT;
        Text probe = text;
        if (take_count(&probe) == NOTHING)
            continue; /* `"usage": null`, in the events after it */
        if (!take(&text, '{') || !take_members(&text, found, &inner))
            Py_RETURN_NONE;
        int64_t prompt = found[PROMPT] != ABSENT ? found[PROMPT] : found[INPUT];
        int64_t completion = found[COMPLETION] != ABSENT ? found[COMPLETION] : found[OUTPUT];
        int64_t cached = found[CACHED] != ABSENT ? found[CACHED] : found[CACHE_READ];
        if (inner != ABSENT)
            cached = inner;
        if (prompt < 0 && completion < 0)
            Py_RETURN_NONE;
        PyObject *const usage[] = {PyLong_FromLongLong(prompt < 0 ? 0 : prompt),
                                   PyLong_FromLongLong(completion < 0 ? 0 : completion),
                                   optional_count(cached), Py_NewRef(Py_False)}; /* estimated */
        return tuple_of(4, usage);
    }
    Py_RETURN_NONE;
}

/* ---- module ---- */

static PyMethodDef functions[] = {
    {"scan_usage", scan_usage, METH_O, "(prompt, completion, cached, False) of a tail, or None."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "sglrouter.inner._inner", "The router's inner loops.", -1, functions,
    NULL, NULL, NULL, NULL,
};

static int add(PyObject *module, PyType_Spec *spec, PyTypeObject **kept, const char *name)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL)
        return -1;
    *kept = (PyTypeObject *)type; /* kept for the life of the process */
    return PyModule_AddObjectRef(module, name, type);
}

PyMODINIT_FUNC PyInit__inner(void)
{
    static PyTypeObject *relay_type, *index_type;
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    name_received = PyUnicode_InternFromString("received");
    if (name_received == NULL || add(module, &meter_spec, &meter_type, "Meter") < 0 ||
        add(module, &relay_spec, &relay_type, "Relay") < 0 ||
        add(module, &index_spec, &index_type, "Index") < 0 ||
        add(module, &match_spec, &match_type, "Match") < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
