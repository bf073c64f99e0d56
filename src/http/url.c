#include "http/url.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int escaped_byte(Str s)
{
    if (s.len < 3 || s.ptr[0] != '%')
        return -1;
    int high = hex_value(s.ptr[1]), low = hex_value(s.ptr[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Characters of RFC 3986 and whole escapes only: no spaces, controls, quotes, or bytes above 127. */
static bool is_clean(Str s, const char *extra)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool escape = c == '%' && escaped_byte(str_slice(s, i, s.len)) >= 0;
        if (!escape && !is_unreserved(c) && (c == '\0' || !strchr("!$&'()*+,;=", c)) &&
            (c == '\0' || !strchr(extra, c)))
            return false;
    }
    return true;
}

static bool is_ipv6(Str s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char raw[sizeof(struct in6_addr)];
    if (s.len >= sizeof text || str_find_byte(s, '\0') >= 0)
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return inet_pton(AF_INET6, text, raw) == 1;
}

static bool is_port(Str s)
{
    uint64_t n;
    return s.len == 0 || (s.ptr[0] >= '0' && s.ptr[0] <= '9' && str_to_u64(s, &n) == 0 && n <= 65535);
}

static int split_authority(Str authority, Url *u)
{
    ptrdiff_t at = str_find_byte(authority, '@');
    if (at >= 0) {
        u->has_userinfo = true;
        if (!is_clean(str_slice(authority, 0, (size_t)at), ":"))
            return -1;
        authority = str_slice(authority, (size_t)at + 1, authority.len);
    }
    if (str_starts(authority, STR("["))) {
        ptrdiff_t end = str_find_byte(authority, ']');
        if (end < 0)
            return -1;
        u->host = str_slice(authority, 1, (size_t)end);
        Str rest = str_slice(authority, (size_t)end + 1, authority.len);
        if (!is_ipv6(u->host) || (rest.len > 0 && rest.ptr[0] != ':'))
            return -1;
        u->port = str_slice(rest, 1, rest.len);
    } else {
        u->port = authority;
        u->host = str_cut(&u->port, ':');
        if (u->host.len == 0 || !is_clean(u->host, ""))
            return -1;
    }
    return is_port(u->port) ? 0 : -1;
}

static size_t authority_len(Str s)
{
    size_t i = 0;
    while (i < s.len && s.ptr[i] != '/' && s.ptr[i] != '?' && s.ptr[i] != '#')
        i++;
    return i;
}

/* A fragment is never sent to a server, so it is cut off. */
static int parse(Str text, Url *u)
{
    ptrdiff_t colon = str_find(text, STR("://"));
    if (colon < 0)
        return -1;
    u->scheme = str_slice(text, 0, (size_t)colon);
    if (!str_ieq(u->scheme, STR("http")) && !str_ieq(u->scheme, STR("https")))
        return -1;
    Str rest = str_slice(text, (size_t)colon + 3, text.len);
    size_t end = authority_len(rest);
    if (split_authority(str_slice(rest, 0, end), u) < 0)
        return -1;
    u->query = str_slice(rest, end, rest.len);
    u->query = str_cut(&u->query, '#');
    u->path = str_cut(&u->query, '?');
    return is_clean(u->path, "/:@") && is_clean(u->query, "/:@?") ? 0 : -1;
}

int url_parse(Str text, Url *ret, Err *err)
{
    Url u = {0};
    if (parse(text, &u) < 0)
        return err_set(err, ERR_INVALID, "no valid http or https URL");
    *ret = u;
    return 0;
}

static void escape(Buf *b, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    char text[3] = {'%', hex[c >> 4], hex[c & 15]};
    buf_add(b, text, sizeof text);
}

/* "." and ".." would be taken for steps in the path by whoever normalises it. */
bool url_is_near(const Url *u)
{
    static const char *const machine[] = {"localhost", "127.0.0.1", "::1"}, *const cluster[] = {
                                                                                ".svc", ".svc.cluster.local"};
    for (size_t i = 0; i < ARRAY_LEN(machine); i++)
        if (str_eqz(u->host, machine[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(cluster); i++)
        if (str_ends(u->host, str_from(cluster[i])))
            return true;
    return false;
}

void url_escape_segment(Buf *b, Str s)
{
    bool dots = str_eqz(s, ".") || str_eqz(s, "..");
    for (size_t i = 0; i < s.len; i++) {
        if (is_unreserved((unsigned char)s.ptr[i]) && !dots)
            buf_addc(b, s.ptr[i]);
        else
            escape(b, (unsigned char)s.ptr[i]);
    }
}

void url_escape_query(Buf *b, Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == ' ')
            buf_addc(b, '+');
        else if (is_unreserved((unsigned char)s.ptr[i]))
            buf_addc(b, s.ptr[i]);
        else
            escape(b, (unsigned char)s.ptr[i]);
    }
}

int url_unescape(Buf *b, Str s, bool plus_is_space)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            int byte = escaped_byte(str_slice(s, i, s.len));
            if (byte < 0)
                return -1;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (buf_addc(b, c) < 0)
            return -1;
    }
    return 0;
}
