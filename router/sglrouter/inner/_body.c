/* A request's body read in one pass.
 *
 * read_body takes the usual body and nothing else: what it takes is JSON that orjson takes too, and
 * it finds the bytes that policy/prompt.py would have hashed: in the body itself, if the client
 * wrote them as orjson does. Whatever it does not know (media, fractions inside a prompt, deep
 * nesting, a name twice, anything that is not JSON) it leaves to Python, which alone refuses. */

#include "_hash.h"
#include "_tuple.h"

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { DEPTH = 48, MEMBERS = 32, DIGITS = 18 };

typedef enum {
    SKIP, /* looked at only */
    JSON, /* wanted as orjson writes it */
    TEXT, /* a string of which the content is wanted */
} Mode;

/* What is wanted is a slice of the input until something in it must be written otherwise: then
 * what was read so far is copied out, and `run` begins behind it. Never longer than the input. */
typedef struct {
    const char *at, *end, *run;
    char *out, *slice;
    int depth, in_messages;
} Body;

typedef struct {
    const char *start;
    Py_ssize_t size;
} Slice;

/* ---- strings ---- */

typedef int8_t Lanes __attribute__((vector_size(16)));
typedef uint64_t Halves __attribute__((vector_size(16)));

/* The place of the first byte that is not 0, 16: there is none. */
static int first_set(Lanes lanes)
{
#ifdef __SSE2__
    return __builtin_ctz((unsigned)_mm_movemask_epi8((__m128i)lanes) | 1u << 16);
#else
    Halves halves = (Halves)lanes;
    if (halves[0])
        return __builtin_ctzll(halves[0]) / 8;
    return halves[1] ? 8 + __builtin_ctzll(halves[1]) / 8 : 16;
#endif
}

/* The first byte that ends or interrupts plain ASCII text: quote, backslash, control, above 127. */
static inline const char *plain(const char *at, const char *end)
{
    for (; end - at >= 16; at += 16) {
        Lanes bytes;
        memcpy(&bytes, at, 16);
        int place = first_set((bytes == '"') | (bytes == '\\') | (bytes < 0x20));
        if (place < 16)
            return at + place;
    }
    for (; at < end; at++)
        if (*at == '"' || *at == '\\' || (int8_t)*at < 0x20)
            break;
    return at;
}

/* Bytes of the UTF-8 sequence at `at` (RFC 3629), 0: it is none. */
static int sequence(const char *at, const char *end)
{
    const uint8_t *b = (const uint8_t *)at;
    Py_ssize_t left = end - at;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    int size = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (left < size)
        return 0;
    for (int n = 1; n < size; n++)
        if ((b[n] & 0xc0) != 0x80)
            return 0;
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
        (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
        return 0;
    return size;
}

/* Four hexadecimal digits, -1: they are not. */
static int32_t hex4(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4)
        return -1;
    for (int n = 0; n < 4; n++) {
        char digit = at[n], letter = (char)(digit | 0x20);
        value *= 16;
        if (digit >= '0' && digit <= '9')
            value += digit - '0';
        else if (letter >= 'a' && letter <= 'f')
            value += letter - 'a' + 10;
        else
            return -1;
    }
    return value;
}

/* The character of an escape whose backslash is behind us, -1: none that we take. */
static int32_t take_escape(Body *body)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (body->at == body->end)
        return -1;
    char letter = *body->at++;
    if (letter != 'u') {
        const char *found = letter == 0 ? NULL : strchr(letters, letter);
        return found == NULL ? -1 : values[found - letters];
    }
    int32_t code = hex4(body->at, body->end);
    if (code < 0 || (code & 0xfc00) == 0xdc00)
        return -1;
    body->at += 4;
    if ((code & 0xfc00) != 0xd800)
        return code;
    if (body->end - body->at < 6 || body->at[0] != '\\' || body->at[1] != 'u')
        return -1;
    int32_t low = hex4(body->at + 2, body->end);
    if (low < 0 || (low & 0xfc00) != 0xdc00)
        return -1;
    body->at += 6;
    return 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
}

static char *put_utf8(char *out, int32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xe0 | code >> 12);
        } else {
            *out++ = (char)(0xf0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* A character that was escaped, as orjson writes it. */
static char *put_json(char *out, int32_t code)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                       ['\r'] = 'r'};
    char letter = code == '"' || code == '\\' ? (char)code : code < 0x20 ? letters[code] : 0;
    if (letter != 0) {
        *out++ = '\\';
        *out++ = letter;
        return out;
    }
    if (code >= 0x20)
        return put_utf8(out, code);
    memcpy(out, "\\u00", 4);
    out[4] = digits[code >> 4];
    out[5] = digits[code & 0xf];
    return out + 6;
}

