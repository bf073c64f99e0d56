#include "parser-internal.h"

#include "http-internal.h"
#include "http/url.h"

#define FIELDS_COUNT_MAX 128
#define METHOD_MAX 32
/* A chunk's size line with its extensions, and one trailer line. */
#define CHUNK_LINE_MAX 1024
/* Chunk extensions and trailers are read and dropped: no more than this of them in one request. */
#define CHUNK_EXTRA_MAX (16UL * 1024)

void parser_init(Parser *p, size_t headers_max, size_t body_max, size_t upload_max)
{
    *p = (Parser){.upload_max = upload_max};
    buf_init(&p->head, headers_max);
    buf_init(&p->body, body_max);
    buf_init(&p->line, CHUNK_LINE_MAX);
}

void parser_done(Parser *p)
{
    buf_done(&p->head);
    buf_done(&p->body);
    buf_done(&p->line);
    vec_free(&p->fields);
}

int parser_refuse(Parser *p, int status, ErrCode code, const char *why)
{
    p->state = PARSER_FAILED;
    p->status = status;
    err_set(&p->err, code, "%s", why);
    return -(int)code;
}

static int bad(Parser *p, const char *why)
{
    return parser_refuse(p, 400, ERR_BAD_REQUEST, why);
}

static Span span_of(const Parser *p, Str s)
{
    return (Span){.at = (unsigned)(s.ptr - p->head.data), .len = (unsigned)s.len};
}

/* ---- Request line ---- */

/* Visible ASCII. A '#' would start a fragment, which is never sent. */
static bool is_target(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || s.ptr[i] == '#')
            return false;
    return s.len > 0;
}

static bool is_target_form(Str method, Str target)
{
    Url u;
    if (target.ptr[0] == '/')
        return true;
    if (str_eqz(target, "*"))
        return str_eqz(method, "OPTIONS");
    return url_parse(target, &u, NULL) == 0 &&
           !u.has_userinfo; /* absolute-form; authority-form is for proxies */
}

static int parse_version(Parser *p, Str v)
{
    bool named = v.len == 8 && str_starts(v, STR("HTTP/")) && v.ptr[5] >= '0' && v.ptr[5] <= '9' &&
                 v.ptr[6] == '.' && v.ptr[7] >= '0' && v.ptr[7] <= '9';
    if (!named)
        return bad(p, "request line is malformed");
    if (v.ptr[5] != '1')
        return parser_refuse(p, 505, ERR_UNIMPLEMENTED, "HTTP version is not supported");
    p->minor =
        v.ptr[7] == '0' ? 0 : 1; /* a higher minor version is answered as the highest known: RFC 9110 6.2 */
    return 0;
}

static int parse_request_line(Parser *p, Str line)
{
    Str rest = line;
    Str method = str_cut(&rest, ' ');
    Str target = str_cut(&rest, ' ');
    if (!rest.ptr || !http_is_token(method) || method.len > METHOD_MAX || !is_target(target))
        return bad(p, "request line is malformed");
    int rc = parse_version(p, rest);
    if (rc < 0)
        return rc;
    if (!is_target_form(method, target))
        return bad(p, "request target is not valid");
    p->method = span_of(p, method);
    p->target = span_of(p, target);
    p->state = PARSER_FIELDS;
    return 0;
}

/* ---- Fields ---- */

/* RFC 9112 6.3: digits only, once. A list, even of equal values, is refused. */
static int take_length(Parser *p, Str value)
{
    if (p->n_length++ > 0)
        return bad(p, "several Content-Length fields");
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return bad(p, "Content-Length is malformed");
    if (value.len == 0)
        return bad(p, "Content-Length is malformed");
    if (str_to_u64(value, &p->left) < 0)
        p->left = UINT64_MAX; /* too many digits: too large in any case */
    return 0;
}

/* RFC 9112 6.1: what does not end in "chunked" has no length; what is more than "chunked" is not implemented.
 */
static int take_coding(Parser *p, Str value)
{
    if (p->n_coding++ > 0)
        return bad(p, "several Transfer-Encoding fields");
    if (str_ieq(value, STR("chunked"))) {
        p->chunked = true;
        return 0;
    }
    Str last = value;
    for (Str rest = value; rest.ptr;)
        last = str_trim(str_cut(&rest, ','));
    if (!str_ieq(last, STR("chunked")))
        return bad(p, "Transfer-Encoding does not end in chunked");
    return parser_refuse(p, 501, ERR_UNIMPLEMENTED, "only the transfer coding chunked is implemented");
}

