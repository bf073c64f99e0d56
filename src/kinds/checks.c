/* Rules of single fields, named in the kind tables. */
#include "json/json.h"
#include "kinds/kind.h"
#include "table-internal.h"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_lower_or_digit(char c)
{
    return is_lower(c) || (c >= '0' && c <= '9');
}

/* [a-z0-9-], ends with [a-z0-9]. What it starts with is the caller's to say. */
static bool is_label_tail(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_lower_or_digit(s.ptr[i]) && s.ptr[i] != '-')
            return false;
    return s.len > 0 && s.ptr[s.len - 1] != '-';
}

int check_project_name(Str s, Err *err)
{
    if (s.len < 2 || s.len > 63)
        return err_set(err, ERR_INVALID, "project name must be between 2 and 63 characters");
    if (!is_lower(s.ptr[0]) || !is_label_tail(s))
        return err_set(
            err, ERR_INVALID,
            "project name must match DNS-1123 label format: lowercase alphanumeric and hyphens, must "
            "start with a letter and end with an alphanumeric character");
    return 0;
}

int check_phase(Str s, Err *err)
{
    if (s.len && phase_parse(s) != _PHASE_INVALID)
        return 0;
    return err_set(err, ERR_INVALID,
                   "invalid phase \"" STR_FMT
                   "\"; must be one of: Pending, Creating, Running, Stopping, Stopped, "
                   "Completed, Failed",
                   STR_ARG(str_slice(s, 0, 64)));
}

/* It becomes part of names of variables and files in the session: no blanks, no slashes. */
int check_provider(Str s, Err *err)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_lower_or_digit(s.ptr[i]) && (i == 0 || !memchr("-_.", s.ptr[i], 3)))
            return err_set(err, ERR_INVALID,
                           "provider must be lowercase letters, digits, '-', '_' and '.', and start with a "
                           "letter or digit");
    return 0;
}

int check_dns_label(Str s, Err *err)
{
    if (s.len > 0 && s.len <= 63 && is_lower_or_digit(s.ptr[0]) && is_label_tail(s))
        return 0;
    return err_set(err, ERR_INVALID, "kube_namespace must be a DNS-1123 label");
}

static bool is_word(Str s, const char *beside)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_lower_or_digit(s.ptr[i]) && !strchr(beside, s.ptr[i]))
            return false;
    return s.len > 0;
}

int check_role_name(Str s, Err *err)
{
    if (!s.len || is_word(s, ":_.-"))
        return 0;
    return err_set(
        err, ERR_INVALID,
        "role name may hold lowercase letters, digits and the characters \":\", \"-\", \"_\" and \".\"");
}

/* "session:read", "agent:*", "*:*" */
static bool is_permission(Str s)
{
    Str resource = str_cut(&s, ':');
    return s.ptr && (str_eq(resource, STR("*")) || is_word(resource, "_")) &&
           (str_eq(s, STR("*")) || is_word(s, "_"));
}

int check_permissions(Str s, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    if (json_parse(s, &list, NULL) < 0 || !json_is_array(list))
        return err_set(err, ERR_INVALID, "permissions must be a JSON array of strings");
    size_t i;
    json_t *it;
    json_array_foreach(list, i, it)
    {
        if (!json_is_string(it) || !is_permission((Str){json_string_value(it), json_string_length(it)}))
            return err_set(err, ERR_INVALID, "permission %zu is not of the form resource:action", i + 1);
    }
    return 0;
}
