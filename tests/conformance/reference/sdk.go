// What a program written with the reference's Go SDK does, call by call. Built by test_reference.py against a checkout of
// the reference, where there is one. Stops at the first thing that differs and says which.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/ambient-code/platform/components/ambient-sdk/go-sdk/client"
	"github.com/ambient-code/platform/components/ambient-sdk/go-sdk/types"
)

var (
	ctx     = context.Background()
	project = os.Getenv("AMBIENT_PROJECT")
)

type patch = map[string]any

func must(what string, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, what+":", err)
		os.Exit(1)
	}
}

func want(what string, good bool, got ...any) {
	if !good {
		fmt.Fprintln(os.Stderr, append([]any{what + ": got"}, got...)...)
		os.Exit(1)
	}
}

// do gives the result of a call that must succeed.
func do[T any](v T, err error) T {
	if err != nil {
		_, _, line, _ := runtime.Caller(1)
		must(fmt.Sprint("line ", line), err)
	}
	return v
}

func refused(what string, status int, err error) {
	var e *types.APIError
	want(what+" is refused as an APIError", errors.As(err, &e), err)
	want(what+" status", e.StatusCode == status, e)
	want(what+" has code and reason", e.Code != "" && e.Reason != "" && e.OperationID != "", e)
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func projects(c *client.Client) {
	p := do(c.Projects().Create(ctx, &types.Project{Name: project, Description: "d"}))
	want("project id is its name", p.ID == project && p.CreatedAt != nil, text(p))
	_, err := c.Projects().Create(ctx, &types.Project{Name: project})
	refused("second project of that name", 409, err)
	do(c.Projects().Get(ctx, project))
	l := do(c.Projects().List(ctx, &types.ListOptions{Size: 2}))
	want("list has a total", l.Total >= 1 && len(l.Items) >= 1, text(l))
	p = do(c.Projects().PatchLabels(ctx, project, map[string]string{"a": "b"}))
	want("labels are text", p.Labels == `{"a":"b"}`, p.Labels)
	p = do(c.Projects().PatchAnnotations(ctx, project, map[string]string{"c": "d"}))
	want("annotations are text", p.Annotations == `{"c":"d"}`, p.Annotations)
	p = do(c.Projects().Update(ctx, project, patch{"description": "e"}))
	want("description", p.Description == "e", p.Description)
	n := 0
	all := c.Projects().ListAll(ctx, &types.ListOptions{Size: 1})
	for all.Next() {
		n++
	}
	must("list all", all.Err())
	want("list all counts the total", n == l.Total, n, l.Total)
}

func usersAndRoles(c *client.Client) (viewer *types.Role) {
	name := "user-" + project
	u := do(c.Users().Create(ctx, &types.User{Username: name, Name: "U"}))
	do(c.Users().Get(ctx, u.ID))
	us := do(c.Users().List(ctx, &types.ListOptions{Search: "username = '" + name + "'"}))
	want("user is found", len(us.Items) == 1 && us.Items[0].ID == u.ID, text(us))
	u = do(c.Users().Update(ctx, u.ID, patch{"email": "u@x.test"}))
	want("user's email", u.Email == "u@x.test", text(u))

	rs := do(c.Roles().List(ctx, &types.ListOptions{Search: "name = 'credential:viewer'", Size: 1}))
	want("credential:viewer is seeded", len(rs.Items) == 1 && rs.Items[0].BuiltIn, text(rs))
	r := do(c.Roles().Create(ctx, &types.Role{Name: "custom:" + project, Permissions: `["session:read"]`}))
	do(c.Roles().Get(ctx, r.ID))
	do(c.Roles().Update(ctx, r.ID, patch{"description": "d"}))
	must("delete role", c.Roles().Delete(ctx, r.ID))
	return &rs.Items[0]
}

func agents(c *client.Client) *types.Agent {
	a := do(c.Agents().CreateInProject(ctx, project, &types.Agent{Name: "lead", Prompt: "be brief"}))
	want("agent's project is the path's", a.ProjectID == project, text(a))
	do(c.Agents().GetByProject(ctx, project, a.ID))
	b := do(c.Agents().GetInProject(ctx, project, "lead"))
	want("found by name", b.ID == a.ID, text(b))
	l := do(c.Agents().ListByProject(ctx, project, &types.ListOptions{Page: 1, Size: 1, OrderBy: "name asc"}))
	want("list of agents", l.Total == 1 && l.Size == 1, text(l))
	a = do(c.Agents().UpdateInProject(ctx, project, a.ID, patch{"prompt": "be exact"}))
	want("agent's prompt", a.Prompt == "be exact", text(a))
	do(c.Agents().PatchLabelsInProject(ctx, project, a.ID, map[string]string{"x": "y"}))
	do(c.Agents().PatchAnnotationsInProject(ctx, project, a.ID, map[string]string{"x": "y"}))
	do(c.Agents().List(ctx, &types.ListOptions{}))
	do(c.Agents().Get(ctx, a.ID))
	return a
}

func inbox(c *client.Client, a *types.Agent) {
	must("send to inbox", c.Agents().SendInboxInProject(ctx, project, a.ID, "someone", "hello"))
	m := do(c.InboxMessages().Send(ctx, project, a.ID, &types.InboxMessage{Body: "again"}))
	l := do(c.InboxMessages().ListByAgent(ctx, project, a.ID, &types.ListOptions{}))
	want("two messages", len(l.Items) == 2, text(l))
	do(c.Agents().ListInboxInProject(ctx, project, a.ID))
	must("mark read", c.InboxMessages().MarkRead(ctx, project, a.ID, m.ID))
	must("delete message", c.InboxMessages().DeleteMessage(ctx, project, a.ID, m.ID))
}

func credentials(c *client.Client, viewer *types.Role, a *types.Agent) {
	secret := "ghp_reference_" + project
	k := do(c.Credentials().Create(ctx, &types.Credential{Name: "k", Provider: "github", Token: secret}))
	want("token is not answered", k.Token == "" && k.Provider == "github", text(k))
	k = do(c.Credentials().Get(ctx, k.ID))
	want("token is not answered", k.Token == "", text(k))
	do(c.Credentials().List(ctx, &types.ListOptions{}))
	do(c.Credentials().Update(ctx, k.ID, patch{"token": secret + "2"}))
	t := do(c.Credentials().GetToken(ctx, k.ID))
	want("token is the newest", t.Token == secret+"2" && t.CredentialID == k.ID && t.Provider == "github", "another")
	b := do(c.RoleBindings().Create(ctx, &types.RoleBinding{RoleID: viewer.ID, Scope: "credential",
		CredentialID: &k.ID, ProjectID: &project}))
	bs := do(c.RoleBindings().List(ctx, &types.ListOptions{Search: "credential_id = '" + k.ID + "'"}))
	want("owner's and this", len(bs.Items) >= 1, text(bs))
	do(c.RoleBindings().Get(ctx, b.ID))
	must("delete binding", c.RoleBindings().Delete(ctx, b.ID))
	do(c.Agents().ListRoleBindingsByAgent(ctx, project, a.ID, &types.ListOptions{}))
	must("delete credential", c.Credentials().Delete(ctx, k.ID))
}

func sessions(c *client.Client) {
	watcher := do(c.Sessions().Watch(ctx, &client.WatchOptions{Timeout: time.Minute}))
	defer watcher.Stop()
	time.Sleep(200 * time.Millisecond) // its stream opens in the background and nothing says when
	s := do(c.Sessions().Create(ctx, &types.Session{Name: "conf", ProjectID: project, Prompt: "first",
		Repos: `[{"url":"https://host.test/r.git"}]`, LlmTemperature: 0.7}))
	s = do(c.Sessions().Get(ctx, s.ID))
	want("repos are text", strings.HasPrefix(s.Repos, "["), s.Repos)
	l := do(c.Sessions().List(ctx, &types.ListOptions{Page: 1, Size: 10,
		Search: "project_id = '" + project + "' and name like '%conf%'", OrderBy: "created_at desc", Fields: "id,name,phase"}))
	want("session is found", len(l.Items) == 1 && l.Items[0].Name == "conf", text(l))
	s = do(c.Sessions().Update(ctx, s.ID, patch{"llm_model": "m"}))
	want("model", s.LlmModel == "m", text(s))
	do(c.Sessions().PatchLabels(ctx, s.ID, map[string]string{"a": "b"}))
	s = do(c.Sessions().UpdateStatus(ctx, s.ID, patch{"phase": "Running", "start_time": time.Now().UTC()}))
	want("phase and time", s.Phase == "Running" && s.StartTime != nil, text(s))
	for i := 0; i < 3; i++ {
		do(c.Sessions().PushMessage(ctx, s.ID, fmt.Sprint("m", i)))
	}
	ms := do(c.Sessions().ListMessages(ctx, s.ID, 0))
	want("prompt and three", len(ms) == 4 && ms[3].Seq > ms[0].Seq, text(ms))
	none := do(c.Sessions().ListMessages(ctx, s.ID, ms[3].Seq))
	want("nothing behind the last", len(none) == 0, text(none))
	stream, stop, err := c.Sessions().WatchMessages(ctx, s.ID, 0)
	must("watch messages", err)
	for i := 0; i < 4; i++ {
		m := <-stream
		want("replayed in order", m.Seq == ms[i].Seq && m.Payload == ms[i].Payload, text(m))
	}
	do(c.Sessions().PushMessage(ctx, s.ID, "live"))
	want("live", (<-stream).Payload == "live")
	stop()
	_, err = c.Sessions().StreamEvents(ctx, s.ID)
	want("no runner, no events", err != nil)
	do(c.Sessions().Stop(ctx, s.ID))
	do(c.Sessions().UpdateStatus(ctx, s.ID, patch{"phase": "Stopped"}))
	do(c.Sessions().Start(ctx, s.ID))
	must("delete session", c.Sessions().Delete(ctx, s.ID))
	_, err = c.Sessions().Get(ctx, s.ID)
	refused("deleted session", 404, err)
	var seen []string
	for len(seen) == 0 || seen[len(seen)-1] != "DELETED" {
		select {
		case e := <-watcher.Events():
			if e.ResourceID == s.ID {
				seen = append(seen, e.Type)
			}
		case err := <-watcher.Errors():
			must("watch", err)
		case <-time.After(30 * time.Second):
			must("watch", fmt.Errorf("after %v nothing comes", seen))
		}
	}
	want("created first", seen[0] == "CREATED" && seen[1] == "UPDATED", seen)
}

func starts(c *client.Client, a *types.Agent) {
	preview := do(c.Agents().GetStartPreview(ctx, project, a.ID))
	want("preview has the prompt", strings.Contains(preview.StartingPrompt, "be exact"), preview.StartingPrompt)
	s := do(c.Agents().StartInProject(ctx, project, a.ID, "hello there"))
	want("start has the task", strings.Contains(s.StartingPrompt, "hello there"), s.StartingPrompt)
	again := do(c.Agents().StartInProject(ctx, project, a.ID, ""))
	want("the same session", again.Session.ID == s.Session.ID, text(again))
	l := do(c.Agents().Sessions(ctx, project, a.ID, &types.ListOptions{}))
	want("one", l.Total == 1, text(l))
	do(c.Sessions().Stop(ctx, s.Session.ID))
}

func schedules(c *client.Client, a *types.Agent) {
	api := c.ScheduledSessions()
	s := do(api.CreateInProject(ctx, project, &types.ScheduledSession{Name: "daily",
		AgentID: a.ID, Schedule: "0 9 * * 1-5", Timezone: "Europe/Berlin"}))
	want("enabled without being told", s.Enabled && s.NextRunAt != nil, text(s))
	do(api.GetByProject(ctx, project, s.ID))
	do(api.GetByName(ctx, project, "daily"))
	do(api.ListByProject(ctx, project, &types.ListOptions{}))
	s = do(api.UpdateInProject(ctx, project, s.ID, patch{"enabled": false}))
	want("disabled", !s.Enabled, text(s))
	do(api.SuspendInProject(ctx, project, s.ID))
	s = do(api.ResumeInProject(ctx, project, s.ID))
	want("resumed", s.Enabled, text(s))
	must("trigger", api.TriggerInProject(ctx, project, s.ID))
	runs := do(api.RunsInProject(ctx, project, s.ID, &types.ListOptions{}))
	want("one run", runs.Total == 1, text(runs))
	must("delete schedule", api.DeleteInProject(ctx, project, s.ID))
	_, err := api.CreateInProject(ctx, project, &types.ScheduledSession{Name: "bad", AgentID: a.ID, Schedule: "99 * * * *"})
	refused("bad cron", 400, err)
}

func applications(c *client.Client) {
	a := do(c.Applications().Create(ctx, &types.Application{Name: "app-" + project,
		SourceRepoURL: "https://host.test/r.git", SourcePath: "deploy", DestinationProject: project}))
	do(c.Applications().Get(ctx, a.ID))
	do(c.Applications().List(ctx, &types.ListOptions{}))
	a = do(c.Applications().Update(ctx, a.ID, patch{"auto_sync": true}))
	want("auto sync", a.AutoSync, text(a))
	must("delete application", c.Applications().Delete(ctx, a.ID))
}

func settingsAndErrors(c *client.Client, url string) {
	s := do(c.ProjectSettings().Create(ctx, &types.ProjectSettings{ProjectID: project}))
	do(c.ProjectSettings().List(ctx, &types.ListOptions{}))
	do(c.ProjectSettings().Get(ctx, s.ID))
	do(c.ProjectSettings().Update(ctx, s.ID, patch{"repositories": "[]"}))
	must("delete settings", c.ProjectSettings().Delete(ctx, s.ID))

	stranger := do(client.NewClient(url, "a-token-that-is-not-known", project))
	_, err := stranger.Projects().Get(ctx, project)
	var e *types.APIError
	want("wrong token", errors.As(err, &e) && e.StatusCode == 401 && e.Code != "", err)
	_, err = c.Sessions().Get(ctx, "nope")
	refused("unknown session", 404, err)
	_, err = c.Projects().Update(ctx, project, patch{"description": 7})
	refused("number for a text", 400, err)
	l := do(c.Projects().List(ctx, &types.ListOptions{Page: 999, Size: 10}))
	want("far page is empty", len(l.Items) == 0 && l.Total >= 1, text(l))
}

func main() {
	url := os.Getenv("AMBIENT_API_URL")
	c := do(client.NewClientFromEnv())
	do(client.FetchServerVersion(ctx, url, false))
	do(c.ServerVersion(ctx))
	projects(c)
	viewer := usersAndRoles(c)
	a := agents(c)
	inbox(c, a)
	credentials(c, viewer, a)
	sessions(c)
	starts(c, a)
	schedules(c, a)
	applications(c)
	settingsAndErrors(c, url)
	must("delete project", c.Projects().Delete(ctx, project))
	fmt.Println("done")
}
