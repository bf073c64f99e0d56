/*
 * libcurl on demand, for programs that mostly end before they need it: linked in front of the library it
 * gives the functions that this room calls, and loads the real ones when the first client is made. libcurl
 * brings 25 libraries with it, which cost 2 ms of every start of acpctl. The pointers below are what the
 * dynamic linker would otherwise keep: written once, before the first call returns.
 */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#include <dlfcn.h>
#include <stdarg.h>

#define LIBRARY "libcurl.so.4"

/* The real function, looked up once. curl_global_init has found the library before any other is called. */
#define REAL(name)                                                                                           \
    static __typeof__(&name) real;                                                                           \
    if (!real)                                                                                               \
    *(void **)(void *)&real = dlsym(dlopen(LIBRARY, RTLD_NOW), #name)

CURLcode curl_global_init(long flags)
{
    if (!dlopen(LIBRARY, RTLD_NOW | RTLD_GLOBAL))
        return CURLE_FAILED_INIT;
    REAL(curl_global_init);
    return real ? real(flags) : CURLE_FAILED_INIT;
}

void curl_global_cleanup(void)
{
    REAL(curl_global_cleanup);
    real();
}

CURL *curl_easy_init(void)
{
    REAL(curl_easy_init);
    return real();
}

void curl_easy_cleanup(CURL *easy)
{
    REAL(curl_easy_cleanup);
    real(easy);
}

/* One argument, whose type the number of the option tells. */
CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    REAL(curl_easy_setopt);
    va_list ap;
    CURLcode result;
    va_start(ap, option);
    if (option < CURLOPTTYPE_OBJECTPOINT)
        result = real(easy, option, va_arg(ap, long));
    else if (option >= CURLOPTTYPE_OFF_T && option < CURLOPTTYPE_BLOB)
        result = real(easy, option, va_arg(ap, curl_off_t));
    else
        result = real(easy, option, va_arg(ap, void *));
    va_end(ap);
    return result;
}

CURLcode curl_easy_getinfo(CURL *easy, CURLINFO info, ...)
{
    REAL(curl_easy_getinfo);
    va_list ap;
    va_start(ap, info);
    CURLcode result = real(easy, info, va_arg(ap, void *));
    va_end(ap);
    return result;
}

CURLcode curl_easy_pause(CURL *easy, int what)
{
    REAL(curl_easy_pause);
    return real(easy, what);
}

const char *curl_easy_strerror(CURLcode code)
{
    REAL(curl_easy_strerror);
    return real(code);
}

CURLM *curl_multi_init(void)
{
    REAL(curl_multi_init);
    return real();
}

CURLMcode curl_multi_cleanup(CURLM *multi)
{
    REAL(curl_multi_cleanup);
    return real(multi);
}

CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...)
{
    REAL(curl_multi_setopt);
    va_list ap;
    va_start(ap, option);
    CURLMcode result = (int)option < (int)CURLOPTTYPE_OBJECTPOINT ? real(multi, option, va_arg(ap, long))
                                                                  : real(multi, option, va_arg(ap, void *));
    va_end(ap);
    return result;
}

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy)
{
    REAL(curl_multi_add_handle);
    return real(multi, easy);
}

CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *easy)
{
    REAL(curl_multi_remove_handle);
    return real(multi, easy);
}

CURLMcode curl_multi_assign(CURLM *multi, curl_socket_t fd, void *arg)
{
    REAL(curl_multi_assign);
    return real(multi, fd, arg);
}

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int events, int *running)
{
    REAL(curl_multi_socket_action);
    return real(multi, fd, events, running);
}

CURLMsg *curl_multi_info_read(CURLM *multi, int *left)
{
    REAL(curl_multi_info_read);
    return real(multi, left);
}

const char *curl_multi_strerror(CURLMcode code)
{
    REAL(curl_multi_strerror);
    return real(code);
}

struct curl_slist *curl_slist_append(struct curl_slist *list, const char *text)
{
    REAL(curl_slist_append);
    return real(list, text);
}

void curl_slist_free_all(struct curl_slist *list)
{
    REAL(curl_slist_free_all);
    real(list);
}
