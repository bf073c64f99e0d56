// Speaks to the API server with grpc-go: grpc-client DESCRIPTORS ADDRESS TOKEN. Messages are built from the descriptor
// set at run time, so nothing here is generated. Prints one JSON object of what it saw.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type client struct {
	files *protoregistry.Files
	conn  *grpc.ClientConn
	ctx   context.Context
}

type fields map[string]any

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (c *client) method(name string) protoreflect.MethodDescriptor {
	d, err := c.files.FindDescriptorByName("ambient.v1.SessionService")
	check(err)
	return d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
}

func message(d protoreflect.MessageDescriptor, values fields) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	for name, value := range values {
		m.Set(d.Fields().ByName(protoreflect.Name(name)), protoreflect.ValueOf(value))
	}
	return m
}

func get(m *dynamicpb.Message, path string) protoreflect.Value {
	var v protoreflect.Value
	var at protoreflect.Message = m
	for _, name := range strings.Split(path, ".") {
		v = at.Get(at.Descriptor().Fields().ByName(protoreflect.Name(name)))
		if next, ok := v.Interface().(protoreflect.Message); ok {
			at = next
		}
	}
	return v
}

func (c *client) unary(name string, values fields) (*dynamicpb.Message, error) {
	d := c.method(name)
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	answer := dynamicpb.NewMessage(d.Output())
	return answer, c.conn.Invoke(ctx, "/ambient.v1.SessionService/"+name, message(d.Input(), values), answer)
}

func (c *client) must(name string, values fields) *dynamicpb.Message {
	answer, err := c.unary(name, values)
	check(err)
	return answer
}

func (c *client) watch(ctx context.Context, name string, values fields) grpc.ClientStream {
	d := c.method(name)
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/ambient.v1.SessionService/"+name)
	check(err)
	check(stream.SendMsg(message(d.Input(), values)))
	check(stream.CloseSend())
	return stream
}

func (c *client) next(stream grpc.ClientStream, name string) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(c.method(name).Output())
	return m, stream.RecvMsg(m)
}

func codeOf(_ *dynamicpb.Message, err error) []any {
	return []any{int(status.Code(err)), status.Convert(err).Message()}
}

func load(path string) *protoregistry.Files {
	bytes, err := os.ReadFile(path)
	check(err)
	set := &descriptorpb.FileDescriptorSet{}
	check(proto.Unmarshal(bytes, set))
	files, err := protodesc.NewFiles(set)
	check(err)
	return files
}

func main() {
	address, token := os.Args[2], os.Args[3]
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second}))
	check(err)
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
	c := &client{files: load(os.Args[1]), conn: conn, ctx: ctx}
	result := fields{}

	events := c.watch(ctx, "WatchSessions", fields{})
	_, err = events.Header() // sent at once: from here on nothing is missed
	check(err)
	session := c.must("CreateSession", fields{"name": "go", "prompt": "first"})
	id := get(session, "metadata.id").String()
	var kinds []string
	// Awaited before the next change: a watcher that is behind may be told of the last one only.
	seen := func(kind string) {
		for len(kinds) == 0 || !strings.HasSuffix(kinds[len(kinds)-1], kind) {
			event, err := c.next(events, "WatchSessions")
			check(err)
			if get(event, "resource_id").String() == id {
				d := event.Descriptor().Fields().ByName("type")
				kinds = append(kinds, string(d.Enum().Values().ByNumber(event.Get(d).Enum()).Name()))
			}
		}
	}
	seen("CREATED")
	c.must("UpdateSession", fields{"id": id, "llm_model": "m"})
	seen("UPDATED")

	var pushed []int64
	for i := 0; i < 20; i++ {
		m := c.must("PushSessionMessage", fields{"session_id": id, "event_type": "assistant", "payload": fmt.Sprint("\u00fc", i)})
		pushed = append(pushed, get(m, "seq").Int())
	}
	result["pushed"] = pushed

	watching, stop := context.WithCancel(ctx)
	messages := c.watch(watching, "WatchSessionMessages", fields{"session_id": id, "after_seq": int64(1)})
	_, err = messages.Header()
	check(err)
	go func() {
		for i := 0; i < 5; i++ {
			c.must("PushSessionMessage", fields{"session_id": id, "event_type": "note", "payload": fmt.Sprint(i)})
		}
	}()
	var seqs []int64
	for len(seqs) < 25 {
		m, err := c.next(messages, "WatchSessionMessages")
		check(err)
		seqs = append(seqs, get(m, "seq").Int())
	}
	stop()
	_, err = c.next(messages, "WatchSessionMessages")
	result["watched"], result["cancelled"] = seqs, int(status.Code(err))

	c.must("PushSessionMessage", fields{"session_id": id, "event_type": "assistant", "payload": strings.Repeat("x", 3<<20)})
	large, stopLarge := context.WithCancel(ctx)
	m, err := c.next(c.watch(large, "WatchSessionMessages", fields{"session_id": id, "after_seq": int64(26)}), "WatchSessionMessages")
	check(err)
	result["large"] = len(get(m, "payload").String())
	stopLarge()

	result["notFound"] = codeOf(c.unary("GetSession", fields{"id": "nope"}))
	result["invalid"] = codeOf(c.unary("PushSessionMessage", fields{"session_id": id}))
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = c.next(c.watch(short, "WatchSessionMessages", fields{"session_id": id, "after_seq": int64(1000)}), "WatchSessionMessages")
	cancel()
	result["deadline"] = status.Code(err) == codes.DeadlineExceeded
	anonymous := &client{files: c.files, conn: conn, ctx: context.Background()}
	result["anonymous"] = codeOf(anonymous.unary("GetSession", fields{"id": id}))[0]

	c.must("DeleteSession", fields{"id": id})
	seen("DELETED")
	result["events"] = kinds
	out, err := json.Marshal(result)
	check(err)
	fmt.Println(string(out))
}
