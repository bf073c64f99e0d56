#include "scan-internal.h"

#include <ctype.h>

typedef struct Scan {
    const char *start, *at, *end;
    WideInts *wide;
    uint64_t objects; /* bit n: the container at depth n is an object */
    unsigned depth;
    size_t values;
    Err *err;
} Scan;

_Static_assert(JSON_DEPTH_MAX <= 64, "Scan.objects has a bit for each level");

static int unexpected_end(Scan *s)
{
    return err_set(s->err, ERR_MALFORMED, "unexpected end of JSON input");
}

/* The byte in quotes, as Go's encoding/json shows it. */
static int unexpected(Scan *s, const char *context)
{
    unsigned char c = (unsigned char)*s->at;
    static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\\\\''";
    for (const char *n = named; *n; n += 2)
        if (c == (unsigned char)n[0])
            return err_set(s->err, ERR_MALFORMED, "invalid character '\\%c' %s", n[1], context);
    if (c < 0x20 || c == 0x7f)
        return err_set(s->err, ERR_MALFORMED, "invalid character '\\x%02x' %s", c, context);
    if ((c >= 0x80 && c < 0xa1) || c == 0xad) /* not printable as a code point */
        return err_set(s->err, ERR_MALFORMED, "invalid character '\\u%04x' %s", c, context);
    if (c >= 0x80)
        return err_set(s->err, ERR_MALFORMED, "invalid character '%c%c' %s", 0xc0 | c >> 6, 0x80 | (c & 0x3f),
                       context);
    return err_set(s->err, ERR_MALFORMED, "invalid character '%c' %s", c, context);
}

/* The next byte, or 0 at the end. A NUL in the text is refused wherever a byte is looked at. */
static char peek(const Scan *s)
{
    return s->at < s->end ? *s->at : '\0';
}

static void skip_space(Scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static int fail(Scan *s, const char *context)
{
    return s->at == s->end ? unexpected_end(s) : unexpected(s, context);
}

static int scan_escape(Scan *s)
{
    s->at++;
    char c = peek(s);
    if (c == '\0' || !strchr("\"\\/bfnrtu", c))
        return fail(s, "in string escape code");
    s->at++;
    for (int i = 0; c == 'u' && i < 4; i++, s->at++)
        if (!isxdigit((unsigned char)peek(s)))
            return fail(s, "in \\u hexadecimal character escape");
    return 0;
}

static int scan_string(Scan *s)
{
    for (s->at++; s->at < s->end && *s->at != '"';) {
        if ((unsigned char)*s->at < 0x20)
            return unexpected(s, "in string literal");
        if (*s->at != '\\') {
            s->at++;
            continue;
        }
        int r = scan_escape(s);
        if (r < 0)
            return r;
    }
    if (s->at == s->end)
        return unexpected_end(s);
    s->at++;
    return 0;
}

static bool skip_digits(Scan *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > from;
}

static int scan_number(Scan *s)
{
    const char *from = s->at;
    bool integer = true;
    if (peek(s) == '-')
        s->at++;
    if (peek(s) == '0')
        s->at++;
    else if (!skip_digits(s))
        return fail(s, "in numeric literal");
    if (peek(s) == '.') {
        integer = false;
        s->at++;
        if (!skip_digits(s))
            return fail(s, "after decimal point in numeric literal");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        integer = false;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!skip_digits(s))
            return fail(s, "in exponent of numeric literal");
    }
    int64_t v;
    if (integer && str_to_i64((Str){from, (size_t)(s->at - from)}, &v) < 0)
        vec_push(s->wide, (size_t)(s->at - s->start));
    return 0;
}

static int scan_word(Scan *s, const char *word)
{
    s->at++;
    for (const char *w = word + 1; *w; w++, s->at++) {
        if (peek(s) == *w)
            continue;
        char context[64];
        snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, *w);
        return fail(s, context);
    }
    return 0;
}

static int scan_scalar(Scan *s)
{
    switch (peek(s)) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    case '-':
    case '0' ... '9':
        return scan_number(s);
    default:
        return fail(s, "looking for beginning of value");
    }
}

static int scan_key(Scan *s)
{
    skip_space(s);
    if (peek(s) != '"')
        return fail(s, "looking for beginning of object key string");
    int r = scan_string(s);
    if (r < 0)
        return r;
    skip_space(s);
    if (peek(s) != ':')
        return fail(s, "after object key");
    s->at++;
    return 0;
}

static bool in_object(const Scan *s)
{
    return s->depth > 0 && (s->objects >> (s->depth - 1) & 1);
}

static int open_container(Scan *s, bool is_object)
{
    if (s->depth == JSON_DEPTH_MAX)
        return err_set(s->err, ERR_MALFORMED, "exceeded max depth");
    uint64_t bit = (uint64_t)1 << s->depth++;
    s->objects = is_object ? s->objects | bit : s->objects & ~bit;
    s->at++;
    skip_space(s);
    return 0;
}

/* Opens containers until a value is complete: a scalar, or an empty container, which is closed by the caller.
 */
static int scan_to_value(Scan *s)
{
    for (;;) {
        if (++s->values > JSON_VALUES_MAX)
            return err_set(s->err, ERR_TOO_LARGE, "more than %d JSON values", JSON_VALUES_MAX);
        skip_space(s);
        char c = peek(s);
        if (c != '{' && c != '[')
            return scan_scalar(s);
        int r = open_container(s, c == '{');
        if (r < 0)
            return r;
        if (peek(s) == (c == '{' ? '}' : ']'))
            return 0;
        if (c == '{' && (r = scan_key(s)) < 0)
            return r;
    }
}

/* Closes containers until another value has to come. 0 at the end of the text, 1 when there is a next value.
 */
static int scan_behind_value(Scan *s)
{
    while (s->depth) {
        skip_space(s);
        char c = peek(s);
        bool object = in_object(s);
        if (c == ',') {
            s->at++;
            int r = object ? scan_key(s) : 0;
            return r < 0 ? r : 1;
        }
        if (c != (object ? '}' : ']'))
            return fail(s, object ? "after object key:value pair" : "after array element");
        s->at++;
        s->depth--;
    }
    skip_space(s);
    return s->at == s->end ? 0 : unexpected(s, "after top-level value");
}

int scan_json(Str text, WideInts *wide, Err *err)
{
    const char *start = text.ptr ? text.ptr : "";
    Scan s = {.start = start, .at = start, .end = start + text.len, .wide = wide, .err = err};
    int r;
    do {
        r = scan_to_value(&s);
        if (r == 0)
            r = scan_behind_value(&s);
    } while (r > 0);
    return r;
}