static int take_host(Parser *p, Str value)
{
    if (p->n_host++ > 0)
        return bad(p, "several Host fields");
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] <= ' ' || value.ptr[i] >= 0x7f || strchr("/\\?#@<>\"{}|^`,", value.ptr[i]))
            return bad(p, "Host is malformed");
    return 0;
}

static int take_connection(Parser *p, Str value)
{
    for (Str rest = value; rest.ptr;) {
        Str option = str_trim(str_cut(&rest, ','));
        p->close |= str_ieq(option, STR("close"));
        p->keep_alive |= str_ieq(option, STR("keep-alive"));
    }
    return 0;
}

static int take_expect(Parser *p, Str value)
{
    if (!str_ieq(value, STR("100-continue")))
        return parser_refuse(p, 417, ERR_BAD_REQUEST, "expectation is not known");
    p->expect_continue = p->minor > 0;
    return 0;
}

static const struct {
    const char *name;
    int (*take)(Parser *p, Str value);
} framing_fields[] = {
    {"content-length", take_length},
    {"transfer-encoding", take_coding},
    {"host", take_host},
    {"connection", take_connection},
    {"expect", take_expect},
};

/* RFC 9112 5: no white space before the name (a folded line) or before the colon. */
static int split_field(Parser *p, Str line, Str *name, Str *value)
{
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return bad(p, "folded header line");
    *value = line;
    *name = str_cut(value, ':');
    if (!value->ptr || !http_is_token(*name) || !http_is_field_value(*value))
        return bad(p, "header line is malformed");
    *value = str_trim(*value);
    return 0;
}

static int parse_field(Parser *p, Str line)
{
    Str name, value;
    int rc = split_field(p, line, &name, &value);
    if (rc < 0)
        return rc;
    if (p->fields.len == FIELDS_COUNT_MAX)
        return parser_refuse(p, 431, ERR_HEADERS_TOO_LARGE, "too many header fields");
    vec_push(&p->fields, ((Field){span_of(p, name), span_of(p, value)}));
    for (size_t i = 0; i < ARRAY_LEN(framing_fields); i++)
        if (str_ieq(name, str_from(framing_fields[i].name)))
            return framing_fields[i].take(p, value);
    return 0;
}

static int check_framing(Parser *p)
{
    if (p->n_coding > 0 && p->n_length > 0)
        return bad(p, "Transfer-Encoding beside Content-Length");
    if (p->n_coding > 0 && p->minor == 0)
        return bad(p, "Transfer-Encoding in HTTP/1.0");
    if (p->n_host == 0 && p->minor > 0)
        return bad(p, "Host is missing");
    if (str_eq(parser_str(p, p->method), STR("PUT")) && p->upload_max > p->body.max)
        buf_init(&p->body, p->upload_max);
    if (p->left > p->body.max)
        return parser_refuse(p, 413, ERR_TOO_LARGE, "request body is larger than allowed");
    if (p->chunked)
        p->state = PARSER_CHUNK_SIZE;
    else
        p->state = p->left > 0 ? PARSER_LENGTH_BODY : PARSER_DONE;
    return 0;
}

/* An empty line before the request line is what some clients leave behind a body: RFC 9112 2.2. */
static int parse_head_line(Parser *p, Str line)
{
    if (p->state == PARSER_LINE)
        return line.len > 0 ? parse_request_line(p, line) : 0;
    return line.len > 0 ? parse_field(p, line) : check_framing(p);
}

/* ---- Lines ---- */

/*
 * Takes bytes up to and with the next line end into `to`. *line is set when one is complete, without its
 * CRLF. Only CRLF ends a line; a CR or LF that stands alone is refused at once, as readers disagree on them.
 */
static size_t take_line(Parser *p, Buf *to, size_t line_at, Str bytes, Str *line)
{
    const char *lf = memchr(bytes.ptr, '\n', bytes.len);
    size_t n = lf ? (size_t)(lf - bytes.ptr) + 1 : bytes.len;
    *line = STR_NULL;
    if (buf_add(to, bytes.ptr, n) < 0) {
        if (to == &p->head)
            parser_refuse(p, 431, ERR_HEADERS_TOO_LARGE, "header fields are larger than allowed");
        else
            bad(p, "chunk line is too long");
        return n;
    }
    /* Only what is new is searched, and the byte before it. */
    size_t old = to->len - n, from = old > line_at ? old - 1 : old;
    const char *cr = memchr(to->data + from, '\r', to->len - from);
    size_t cr_at = cr ? (size_t)(cr - to->data) : SIZE_MAX;
    if (lf && cr_at == to->len - 2)
        *line = str_slice(buf_str(to), line_at, cr_at);
    else if (lf || (cr && cr_at != to->len - 1))
        bad(p, "line does not end in CR LF");
    return n;
}

