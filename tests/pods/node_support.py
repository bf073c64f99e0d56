"""A node: containerd and a kubelet that register with the cluster of tests/kube and run its pods. What a cluster has
beside is played here: who binds pods to the node (a scheduler), and who answers for names (names.py)."""
import json
import os
import pathlib
import ssl
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import api_support
import cluster_support
import images
import names

STATE = pathlib.Path(os.environ.get("AMBIENT_NODE", "/nonexistent"))
ADDRESS, NAME = "10.88.0.1", "node"
SOCKET = STATE / "containerd.sock"
PAUSE = "localhost/pause:test"


def wait_for(condition, what):
    """Longer than other tests wait, and without taking the machine from a dozen programs that are waited for."""
    return api_support.wait_for(condition, what, 150, 0.05)


def find_node():
    """(directory of what the node runs, None), or (None, why not)."""
    if not STATE.exists():
        return None, "not in a node of its own: tests/pods/in-node.sh /usr/bin/python3 -m pytest tests/pods"
    done = subprocess.run([cluster_support.ROOT / "scripts/test-kube-deps.sh", "--node", "--check"],
                          capture_output=True, text=True, check=False)
    text = (done.stdout.strip() or done.stderr.strip() or "?").splitlines()[-1]
    return (pathlib.Path(text), None) if done.returncode == 0 else (None, text)


class Cluster(cluster_support.Cluster):
    """As for the other tests, but where pods find it, and with kubelets that may see their own pods' things only."""
    listen, port, names = "0.0.0.0", 443, ",IP:10.0.0.1,DNS:kubernetes.default.svc"
    authorization = "Node,RBAC"

    def __init__(self, directory, cache):
        super().__init__(directory, cache / "bin")
        self.context = ssl.create_default_context(cafile=self.directory / "ca.crt")
        self.context.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")

    def ask(self, path, **query):
        """The object, None when there is none. Quicker than kubectl."""
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, context=self.context, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return None
            raise


class Scheduler:
    """Every pod goes to the one node."""

    def __init__(self, cluster):
        self.cluster, self.stopped = cluster, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.wait(0.1):
            pods = self.cluster.ask("/api/v1/pods", fieldSelector="spec.nodeName=")["items"]
            for pod in [p for p in pods if "deletionTimestamp" not in p["metadata"]]:
                try:
                    self.cluster.bind(pod["metadata"]["namespace"], pod["metadata"]["name"], NAME)
                except AssertionError:
                    continue  # it is gone again

    def stop(self):
        self.stopped.set()
        self.thread.join(60)


