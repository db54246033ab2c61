/* Texts into Stats. */
#include "quick.h"

extern PyObject *PyBytes_FromStringAndSize(const char *, long);
extern PyObject *PyDict_New(void);
extern PyObject *PyDict_Copy(PyObject *);
extern int PyDict_SetItem(PyObject *, PyObject *, PyObject *);
extern PyObject *PyTuple_New(long);
extern int PyTuple_SetItem(PyObject *, long, PyObject *);
extern PyObject *PyObject_CallObject(PyObject *, PyObject *);
extern PyObject *PyType_GenericAlloc(PyObject *, long);
extern void PyObject_GC_UnTrack(void *);

static const char *number(const char *at, const char *end, unsigned long long *value)
{
    const char *start = at;
    unsigned long long sum = 0;

    while (at < end && *at >= '0' && *at <= '9')
        sum = sum * 10 + (unsigned)(*at++ - '0');
    *value = sum;
    return at == start || at - start > 19 ? 0 : at;
}

static int single(struct text text, unsigned long long *value)
{
    const char *at = number(text.start, text.end, value);

    return at && (at == text.end || (*at == '\n' && at + 1 == text.end));
}

static PyObject *none(const struct program *program)
{
    Py_IncRef(program->none);
    return program->none;
}

/* An instance of a frozen record; takes no reference of *values*. It holds numbers and records of
 * numbers, which can be no part of a cycle: the garbage collector need not look at thousands of them. */
static PyObject *make(const struct program *program, const struct record *record, PyObject **values)
{
    PyObject *made = PyType_GenericAlloc(record->type, 0);

    if (!made)
        return 0;
    PyObject_GC_UnTrack(made);
    for (int i = 0; i < record->fields; i++)
        if (program->set(record->descriptors[i], made, values[i]) < 0) {
            Py_DecRef(made);
            return 0;
        }
    return made;
}

/* The key that the line at *at* begins with; 0 for a new one, or a line without a value. Keys come in
 * the order in which they were learned, mostly: *next* is where to begin. */
static const struct key *find(const struct record *record, int *next, const char *at, const char *end)
{
    for (int tried = 0; tried < record->keys; tried++) {
        const struct key *key = &record->key[*next];

        *next = *next + 1 == record->keys ? 0 : *next + 1;
        if (key->length < end - at && at[key->length] == ' ' &&
            !memcmp(key->text, at, (unsigned long)key->length))
            return key;
    }
    return 0;
}

/* The lines into numbers and, of keys that are no field, into *extra*, how many in *others*: 1, or 0
 * if not understood, or -1 with an exception. */
static int lines(const struct record *record, struct text text, unsigned long long *numbers,
                 char *known, PyObject *extra, int *others)
{
    int next = 0;

    *others = 0;

    for (const char *at = text.start; at < text.end;) {
        const struct key *key = find(record, &next, at, text.end);
        unsigned long long value;

        if (!key)
            return 0;
        at = number(at + key->length + 1, text.end, &value);
        if (!at || (at < text.end && *at != '\n'))
            return 0;
        at++;
        if (key->field >= 0) {
            numbers[key->field] = value / key->divide;
            known[key->field] = 1;
        } else if (key->field == EXTRA && extra) {
            PyObject *item = PyLong_FromUnsignedLongLong(value);
            int failed = !item || PyDict_SetItem(extra, key->name, item) < 0;

            if (item)
                Py_DecRef(item);
            if (failed)
                return -1;
            ++*others;
        }
    }
    return 1;
}

/* As lines(), into a dict of its own. One that has the keys already is quicker to fill. */
static int lines_and_extra(const struct record *record, struct text text, unsigned long long *numbers,
                           char *known, PyObject **extra)
{
    int others, understood;

    if (record->extra < 0)
        return lines(record, text, numbers, known, 0, &others);
    if (!(*extra = PyDict_Copy(record->extras)))
        return -1;
    understood = lines(record, text, numbers, known, *extra, &others);
    if (understood > 0 && others < record->extra_keys) {
        Py_DecRef(*extra);
        if (!(*extra = PyDict_New()))
            return -1;
        understood = lines(record, text, numbers, known, *extra, &others);
    }
    return understood;
}

#ifdef __SIZEOF_INT128__
typedef unsigned __int128 wide;
#else
typedef double wide;
#endif