static size_t feed_head(Parser *p, Str bytes)
{
    Str line;
    size_t n = take_line(p, &p->head, p->line_at, bytes, &line);
    if (!line.ptr)
        return n;
    parse_head_line(p, line);
    p->line_at = p->head.len;
    return n;
}

/* ---- Chunked coding, RFC 9112 7.1 ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int spend_extra(Parser *p, size_t n)
{
    p->chunk_extra += n;
    return p->chunk_extra > CHUNK_EXTRA_MAX ? bad(p, "too many chunk extensions or trailers") : 0;
}

/* Digits, then nothing or ";extensions", which are ignored. More than 16 digits cannot be meant honestly. */
static int parse_chunk_size(Parser *p, Str line)
{
    size_t digits = 0;
    uint64_t size = 0;
    for (int v; digits < line.len && (v = hex_value(line.ptr[digits])) >= 0; digits++)
        size = size << 4 | (unsigned)v;
    Str rest = str_slice(line, digits, line.len);
    if (digits == 0 || digits > 16 || (rest.len > 0 && rest.ptr[0] != ';') || !http_is_field_value(rest))
        return bad(p, "chunk size is malformed");
    if (spend_extra(p, rest.len) < 0)
        return -1;
    if (size > p->body.max - p->body.len)
        return parser_refuse(p, 413, ERR_TOO_LARGE, "request body is larger than allowed");
    p->left = size;
    p->state = size > 0 ? PARSER_CHUNK_DATA : PARSER_TRAILERS;
    return 0;
}

static int parse_trailer(Parser *p, Str line)
{
    Str name, value;
    if (spend_extra(p, line.len) < 0)
        return -1;
    if (line.len > 0)
        return split_field(p, line, &name, &value); /* checked, and dropped */
    p->state = PARSER_DONE;
    return 0;
}

static int parse_chunk_line(Parser *p, Str line)
{
    if (p->state == PARSER_CHUNK_SIZE)
        return parse_chunk_size(p, line);
    if (p->state == PARSER_TRAILERS)
        return parse_trailer(p, line);
    if (line.len > 0)
        return bad(p, "chunk is longer than its size");
    p->state = PARSER_CHUNK_SIZE;
    return 0;
}

/* A line end behind data is checked byte by byte: more than CRLF must not be waited for. */
static size_t feed_chunk_line(Parser *p, Str bytes)
{
    Str line;
    if (p->state == PARSER_CHUNK_END && p->line.len == 0 && bytes.ptr[0] != '\r') {
        bad(p, "chunk is longer than its size");
        return 0;
    }
    size_t n = take_line(p, &p->line, 0, bytes, &line);
    if (!line.ptr)
        return n;
    parse_chunk_line(p, line);
    buf_clear(&p->line);
    return n;
}

/* ---- Body ---- */

static size_t feed_body(Parser *p, Str bytes)
{
    size_t n = bytes.len < p->left ? bytes.len : (size_t)p->left;
    if (buf_add(&p->body, bytes.ptr, n) < 0) {
        parser_refuse(p, 413, ERR_TOO_LARGE, "request body is larger than allowed");
        return n;
    }
    p->left -= n;
    if (p->left == 0)
        p->state = p->state == PARSER_LENGTH_BODY ? PARSER_DONE : PARSER_CHUNK_END;
    return n;
}

static size_t step(Parser *p, Str bytes)
{
    switch (p->state) {
    case PARSER_LINE:
    case PARSER_FIELDS:
        return feed_head(p, bytes);
    case PARSER_LENGTH_BODY:
    case PARSER_CHUNK_DATA:
        return feed_body(p, bytes);
    case PARSER_CHUNK_SIZE:
    case PARSER_CHUNK_END:
    case PARSER_TRAILERS:
        return feed_chunk_line(p, bytes);
    case PARSER_DONE:
    case PARSER_FAILED:
        break;
    }
    return 0;
}

size_t parser_feed(Parser *p, Str bytes, ParserNews *news)
{
    size_t used = 0;
    bool in_head = p->state <= PARSER_FIELDS;
    *news = PARSER_MORE;
    while (used < bytes.len && p->state < PARSER_DONE) {
        used += step(p, str_slice(bytes, used, bytes.len));
        if (in_head && p->state > PARSER_FIELDS && p->state < PARSER_DONE) {
            *news = PARSER_HEADERS;
            return used;
        }
    }
    if (p->state == PARSER_DONE)
        *news = PARSER_REQUEST;
    else if (p->state == PARSER_FAILED)
        *news = PARSER_ERROR;
    return used;
}

bool parser_keeps_alive(const Parser *p)
{
    return !p->close && (p->minor > 0 || p->keep_alive);
}