/* Whether an escape is one letter, that orjson writes the same. */
static int is_short(const char *at, const char *end)
{
    static const uint8_t letters[128] = {['"'] = 1, ['\\'] = 1, ['b'] = 1, ['f'] = 1,
                                         ['n'] = 1, ['r'] = 1,  ['t'] = 1};
    return at < end && (uint8_t)*at < sizeof letters && letters[(uint8_t)*at];
}

static void copy_out(Body *body, const char *end)
{
    memcpy(body->out, body->run, (size_t)(end - body->run));
    body->out += end - body->run;
}

static void begin(Body *body, const char *start)
{
    body->slice = body->out;
    body->run = start;
}

/* Bytes of the slice so far. */
static Py_ssize_t sliced(const Body *body)
{
    return body->out - body->slice + (body->at - body->run);
}

static Slice finish(Body *body, const char *end)
{
    if (body->out == body->slice)
        return (Slice){body->run, end - body->run};
    copy_out(body, end);
    return (Slice){body->slice, body->out - body->slice};
}

/* A string, at its opening quote. */
static int take_string(Body *body, Mode mode)
{
    body->at++;
    for (;;) {
        const char *at = plain(body->at, body->end);
        if (at == body->end)
            return 0;
        uint8_t byte = (uint8_t)*at;
        body->at = at + 1;
        if (byte == '"')
            return 1;
        if (byte > 0x7f) {
            int size = sequence(at, body->end);
            if (size == 0)
                return 0;
            body->at = at + size;
            continue;
        }
        if (byte != '\\')
            return 0;
        if (mode != TEXT && is_short(body->at, body->end)) {
            body->at++;
            continue;
        }
        int32_t code = take_escape(body);
        if (code < 0)
            return 0;
        if (mode == SKIP)
            continue;
        copy_out(body, at);
        body->out = mode == JSON ? put_json(body->out, code) : put_utf8(body->out, code);
        body->run = body->at;
    }
}

/* ---- values ---- */

static void skip_space(Body *body, Mode mode)
{
    const char *at = body->at;
    while (at < body->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    if (mode == JSON && at > body->at) {
        copy_out(body, body->at);
        body->run = at;
    }
    body->at = at;
}

static int take(Body *body, Mode mode, char byte)
{
    skip_space(body, mode);
    if (body->at == body->end || *body->at != byte)
        return 0;
    body->at++;
    return 1;
}

static int peek(Body *body, Mode mode)
{
    skip_space(body, mode);
    return body->at == body->end ? -1 : (uint8_t)*body->at;
}

static const char *digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* A number without an exponent; one that is wanted has no fraction either. */
static int take_number(Body *body, Mode mode)
{
    const char *start = body->at, *whole = start + (*start == '-'), *at = digits(whole, body->end);
    if (at == whole || at - whole > DIGITS)
        return 0;
    if (*whole == '0' && (at - whole > 1 || (mode == JSON && whole > start)))
        return 0; /* not JSON; or -0, which orjson writes as 0 */
    if (mode == SKIP && at < body->end && *at == '.') {
        const char *fraction = at + 1;
        at = digits(fraction, body->end);
        if (at == fraction)
            return 0;
    }
    body->at = at;
    return 1;
}

static int take_word(Body *body)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int n = 0; n < 3; n++) {
        size_t size = strlen(words[n]);
        if ((size_t)(body->end - body->at) < size || memcmp(body->at, words[n], size) != 0)
            continue;
        body->at += size;
        return 1;
    }
    return 0;
}

static int is(Slice text, const char *name)
{
    return (size_t)text.size == strlen(name) && memcmp(text.start, name, (size_t)text.size) == 0;
}

static int is_one_of(Slice text, const char *const *names)
{
    for (; *names != NULL; names++)
        if (is(text, *names))
            return 1;
    return 0;
}

static int take_value(Body *body, Mode mode);

/* A string without escapes as it stands, with its quotes: equal ones have equal bytes. */
static int is_plain(Slice text)
{
    return memchr(text.start, '\\', (size_t)text.size) == NULL;
}

/* A member's name and colon; a name with escapes is none that we know. */
static int take_name(Body *body, Mode mode, Slice *name)
{
    if (peek(body, mode) != '"')
        return 0;
    const char *start = body->at;
    if (!take_string(body, SKIP))
        return 0;
    *name = (Slice){start, body->at - start};
    return is_plain(*name) && take(body, mode, ':');
}

/* A value that stands in a message under `name`. Python replaces media and drops marks, and it
 * alone knows what else a type may be. */
