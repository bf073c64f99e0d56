// Speaks to the API server with @grpc/grpc-js: client.js PROTO_DIR ADDRESS TOKEN. Prints one JSON object of what it saw.
"use strict";
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [protoDir, address, token] = process.argv.slice(2);
const definition = loader.loadSync(path.join("ambient/v1/sessions.proto"), {
  includeDirs: [protoDir], keepCase: true, longs: Number, enums: String, defaults: false, oneofs: true,
});
const api = grpc.loadPackageDefinition(definition).ambient.v1;
const metadata = new grpc.Metadata();
metadata.set("authorization", "Bearer " + token);
const client = new api.SessionService(address, grpc.credentials.createInsecure());

function unary(method, request, options = {}) {
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline: Date.now() + 60000, ...options },
      (error, answer) => error ? reject(error) : resolve(answer));
  });
}

// The first `count` messages of a stream, then it is cancelled; resolves with what came and how it ended.
function take(call, count, meanwhile = () => {}) {
  return new Promise((resolve) => {
    const seen = [];
    let headers = false;
    call.on("metadata", () => { headers = true; meanwhile(); });
    call.on("data", (message) => {
      seen.push(message);
      if (seen.length === count) call.cancel();
    });
    call.on("error", (error) => resolve({ seen, headers, code: error.code }));
    call.on("end", () => resolve({ seen, headers, code: grpc.status.OK }));
  });
}

async function main() {
  const result = {};
  const session = await unary("CreateSession", { name: "js", prompt: "first" });
  const id = session.metadata.id;
  result.created = { name: session.name, id, phase: session.phase === undefined };

  const pushed = [];
  for (let i = 0; i < 20; i++) {
    pushed.push((await unary("PushSessionMessage",
      { session_id: id, event_type: "assistant", payload: "\u00fc" + i })).seq);
  }
  result.pushed = pushed;

  const watch = client.WatchSessionMessages({ session_id: id, after_seq: 1 }, metadata);
  const messages = await take(watch, 25, () => {
    for (let i = 0; i < 5; i++) unary("PushSessionMessage", { session_id: id, event_type: "note", payload: "" + i });
  });
  result.watched = { seqs: messages.seen.map((m) => m.seq), headers: messages.headers, code: messages.code,
    last: messages.seen.at(-1).payload, first: messages.seen[0].payload };

  const large = "x".repeat(3 << 20);
  await unary("PushSessionMessage", { session_id: id, event_type: "assistant", payload: large });
  const page = await take(client.WatchSessionMessages({ session_id: id, after_seq: 26 }, metadata), 1);
  result.large = page.seen[0].payload.length;

  result.notFound = await unary("GetSession", { id: "nope" }).catch((e) => [e.code, e.details]);
  result.invalid = await unary("PushSessionMessage", { session_id: id }).catch((e) => [e.code, e.details]);
  const quiet = client.WatchSessionMessages({ session_id: id, after_seq: 1000 }, metadata, { deadline: Date.now() + 300 });
  result.deadline = (await take(quiet, 1)).code;

  const list = await unary("ListSessions", { page: 1, size: 10 });
  result.listed = list.items.some((s) => s.metadata.id === id);
  const anonymous = new api.SessionService(address, grpc.credentials.createInsecure());
  result.anonymous = await new Promise((resolve) =>
    anonymous.GetSession({ id }, new grpc.Metadata(), { deadline: Date.now() + 60000 }, (e) => resolve(e && e.code)));
  anonymous.close();
  await unary("DeleteSession", { id });
  client.close();
  console.log(JSON.stringify(result));
}

main().catch((error) => { console.error(error); process.exit(1); });
