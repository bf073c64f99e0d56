"""A model that follows a script, behind the real Anthropic Messages API: streaming, tool calls, errors, rate limits.

What it says is chosen by a word in the newest user text; a request that ends in a tool result gets the second half.
"""
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def newest_blocks(messages):
    """The content blocks behind the last answer of the assistant; the CLI may spread them over several messages."""
    blocks = []
    for message in reversed(messages):
        if message["role"] == "assistant":
            break
        content = message["content"]
        blocks[:0] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return blocks


class ScriptedModel(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.limited, self.lock = [], 0, threading.Lock()
        self.go = threading.Event()  # what a slow answer waits for
        self.answer_result_slowly = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # agents are killed in the middle of an answer

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self):
        self.go.set()
        self.shutdown()
        self.server_close()

    def answer(self, body):
        """(status, headers, content blocks or error)"""
        blocks = newest_blocks(body["messages"])
        said = "\n".join(b["text"] for b in blocks if b["type"] == "text")
        results = [b for b in blocks if b["type"] == "tool_result"]
        if results:
            if self.answer_result_slowly:
                self.go.wait(30)
            return 200, {}, [{"type": "text", "text": "The tool said: " + json.dumps(results[0]["content"])[:200]}]
        if "MAKE-FILE" in said:
            return 200, {}, [{"type": "text", "text": "I make the file."},
                             {"type": "tool_use", "id": "toolu_01", "name": "Bash",
                              "input": {"command": "echo written-by-the-agent > made.txt && cat made.txt",
                                        "description": "make a file"}}]
        if command := re.search("RUN-COMMAND (.+)", said):
            return 200, {}, [{"type": "tool_use", "id": "toolu_06", "name": "Bash",
                              "input": {"command": command[1], "description": "what was asked"}}]
        if "ASK-ME" in said:
            question = {"question": "Which colour?", "header": "Colour", "multiSelect": False,
                        "options": [{"label": "red", "description": "r"}, {"label": "blue", "description": "b"}]}
            return 200, {}, [{"type": "tool_use", "id": "toolu_02", "name": "AskUserQuestion",
                              "input": {"questions": [question]}}]
        if "FETCH" in said:
            return 200, {}, [{"type": "tool_use", "id": "toolu_03", "name": "WebFetch",
                              "input": {"url": "http://127.0.0.1:1/", "prompt": "look"}}]
        if "USE-MCP" in said:
            return 200, {}, [{"type": "tool_use", "id": "toolu_05", "name": "mcp__loud__shout", "input": {}}]
        if "DELEGATE" in said:
            return 200, {}, [{"type": "tool_use", "id": "toolu_04", "name": "Agent",
                              "input": {"description": "helper", "prompt": "SUB-TASK do it",
                                        "subagent_type": "general-purpose",
                                        "run_in_background": "BACKGROUND" in said}}]
        if "SUB-TASK" in said:
            self.go.wait(30)
            return 200, {}, [{"type": "text", "text": "The sub-task is done."}]
        if "SLOWLY" in said:
            return 200, {}, [{"type": "text", "text": "It takes a while."}]
        if "BREAK" in said:
            return 400, {}, {"type": "invalid_request_error", "message": "the script says no"}
        with self.lock:
            if "LIMITED" in said and self.limited < 1:
                self.limited += 1
                return 429, {"retry-after": "0"}, {"type": "rate_limit_error", "message": "slow down"}
        return 200, {}, [{"type": "text", "text": "Hello from the scripted model."}]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.startswith("/v1/messages"):
            return self.fail(404, {}, {"type": "not_found_error", "message": self.path})
        self.server.requests.append((dict(self.headers), body))
        status, headers, what = self.server.answer(body)
        if status != 200:
            return self.fail(status, headers, what)
        return self.stream(body, what)

    def fail(self, status, headers, error):
        data = json.dumps({"type": "error", "error": error}).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def event(self, name, **members):
        data = f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def block(self, index, block):
        if block["type"] == "text":
            self.event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            for word in re.findall(r" ?[^ ]+", block["text"]):
                self.event("content_block_delta", index=index, delta={"type": "text_delta", "text": word})
                if block["text"].startswith("It takes"):
                    self.server.go.wait(30)
        else:
            self.event("content_block_start", index=index, content_block={**block, "input": {}})
            text = json.dumps(block["input"])
            for part in (text[:7], text[7:]):
                self.event("content_block_delta", index=index, delta={"type": "input_json_delta", "partial_json": part})
        self.event("content_block_stop", index=index)

    def stream(self, body, blocks):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        usage = {"input_tokens": 10, "output_tokens": 1}
        self.event("message_start", message={"id": "msg_01", "type": "message", "role": "assistant",
                                             "model": body["model"], "content": [], "stop_reason": None,
                                             "stop_sequence": None, "usage": usage})
        for index, block in enumerate(blocks):
            self.block(index, block)
        reason = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
        self.event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 9})
        self.event("message_stop")
        self.wfile.write(b"0\r\n\r\n")