static int take_known(Body *body, Slice name, Slice *value)
{
    static const char *const types[] = {
        "\"text\"",     "\"input_text\"", "\"output_text\"", "\"message\"",
        "\"function\"", "\"tool_use\"",   "\"tool_result\"", NULL,
    };
    peek(body, JSON);
    value->start = body->at;
    if (is(name, "\"cache_control\"") || !take_value(body, JSON))
        return 0;
    value->size = body->at - value->start;
    return !is(name, "\"type\"") || is_one_of(*value, types);
}

/* A member of an object; `names` are those before it, `role` as below. */
static int take_member(Body *body, Mode mode, Slice *names, int count, Slice *role)
{
    Slice *name = &names[mode == JSON ? count : 0], value;
    if (count == MEMBERS || !take_name(body, mode, name))
        return 0;
    if (mode == SKIP)
        return take_value(body, mode);
    for (int n = 0; n < count; n++)
        if (names[n].size == name->size &&
            memcmp(names[n].start, name->start, (size_t)name->size) == 0)
            return 0; /* the last would count */
    if (!body->in_messages)
        return take_value(body, mode);
    if (!take_known(body, *name, &value))
        return 0;
    if (role == NULL || !is(*name, "\"role\""))
        return 1;
    *role = value;
    return is_plain(value);
}

/* An object, at its brace. `role` (or NULL) gets the value of the member of that name. */
static int take_object(Body *body, Mode mode, Slice *role)
{
    Slice names[MEMBERS];
    int count = 0;
    if (!take(body, mode, '{') || body->depth == DEPTH)
        return 0;
    if (take(body, mode, '}'))
        return 1;
    body->depth++;
    do {
        if (!take_member(body, mode, names, count, role))
            return 0;
        count += mode == JSON;
    } while (take(body, mode, ','));
    body->depth--;
    return take(body, mode, '}');
}

/* A list, at its bracket. */
static int take_list(Body *body, Mode mode)
{
    if (!take(body, mode, '[') || body->depth == DEPTH)
        return 0;
    if (take(body, mode, ']'))
        return 1;
    body->depth++;
    do {
        if (!take_value(body, mode))
            return 0;
    } while (take(body, mode, ','));
    body->depth--;
    return take(body, mode, ']');
}

static int take_value(Body *body, Mode mode)
{
    switch (peek(body, mode)) {
    case -1:
        return 0;
    case '"':
        return take_string(body, mode);
    case '{':
        return take_object(body, mode, NULL);
    case '[':
        return take_list(body, mode);
    case 't':
    case 'f':
    case 'n':
        return take_word(body);
    default:
        return take_number(body, mode);
    }
}

/* ---- the body ---- */

/* In the order of templates: policy/prompt.py, _BEFORE. */
enum { TOOLS, FUNCTIONS, SYSTEM, INSTRUCTIONS, BEFORE };
enum { MESSAGES = BEFORE, MODEL, PROMPT, PLAIN_TEXT, NAMED };
static const char *const named[NAMED + 1] = {
    "\"tools\"", "\"functions\"", "\"system\"", "\"instructions\"", "\"messages\"",
    "\"model\"", "\"prompt\"",    "\"text\"",   NULL,
};
/* Other sources of a prompt, which only count where there are no messages. */
static const char *const sources[] = {"\"input\"", "\"input_ids\"", "\"image_data\"", NULL};
/* Fields that give a request a cache of its own. */
static const char *const spaces[] = {"\"lora_path\"", "\"cache_salt\"", "\"extra_key\"", NULL};

typedef struct {
    Slice found[NAMED];
    unsigned seen;
    int has_source;
    Py_ssize_t turn; /* bytes of the messages to the end of the first user's, 0: none is */
} Fields;

/* The messages: a list that begins with an object. */
static int take_messages(Body *body, Fields *fields)
{
    if (!take(body, JSON, '[') || peek(body, JSON) != '{')
        return 0;
    body->in_messages = 1;
    do {
        Slice role = {"", 0};
        int first = peek(body, JSON);
        if (!(first == '{' ? take_object(body, JSON, &role) : take_value(body, JSON)))
            return 0;
        if (fields->turn == 0 && is(role, "\"user\""))
            fields->turn = sliced(body);
    } while (take(body, JSON, ','));
    body->in_messages = 0;
    if (!take(body, JSON, ']'))
        return 0;
    if (fields->turn == 0)
        fields->turn = sliced(body) - 1;
    return 1;
}

/* What Python takes for nothing. */
static int is_empty(Slice value)
{
    static const char *const empty[] = {"", "null", "false", "0", "\"\"", "[]", "{}", NULL};
    return is_one_of(value, empty);
}

