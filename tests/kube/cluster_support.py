"""A real etcd and a real kube-apiserver on loopback, with RBAC on, and kubectl to see what exists. There is no kubelet,
scheduler or controller manager: tests play their part by writing what those would write."""
import json
import os
import pathlib
import subprocess
import time

from api_support import free_port, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYSTEM = "ambient-code"


def find_binaries():
    """(directory, None), or (None, why not)."""
    done = subprocess.run([ROOT / "scripts/test-kube-deps.sh", "--check"], capture_output=True, text=True, check=False)
    text = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return (pathlib.Path(text[-1]) / "bin", None) if done.returncode == 0 else (None, text[-1] if text else "?")


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def make_authority(directory):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key",
            "-out", "ca.crt", "-days", "2", "-subj", "/CN=test-ca", cwd=directory)
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "sa.key", cwd=directory)
    openssl("pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub", cwd=directory)


def make_certificate(directory, name, subject, extensions):
    (directory / f"{name}.ext").write_text(extensions)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", "-subj", subject, cwd=directory)
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext", cwd=directory)


class Cluster:
    listen, port, names = "127.0.0.1", None, ""  # None: a free port; names: more of what the certificate is for
    authorization = "RBAC"

    def __init__(self, directory, binaries):
        self.directory, self.binaries = pathlib.Path(directory), binaries
        self.etcd = self.apiserver = None
        self.ports = [free_port(), free_port(), self.port or free_port()]
        self.url = f"https://127.0.0.1:{self.ports[2]}"
        make_authority(self.directory)
        make_certificate(self.directory, "server", "/CN=kube-apiserver",
                         f"subjectAltName=DNS:localhost,DNS:kubernetes.test,IP:127.0.0.1{self.names}\n")
        make_certificate(self.directory, "admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth\n")
        self.admin = self.write_kubeconfig("admin", {"client-certificate": "admin.crt", "client-key": "admin.key"})

    def write_kubeconfig(self, name, user, namespace="default", **cluster):
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "test",
                  "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": "ca.crt",
                                                            **cluster}}],
                  "users": [{"name": "me", "user": user}],
                  "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me",
                                                            "namespace": namespace}}]}
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def spawn(self, name, *arguments):
        with open(self.directory / f"{name}.log", "ab") as log:
            return subprocess.Popen([self.binaries / name, *arguments], cwd=self.directory, stdout=log, stderr=log,
                                    stdin=subprocess.DEVNULL)

    def start(self):
        client, peer, _ = self.ports
        self.etcd = self.spawn("etcd", "--data-dir=etcd", f"--listen-client-urls=http://127.0.0.1:{client}",
                               f"--advertise-client-urls=http://127.0.0.1:{client}",
                               f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync")
        self.start_apiserver()
        return self

    def start_apiserver(self):
        client, _, port = self.ports
        self.apiserver = self.spawn(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}", f"--bind-address={self.listen}",
            f"--secure-port={port}", "--tls-cert-file=server.crt", "--tls-private-key-file=server.key",
            "--client-ca-file=ca.crt", f"--authorization-mode={self.authorization}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=sa.pub",
            "--service-account-signing-key-file=sa.key", "--endpoint-reconciler-type=none", "--event-ttl=1h",
            "--enable-priority-and-fairness=true", "--cert-dir=certs")
        wait_for(self.is_ready, "kube-apiserver", 90)

    def is_ready(self):
        assert self.apiserver.poll() is None, (self.directory / "kube-apiserver.log").read_text()[-4000:]
        done = self.run_kubectl("get", "--raw", "/readyz")
        return done.returncode == 0 and "ok" in done.stdout

    def stop_apiserver(self):
        """Killed: a graceful end waits a minute for the watches."""
        self.apiserver.kill()
        self.apiserver.wait(60)

    def stop(self):
        for process in (self.apiserver, self.etcd):
            if process and process.poll() is None:
                process.kill()
                process.wait(60)

    # ---- kubectl

    def run_kubectl(self, *arguments, kubeconfig=None, stdin=None):
        return subprocess.run([self.binaries / "kubectl", f"--kubeconfig={kubeconfig or self.admin}", *arguments],
                              capture_output=True, text=True, input=stdin, timeout=60, check=False,
                              env={**os.environ, "HOME": str(self.directory)})

    def kubectl(self, *arguments, kubeconfig=None, stdin=None):
        done = self.run_kubectl(*arguments, kubeconfig=kubeconfig, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def get(self, kind, name=None, namespace=None, selector=None):
        """The object, None when there is none; without a name the list of all."""
        where = ["-n", namespace] if namespace else ["-A"]
        which = [name] if name else (["-l", selector] if selector else [])
        out = self.kubectl("get", kind, *which, *where, "--ignore-not-found", "-o", "json",
                           "--show-managed-fields")
        if name:
            return json.loads(out) if out.strip() else None
        return json.loads(out)["items"] if out.strip() else []

    def apply(self, *objects, namespace=None):
        where = ["-n", namespace] if namespace else []
        text = "\n---\n".join(json.dumps(o) for o in objects)
        return self.kubectl("apply", *where, "-f", "-", stdin=text)

    def token(self, namespace, account):
        return self.kubectl("create", "token", account, "-n", namespace, "--duration=1h").strip()

    # ---- what a kubelet and a scheduler would write

    def patch_status(self, namespace, pod, status):
        self.kubectl("patch", "pod", pod, "-n", namespace, "--subresource=status", "--type=merge", "-p",
                     json.dumps({"status": status}))

    def bind(self, namespace, pod, node="test-node"):
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod, "namespace": namespace},
                   "target": {"apiVersion": "v1", "kind": "Node", "name": node}}
        self.kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/binding", "-f", "-",
                     stdin=json.dumps(binding))

    def finish(self, namespace, pod):
        """The kubelet's last word about a pod that is being deleted."""
        self.kubectl("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force", "--ignore-not-found")


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def container(name, state, ready=False, restarts=0):
    return {"name": name, "image": "i", "imageID": "", "restartCount": restarts, "ready": ready, "state": state}


def running(name="ambient-code-runner"):
    return {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [container(name, {"running": {"startedAt": now()}}, True)]}


def waiting(reason, message="", name="ambient-code-runner"):
    return {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [container(name, {"waiting": {"reason": reason, "message": message}})]}


def terminated(code, reason="", phase=None, name="ambient-code-runner", others=()):
    end = {"terminated": {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"),
                          "startedAt": now(), "finishedAt": now()}}
    return {"phase": phase or ("Succeeded" if code == 0 else "Failed"),
            "containerStatuses": [container(name, end), *others]}
