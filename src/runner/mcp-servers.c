#include "mcp-servers.h"

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/mem.h"
#include "json/json.h"

#define CONFIG_MAX ((size_t)1 << 20)

/* What agents know these servers by. */
static const char *name_of(const char *provider)
{
    static const struct {
        const char *provider, *name;
    } names[] = {
        {"jira", "mcp-atlassian"},
        {"kubeconfig", "openshift"},
        {"google", "google-workspace"},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i].provider, provider) == 0)
            return names[i].name;
    return provider;
}

static void add(json_t *servers, const char *name, const char *base)
{
    size_t len = strlen(base);
    CLEANUP_FREE char *url = xasprintf("%.*s/sse", (int)(len - (len && base[len - 1] == '/')), base);

    json_object_set_new(servers, name, json_pack("{s:s, s:s}", "type", "sse", "url", url));
}

static json_t *configured(const RunnerConfig *c, Err *err)
{
    json_t *j = NULL;
    int r = 0;

    if (c->mcp_config && *c->mcp_config)
        r = json_parse(str_from(c->mcp_config), &j, err);
    else if (c->mcp_config_file && *c->mcp_config_file)
        r = json_parse_file(c->mcp_config_file, CONFIG_MAX, &j, err);
    else
        j = json_object();
    if (r == 0 && !json_is_object(j))
        (void)err_set(err, ERR_USAGE, "it is no JSON object");
    if (json_is_object(j))
        return j;
    (void)err_wrap(err, "MCP_CONFIG");
    json_decref(j);
    return NULL;
}

int mcp_servers_settle(RunnerConfig *c, Err *err)
{
    CLEANUP_JSON json_t *beside = NULL, *all = NULL;
    const char *urls = c->credential_mcp_urls, *provider;
    json_t *url;

    if (urls && *urls && (json_parse(str_from(urls), &beside, err) < 0 || !json_is_object(beside)))
        return err_set(err, ERR_USAGE, "CREDENTIAL_MCP_URLS is no JSON object");
    if (json_object_size(beside) == 0 && (!c->mcp_url || !*c->mcp_url))
        return 0;
    all = configured(c, err);
    if (!all)
        return -(int)err->code;
    if (!json_is_object(json_object_get(all, "mcpServers")))
        json_object_set_new(all, "mcpServers", json_object());
    json_t *servers = json_object_get(all, "mcpServers");
    if (c->mcp_url && *c->mcp_url)
        add(servers, "ambient", c->mcp_url);
    json_object_foreach(beside, provider, url)
    {
        if (json_is_string(url))
            add(servers, name_of(provider), json_string_value(url));
    }
    free(c->mcp_config);
    c->mcp_config = json_dumps(all, JSON_COMPACT);
    return c->mcp_config ? 0 : err_set(err, ERR_INVALID, "MCP_CONFIG is not UTF-8");
}