static int take_field(Body *body, int field, Fields *fields)
{
    int first = peek(body, SKIP), taken, is_text = field >= MODEL && first == '"';
    begin(body, body->at + is_text);
    if (field == MESSAGES) {
        taken = take_messages(body, fields);
    } else if (field < BEFORE) { /* a system text in parts may carry marks */
        taken = !(field == SYSTEM && first == '[') && take_value(body, JSON);
    } else if (is_text) {
        taken = take_string(body, TEXT);
    } else if (field == MODEL) { /* null is none */
        return first == 'n' && take_word(body);
    } else {
        fields->has_source = 1;
        return take_value(body, SKIP);
    }
    if (!taken)
        return 0;
    Slice value = finish(body, body->at - is_text);
    if (field >= BEFORE || !is_empty(value))
        fields->found[field] = value;
    return 1;
}

static int take_top(Body *body, Fields *fields)
{
    Slice name;
    if (!take_name(body, SKIP, &name) || is_one_of(name, spaces))
        return 0;
    for (int field = 0; field < NAMED; field++) {
        if (!is(name, named[field]))
            continue;
        if (fields->seen & 1u << field)
            return 0; /* the last would count */
        fields->seen |= 1u << field;
        return take_field(body, field, fields);
    }
    fields->has_source |= is_one_of(name, sources);
    return take_value(body, SKIP);
}

static int take_body(Body *body, Fields *fields)
{
    if (!take(body, SKIP, '{') || peek(body, SKIP) == '}')
        return 0;
    do {
        if (!take_top(body, fields))
            return 0;
    } while (take(body, SKIP, ','));
    return take(body, SKIP, '}') && peek(body, SKIP) == -1;
}

/* The parts in a row. */
static PyObject *join(const Slice *parts, int count)
{
    Py_ssize_t size = 0;
    for (int n = 0; n < count; n++)
        size += parts[n].size;
    PyObject *joined = PyBytes_FromStringAndSize(NULL, size);
    char *to = joined == NULL ? NULL : PyBytes_AsString(joined);
    for (int n = 0; n < count && to != NULL; n++) {
        if (parts[n].size)
            memcpy(to, parts[n].start, (size_t)parts[n].size);
        to += parts[n].size;
    }
    return joined;
}

/* (model, bytes, where in them the prompt begins, its size, end of the first turn), or None where
 * there is no prompt. */
static PyObject *result(PyObject *body, Fields *fields)
{
    Slice *found = fields->found, *model = &found[MODEL];
    int chat = found[MESSAGES].size > 0;
    Slice whole = chat ? found[MESSAGES] : found[PROMPT].size ? found[PROMPT] : found[PLAIN_TEXT];
    if (!chat && (fields->has_source || whole.size == 0))
        Py_RETURN_NONE;
    Py_ssize_t before = 0;
    for (int n = 0; n < BEFORE && chat; n++)
        before += found[n].size;
    const char *text = PyBytes_AsString(body);
    Py_ssize_t start = 0;
    if (before == 0 && whole.start >= text && whole.start < text + PyBytes_Size(body)) {
        start = whole.start - text;
        Py_INCREF(body);
    } else {
        body = before ? join(found, BEFORE + 1) : join(&whole, 1);
        if (body == NULL)
            return NULL;
    }
    Py_ssize_t size = before + whole.size, turn = chat ? before + fields->turn : 0;
    PyObject *name = model->start == NULL
                         ? Py_NewRef(Py_None)
                         : PyUnicode_FromStringAndSize(model->start, model->size);
    PyObject *const read[] = {name, body, PyLong_FromSsize_t(start), PyLong_FromSsize_t(size),
                              PyLong_FromSsize_t(turn)};
    return tuple_of(5, read);
}

static PyObject *read_body(PyObject *module, PyObject *bytes)
{
    (void)module;
    if (!PyBytes_CheckExact(bytes)) {
        PyErr_SetString(PyExc_TypeError, "a body must be bytes");
        return NULL;
    }
    const char *start = PyBytes_AsString(bytes);
    Py_ssize_t size = PyBytes_Size(bytes);
    char *scratch = PyMem_Malloc((size_t)size + 1);
    if (scratch == NULL)
        return PyErr_NoMemory();
    Body body = {start, start + size, start, scratch, scratch, 0, 0};
    Fields fields = {0};
    PyObject *found = take_body(&body, &fields) ? result(bytes, &fields) : Py_NewRef(Py_None);
    PyMem_Free(scratch);
    return found;
}

/* ---- module ---- */

static PyMethodDef functions[] = {
    {"hash_blocks", (PyCFunction)(void (*)(void))inner_hash_blocks, METH_FASTCALL,
     "The chain over a prompt's full blocks."},
    {"read_body", read_body, METH_O, "Where a body's prompt is, and its model; None: see Python."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "sglrouter.inner._body", "Bodies and their prompts.", 0, functions,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__body(void)
{
    return PyModule_Create(&definition);
}