static unsigned long long scaled(unsigned long long a, unsigned long long b, unsigned long long c)
{
    return (unsigned long long)((wide)a * b / c);
}

static PyObject *flat(const struct program *program, const struct leaf *leaf, const struct text *texts)
{
    const struct record *record = leaf->record;
    unsigned long long numbers[FIELDS];
    char known[FIELDS];
    PyObject *values[FIELDS], *extra = 0, *made = 0;

    for (int i = 0; i < record->fields; i++)
        known[i] = 0;
    int understood = lines_and_extra(record, texts[leaf->file[0]], numbers, known, &extra);

    for (int i = 1; understood > 0 && i < leaf->files; i++) {
        int field = leaf->also[i - 1];

        understood = single(texts[leaf->file[i]], &numbers[field]);
        numbers[field] /= leaf->divide[i - 1];
        known[field] = 1;
    }
    if (understood > 0 && leaf->whole >= 0) {
        unsigned long long whole = numbers[leaf->whole], part = numbers[leaf->part];
        unsigned long long ticks = part + numbers[leaf->rest];

        part = ticks ? scaled(whole, part, ticks) : whole;
        numbers[leaf->part] = part < whole ? part : whole;
        numbers[leaf->rest] = whole - numbers[leaf->part];
    }
    if (understood <= 0) {
        if (extra)
            Py_DecRef(extra);
        return understood < 0 ? 0 : program->none; /* borrowed: the caller asks Python */
    }
    int count = 0;
    for (; count < record->fields; count++) {
        values[count] = count == record->extra ? extra
                        : known[count]         ? PyLong_FromUnsignedLongLong(numbers[count])
                                               : record->defaults[count];
        if (!values[count])
            break;
    }
    if (count == record->fields)
        made = make(program, record, values);
    while (count-- > 0)
        if (known[count])
            Py_DecRef(values[count]);
    if (extra)
        Py_DecRef(extra);
    return made;
}

static PyObject *call(const struct leaf *leaf, const struct text *texts)
{
    PyObject *arguments = PyTuple_New(leaf->files), *result = 0;

    for (int i = 0; arguments && i < leaf->files; i++) {
        struct text text = texts[leaf->file[i]];
        PyObject *bytes = PyBytes_FromStringAndSize(text.start, text.end - text.start);

        if (!bytes || PyTuple_SetItem(arguments, i, bytes) < 0)
            goto done;
    }
    if (arguments)
        result = PyObject_CallObject(leaf->call, arguments);
done:
    if (arguments)
        Py_DecRef(arguments);
    return result;
}

static PyObject *value(const struct program *program, const struct leaf *leaf, const struct text *texts)
{
    struct text text = texts[leaf->file[0]];
    unsigned long long found;

    if (leaf->kind == FLAT) {
        PyObject *made = flat(program, leaf, texts);

        return made == program->none ? call(leaf, texts) : made;
    }
    if (leaf->kind == NUMBER && single(text, &found))
        return PyLong_FromUnsignedLongLong(found);
    if (leaf->kind == LIMIT) {
        if (single(text, &found))
            return found < program->unlimited ? PyLong_FromUnsignedLongLong(found) : none(program);
        if (text.end - text.start == 4 && !memcmp(text.start, "max\n", 4))
            return none(program);
    }
    return call(leaf, texts);
}

PyObject *build(const struct program *program, const struct text *texts, const struct given *given)
{
    enum { TIME, INODES, HOST, FIRST_LEAF };
    PyObject *values[LEAVES], *fields[FIELDS], *result = 0;
    int count = FIRST_LEAF;

    values[TIME] = given->time;
    values[INODES] = given->inodes;
    values[HOST] = given->host;
    for (int i = 0; i < program->leaves; i++) {
        if (!(values[count] = value(program, &program->leaf[i], texts)))
            goto done;
        count++;
    }
    for (int i = 0; i < program->groups; i++) {
        const struct group *group = &program->group[i];

        for (int field = 0; field < group->record->fields; field++) {
            int source = group->source[field];
            PyObject *here = source < 0 ? program->none : values[source];

            fields[field] = here == program->none ? group->record->defaults[field] : here;
        }
        if (!(values[count] = make(program, group->record, fields)))
            goto done;
        count++;
    }
    result = values[--count]; /* the last group is the Stats */
done:
    while (count-- > FIRST_LEAF)
        Py_DecRef(values[count]);
    return result;
}
