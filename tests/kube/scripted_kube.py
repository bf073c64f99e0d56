"""A Kubernetes API in memory, enough of it for the control plane: a real one would take too long to be filled.
It keeps every rule that the control plane relies on: versions, conflicts, uids, selectors, pages, watches."""
import base64
import collections
import copy
import json
import threading
import time
import urllib.parse

from kube_front import Front

PLURALS = {"pods": "Pod", "services": "Service", "secrets": "Secret", "serviceaccounts": "ServiceAccount",
           "configmaps": "ConfigMap", "namespaces": "Namespace", "roles": "Role", "rolebindings": "RoleBinding",
           "networkpolicies": "NetworkPolicy", "leases": "Lease", "events": "Event",
           "persistentvolumeclaims": "PersistentVolumeClaim", "projectsettings": "ProjectSettings"}
HISTORY = 20000


def status(code, reason):
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": reason}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def merge(into, patch):
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def selects(selector, labels):
    for term in filter(None, (selector or "").split(",")):
        key, equals, value = term.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


class Kube(Front):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.objects = collections.defaultdict(dict)  # plural -> (namespace, name) -> object
        self.version, self.history = 1, collections.deque(maxlen=HISTORY)
        self.news, self.muted = threading.Condition(self.lock), None

    # ---- the store

    def put(self, plural, o, event="MODIFIED"):
        with self.lock:
            self.version += 1
            meta = o["metadata"]
            meta["resourceVersion"] = str(self.version)
            self.objects[plural][meta.get("namespace", ""), meta["name"]] = o
            self.tell(event, plural, o)
        return o

    def add(self, plural, o):
        meta = o["metadata"]
        with self.lock:
            meta.setdefault("uid", f"uid-{self.version + 1}")
        meta.setdefault("creationTimestamp", now())
        if plural == "namespaces":
            o.setdefault("status", {"phase": "Active"})
        if plural == "pods":
            o.setdefault("status", {"phase": "Pending"})
        return self.put(plural, o, "ADDED")

    def remove(self, plural, key):
        with self.lock:
            o = self.objects[plural].pop(key)
            self.version += 1
            o["metadata"]["resourceVersion"] = str(self.version)
            self.tell("DELETED", plural, o)

    def mute(self, plural):
        """Nobody hears what becomes of these, not even later."""
        self.muted = plural

    def tell(self, event, plural, o):
        if plural == self.muted:
            return
        self.history.append((self.version, plural, json.dumps({"type": event, "object": o}).encode() + b"\n"))
        self.news.notify_all()

    def of(self, plural, **labels):
        with self.lock:
            return [o for o in self.objects[plural].values()
                    if all(o["metadata"].get("labels", {}).get(k) == v for k, v in labels.items())]

    # ---- requests

    def answer(self, handler, request, query, body):
        path = urllib.parse.urlsplit(handler.path).path.strip("/").split("/")
        if path == ["version"]:
            return handler.reply(200, {"major": "1", "minor": "34"})
        rest = path[2:] if path[0] == "api" else path[3:]
        ns = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            ns, rest = rest[1], rest[2:]
        plural, name = rest[0], rest[1] if len(rest) > 1 else None
        data = json.loads(body) if body else {}
        if plural.endswith("reviews"):
            return handler.reply(201, {"status": {"allowed": True}})
        if request.verb == "watch":
            return self.watch(handler, plural, query)
        with self.lock:
            code, answer = getattr(self, request.verb)(plural, ns, name, query, data)
            text = json.dumps(answer).encode()
        return handler.reply(code, text)

    def get(self, plural, ns, name, *_):
        o = self.objects[plural].get((ns, name))
        return (200, o) if o else (404, status(404, "NotFound"))

    def list(self, plural, ns, _, query, __):
        begin = tuple(query["continue"].split("/")) if "continue" in query else None
        keys = sorted(k for k, o in self.objects[plural].items() if (not ns or k[0] == ns) and
                      selects(query.get("labelSelector"), o["metadata"].get("labels", {})))
        if begin:
            keys = [k for k in keys if k > begin]
        limit = int(query.get("limit", 0)) or len(keys)
        meta = {"resourceVersion": str(self.version)}
        if len(keys) > limit:
            meta["continue"] = "/".join(keys[limit - 1])
        return 200, {"kind": "List", "metadata": meta, "items": [self.objects[plural][k] for k in keys[:limit]]}

    def create(self, plural, ns, _, __, data):
        meta = data["metadata"]
        if ns:
            meta["namespace"] = ns
        if (ns, meta["name"]) in self.objects[plural]:
            return 409, status(409, "AlreadyExists")
        return 201, self.add(plural, self.written(data))

    @staticmethod
    def written(data):
        for key, value in data.pop("stringData", {}).items():
            data.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
        return data

    def apply(self, plural, ns, name, query, data):
        if (ns, name) not in self.objects[plural]:
            return self.create(plural, ns, name, query, data)
        return self.patch(plural, ns, name, query, data)

    def patch(self, plural, ns, name, _, data):
        o = self.objects[plural].get((ns, name))
        if not o:
            return 404, status(404, "NotFound")
        fresh = copy.deepcopy(o)
        merge(fresh, self.written(data))
        return 200, o if fresh == o else self.put(plural, fresh)

    def update(self, plural, ns, name, _, data):
        o = self.objects[plural].get((ns, name))
        if not o:
            return 404, status(404, "NotFound")
        if data["metadata"].get("resourceVersion") != o["metadata"]["resourceVersion"]:
            return 409, status(409, "Conflict")
        return 200, self.put(plural, data)

    def delete(self, plural, ns, name, _, data):
        o = self.objects[plural].get((ns, name))
        if not o:
            return 404, status(404, "NotFound")
        uid = (data.get("preconditions") or {}).get("uid")
        if uid and uid != o["metadata"]["uid"]:
            return 409, status(409, "Conflict")
        self.remove(plural, (ns, name))  # its kubelet is quick
        return 200, o

    def deletecollection(self, plural, ns, _, query, __):
        gone = [k for k, o in self.objects[plural].items()
                if k[0] == ns and selects(query.get("labelSelector"), o["metadata"].get("labels", {}))]
        for key in gone:
            self.remove(plural, key)
        return 200, {"kind": "List", "items": []}

    def watch(self, handler, plural, query):
        seen = int(query["resourceVersion"])
        with self.lock:
            if self.history and seen < self.history[0][0] - 1:
                return handler.reply(410, status(410, "Expired"))
        handler.begin_stream()
        while self.server is handler.server:
            with self.lock:
                fresh = [line for at, kind, line in self.history if at > seen and kind == plural]
                seen = self.version
                if not fresh:
                    self.news.wait(0.2)
            if fresh:
                handler.piece(b"".join(fresh))
        return 200
