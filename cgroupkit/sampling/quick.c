/* One cgroup's files into a Stats, in one call.
 *
 * What is to be read and what becomes of it is told by a program that
 * quick.py makes of the controllers' descriptions. Whatever this does not
 * understand is given to Python: a text to the leaf's own function, a file
 * that cannot be read (None is returned) to the careful way of watch.py.
 *
 * Of Python only functions of the stable ABI are used, and no header of it,
 * so that one shared object, loaded by ctypes, serves every version.
 */
typedef struct object PyObject;
typedef int (*set_slot)(PyObject *descriptor, PyObject *self, PyObject *value);

extern PyObject *PyLong_FromUnsignedLongLong(unsigned long long);
extern PyObject *PyBytes_FromStringAndSize(const char *, long);
extern PyObject *PyDict_New(void);
extern int PyDict_SetItem(PyObject *, PyObject *, PyObject *);
extern PyObject *PyTuple_New(long);
extern int PyTuple_SetItem(PyObject *, long, PyObject *);
extern PyObject *PyObject_CallObject(PyObject *, PyObject *);
extern PyObject *PyType_GenericAlloc(PyObject *, long);
extern void Py_IncRef(PyObject *);
extern void Py_DecRef(PyObject *);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *);

extern long pread(int, void *, unsigned long, long);
extern int memcmp(const void *, const void *, unsigned long);

enum { FILES = 64, LEAVES = 64, FIELDS = 96, ALSO = 3, TEXT = 32768 };
enum kind { NUMBER, LIMIT, FLAT, CALL };
enum { EXTRA = -1, LEFT_OUT = -2 };
enum { TIME, INODES, HOST, FIRST_LEAF };

struct key {
    const char *text;
    int length;
    int field;
    unsigned long long divide;
    PyObject *name;
};

struct record {
    PyObject *type;
    int fields;
    int extra; /* which field is the dict of unknown keys, or -1 */
    PyObject **descriptors;
    PyObject **defaults;
    int keys;
    struct key *key;
};

struct leaf {
    int kind;
    int files;
    int file[ALSO + 1];
    int also[ALSO];
    unsigned long long divide[ALSO];
    int whole, part, rest; /* fields to be scaled, or -1 */
    struct record *record;
    PyObject *call;
};

struct group {
    struct record *record;
    int *source; /* for each field: which of the values, or -1 for the default */
};

struct program {
    int files;
    int leaves;
    int groups;
    struct leaf *leaf;
    struct group *group;
    set_slot set;
    unsigned long long unlimited;
    PyObject *none;
};

struct text {
    const char *start, *end;
};

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

/* An instance of a frozen record; takes no reference of *values*. */
static PyObject *make(const struct program *program, const struct record *record, PyObject **values)
{
    PyObject *made = PyType_GenericAlloc(record->type, 0);

    for (int i = 0; made && i < record->fields; i++)
        if (program->set(record->descriptors[i], made, values[i]) < 0) {
            Py_DecRef(made);
            return 0;
        }
    return made;
}

static const struct key *find(const struct record *record, int *next, const char *at, int length)
{
    for (int tried = 0; tried < record->keys; tried++) {
        const struct key *key = &record->key[*next];

        *next = *next + 1 == record->keys ? 0 : *next + 1;
        if (key->length == length && !memcmp(key->text, at, (unsigned long)length))
            return key;
    }
    return 0;
}

/* The lines into numbers and, of keys that are no field, into *extra*: 1, or 0 if not understood,
 * or -1 with an exception. */
static int lines(const struct record *record, struct text text, unsigned long long *numbers,
                 char *known, PyObject *extra)
{
    int next = 0;

    for (const char *at = text.start; at < text.end;) {
        const char *blank = at;
        unsigned long long value;

        while (blank < text.end && *blank != ' ' && *blank != '\n')
            blank++;
        if (blank == text.end || *blank == '\n')
            return 0;
        const struct key *key = find(record, &next, at, (int)(blank - at));
        at = number(blank + 1, text.end, &value);
        if (!key || !at || (at < text.end && *at != '\n'))
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
        }
    }
    return 1;
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
    if (record->extra >= 0 && !(extra = PyDict_New()))
        return 0;
    int understood = lines(record, texts[leaf->file[0]], numbers, known, extra);
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

static int read_all(const struct program *program, const int *fds, char *buffer, struct text *texts)
{
    char *at = buffer, *end = buffer + TEXT;

    for (int i = 0; i < program->files; i++) {
        long length = pread(fds[i], at, (unsigned long)(end - at), 0);

        if (length < 0 || length == end - at)
            return 0;
        texts[i] = (struct text){at, at + length};
        at += length;
    }
    return 1;
}

PyObject *quick_read(const struct program *program, const int *fds, PyObject *time, PyObject *inodes,
                     PyObject *host)
{
    char buffer[TEXT];
    struct text texts[FILES];
    PyObject *values[LEAVES], *fields[FIELDS], *result = 0;
    int count = FIRST_LEAF;

    void *thread = PyEval_SaveThread();
    int whole = read_all(program, fds, buffer, texts);
    PyEval_RestoreThread(thread);
    if (!whole)
        return none(program);
    values[TIME] = time;
    values[INODES] = inodes;
    values[HOST] = host;
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