class Node:
    def __init__(self, cluster, cache, directory):
        self.cluster, self.programs, self.directory = cluster, cache / "node", pathlib.Path(directory)
        self.binaries = cache / "bin"
        self.env = {**os.environ, "PATH": f"{self.programs}/usr/bin:{self.programs}/usr/sbin:{os.environ['PATH']}"}
        self.containerd = self.kubelet = self.scheduler = None

    def spawn(self, name, *arguments):
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen([*arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env)

    def ctr(self, *arguments, **how):
        return subprocess.run(["ctr", "-a", SOCKET, "-n", "k8s.io", *arguments], capture_output=True, env=self.env,
                              timeout=120, check=False, **how)

    # ---- containerd

    def write_network(self):
        folder = STATE / "network"
        folder.mkdir()
        ipam = {"type": "host-local", "dataDir": str(STATE / "addresses"), "routes": [{"dst": "0.0.0.0/0"}],
                "ranges": [[{"subnet": "10.88.0.0/24"}]]}
        plugin = {"type": "bridge", "bridge": "node0", "isGateway": True, "ipMasq": False, "ipam": ipam}
        (folder / "node.conflist").write_text(json.dumps({"cniVersion": "1.0.0", "name": NAME, "plugins": [plugin]}))
        return folder

    def start_containerd(self):
        path = STATE / "containerd.toml"
        path.write_text(f"""version = 2
root = "{STATE}/containerd"
state = "{STATE}/containerd-state"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.programs}/usr/lib/cni"
    conf_dir = "{self.write_network()}"
""")
        self.containerd = self.spawn("containerd", "containerd", "--config", path)
        wait_for(lambda: self.ctr("version").returncode == 0 or self.containerd.poll() is not None, "containerd")
        assert self.containerd.poll() is None, self.log("containerd")

    def load(self, archive):
        done = self.ctr("images", "import", "-", input=archive)
        assert done.returncode == 0, done.stderr

    # ---- the kubelet

    def write_config(self):
        where = self.cluster.directory
        path = self.directory / "kubelet.json"
        path.write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False},
                               "x509": {"clientCAFile": str(where / "ca.crt")}},
            "authorization": {"mode": "AlwaysAllow"}, "address": ADDRESS, "healthzPort": 0,
            "tlsCertFile": str(where / "kubelet.crt"), "tlsPrivateKeyFile": str(where / "kubelet.key"),
            "cgroupDriver": "cgroupfs", "failCgroupV1": False, "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}", "podLogsDir": str(STATE / "logs"),
            "volumePluginDir": str(STATE / "plugins"), "resolvConf": "", "clusterDNS": [ADDRESS],
            "clusterDomain": "cluster.local", "imageGCHighThresholdPercent": 100,
            # A machine that is full is not what is tested.
            "evictionHard": {f"{what}.available": "0%" for what in ("memory", "nodefs", "imagefs")},
            # Changed Secrets are in the pod at once, not after a minute.
            "syncFrequency": "1s", "configMapAndSecretChangeDetectionStrategy": "Watch"}))
        return path

    def start_kubelet(self):
        where = self.cluster.directory
        cluster_support.make_certificate(where, "kubelet", f"/O=system:nodes/CN=system:node:{NAME}",
                                         f"extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=IP:{ADDRESS}\n")
        access = self.cluster.write_kubeconfig("kubelet", {"client-certificate": "kubelet.crt",
                                                           "client-key": "kubelet.key"})
        self.kubelet = self.spawn("kubelet", self.binaries / "kubelet", f"--kubeconfig={access}",
                                  f"--config={self.write_config()}", f"--root-dir={STATE}/kubelet",
                                  f"--hostname-override={NAME}", f"--node-ip={ADDRESS}",
                                  f"--cert-dir={STATE}/certificates", "--v=2")

    def is_ready(self):
        assert self.kubelet.poll() is None, self.log("kubelet")
        node = self.cluster.ask(f"/api/v1/nodes/{NAME}") or {"status": {}}
        return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))

    # ---- life

    def start(self):
        self.start_containerd()
        self.load(images.make(PAUSE, [images.shell(self.programs)], User="65534:65534",
                              Entrypoint=["/bin/busybox", "sleep", "1000000"]))
        self.start_kubelet()
        names.Names(self.cluster, ADDRESS)
        self.scheduler = Scheduler(self.cluster)
        try:
            wait_for(self.is_ready, "the node to be ready")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log('kubelet')}\n{self.log('containerd')}") from None
        return self

    def stop(self):
        """Pods and their mounts end with the namespaces (in-node.sh)."""
        if self.scheduler:
            self.scheduler.stop()
        for process in (self.kubelet, self.containerd):
            if process and process.poll() is None:
                process.kill()
                process.wait(60)

    def log(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")[-4000:]

    # ---- what runs

    def logs(self, pod, container):
        """What a container of a pod has written, all its starts."""
        meta = pod["metadata"]
        folder = STATE / "logs" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / container
        return "".join(p.read_text(errors="replace") for p in sorted(folder.glob("*.log")))

    def pid(self, container_id):
        """The first process of a container, as the node sees it."""
        listed = self.ctr("tasks", "ls").stdout.decode().splitlines()
        found = [line.split()[1] for line in listed if line.split()[0] == container_id.removeprefix("containerd://")]
        return int(found[0])

    def limit(self, controller, pid, name):
        """A limit of the cgroup that a process is in."""
        lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        group = next(line.split(":", 2)[2] for line in lines if controller in line.split(":")[1].split(","))
        return int((pathlib.Path("/sys/fs/cgroup") / controller / group.lstrip("/") / name).read_text())


