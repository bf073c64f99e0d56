"""Names of Services as a cluster's DNS answers them, except that the answer is a pod and not the Service's own address:
nothing here routes that (there is no kube-proxy). Ports are therefore the pod's."""
import socket
import struct
import threading

TYPE_A, NAME_ERROR = 1, 3


def parse(query):
    """(name, type, end of the question)"""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], at + 5


def service_of(name):
    """(name, namespace), None for what is no Service's name."""
    parts = name.removesuffix(".cluster.local").split(".")
    return parts[:2] if len(parts) == 3 and parts[2] == "svc" else None


class Names:
    def __init__(self, cluster, address):
        self.cluster = cluster
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def lookup(self, name, namespace):
        """Addresses of a Service's pods, or of its slices; None when there is no such Service."""
        service = self.cluster.ask(f"/api/v1/namespaces/{namespace}/services/{name}")
        if service is None:
            return None
        selector = service["spec"].get("selector")
        if selector:
            labels = ",".join(f"{k}={v}" for k, v in selector.items())
            pods = self.cluster.ask(f"/api/v1/namespaces/{namespace}/pods", labelSelector=labels)["items"]
            return [p["status"]["podIP"] for p in pods
                    if p["status"].get("podIP") and p["status"]["phase"] == "Running"]
        slices = self.cluster.ask(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                                  labelSelector=f"kubernetes.io/service-name={name}")["items"]
        return [address for s in slices for endpoint in s["endpoints"] for address in endpoint["addresses"]]

    def answer(self, query):
        name, kind, end = parse(query)
        service = service_of(name)
        found = self.lookup(*service) if service else None
        records = [b"\xc0\x0c" + struct.pack(">HHIH", TYPE_A, 1, 0, 4) + socket.inet_aton(address)
                   for address in found or [] if kind == TYPE_A]
        flags = 0x8580 | (NAME_ERROR if found is None else 0)
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12:end] + b"".join(records)

    def serve(self):
        while True:
            query, peer = self.socket.recvfrom(1500)
            try:
                self.socket.sendto(self.answer(query), peer)
            except (IndexError, struct.error, UnicodeDecodeError, OSError):
                continue  # the asker asks again
