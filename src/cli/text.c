/* Text on a terminal: what may be shown, how wide it is. */
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>
#include "base/mem.h"
#include "pager.h"

bool stdout_is_terminal(void)
{
    return isatty(STDOUT_FILENO) || pager_is_used();
}

/* https://no-color.org, https://bixense.com/clicolors */
bool use_color(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM"), *cli = getenv("CLICOLOR");
    const char *force = getenv("CLICOLOR_FORCE");
    if (force && *force && strcmp(force, "0") != 0 && !(no && *no))
        return true;
    return stdout_is_terminal() && !(no && *no) && !(term && strcmp(term, "dumb") == 0) &&
           !(cli && strcmp(cli, "0") == 0);
}

unsigned terminal_width(void)
{
    struct winsize ws;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col)
        return ws.ws_col;
    if (pager_is_used() && ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col)
        return ws.ws_col;
    return 80;
}

/* One code point; a broken byte counts as one. Returns its length. */
static size_t decode(Str s, uint32_t *ret)
{
    unsigned char c = (unsigned char)s.ptr[0];
    size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    if (len > s.len)
        len = 1;
    uint32_t cp = len == 1 ? c : c & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80) {
            *ret = 0xfffd;
            return 1;
        }
        cp = cp << 6 | ((unsigned char)s.ptr[i] & 0x3f);
    }
    *ret = len == 1 && c >= 0x80 ? 0xfffd : cp;
    return len;
}

size_t display_width(Str s)
{
    size_t width = 0;
    while (s.len) {
        uint32_t cp;
        size_t n = decode(s, &cp);
        int w = wcwidth((wchar_t)cp);
        width += w < 0 ? 1 : (size_t)w;
        s = str_slice(s, n, s.len);
    }
    return width;
}

/* Length of an escape sequence that starts at s: CSI up to its final byte, OSC and its kin up to BEL or ST.
 */
static size_t escape_len(Str s)
{
    if (s.len < 2)
        return 1;
    char kind = s.ptr[1];
    if (kind == '[') {
        size_t i = 2;
        while (i < s.len && ((unsigned char)s.ptr[i] < 0x40 || (unsigned char)s.ptr[i] > 0x7e))
            i++;
        return i < s.len ? i + 1 : s.len;
    }
    if (kind == ']' || kind == 'P' || kind == '_' || kind == '^' || kind == 'X') {
        for (size_t i = 2; i < s.len; i++) {
            if (s.ptr[i] == '\a')
                return i + 1;
            if (s.ptr[i] == '\033' && i + 1 < s.len && s.ptr[i + 1] == '\\')
                return i + 2;
        }
        return s.len;
    }
    return 2;
}

/* What changes the order in which the letters around it are shown: a name with it reads as another one. */
static bool reorders(uint32_t cp)
{
    return (cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

void clean_text(Buf *out, Str s, bool lines)
{
    while (s.len) {
        uint32_t cp;
        if (s.ptr[0] == '\033') {
            s = str_slice(s, escape_len(s), s.len);
            continue;
        }
        size_t n = decode(s, &cp);
        bool control = cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || reorders(cp);
        if (lines && (cp == '\n' || cp == '\t'))
            buf_addc(out, (char)cp);
        else if (!lines && (cp == '\n' || cp == '\t'))
            buf_addc(out, ' ');
        else if (!control && cp != 0xfffd)
            buf_add(out, s.ptr, n);
        else if (cp == 0xfffd)
            buf_addz(out, "\xEF\xBF\xBD");
        s = str_slice(s, n, s.len);
    }
}

void format_age(char out[static 16], const char *text)
{
    WallUsec then;
    out[0] = '\0';
    if (!text || rfc3339_parse(str_from(text), &then) < 0)
        return;
    int64_t s = (clock_wall(&clock_system).us - then.us) / 1000000;
    long long v = s < 0 ? 0 : s;
    if (v < 60)
        snprintf(out, 16, "%llds", v);
    else if (v < 3600)
        snprintf(out, 16, "%lldm", v / 60);
    else if (v < 86400)
        snprintf(out, 16, "%lldh", v / 3600);
    else
        snprintf(out, 16, "%lldd", v / 86400);
}
