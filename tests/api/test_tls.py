"""TLS of the listeners: clients' certificates, and certificates that change while the server runs."""
import contextlib
import datetime
import socket
import ssl

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api_support import running, wait_for


class Authority:
    """A certificate authority for one test."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key.public_key(), ca=True)
        self.path = str(directory / f"{name}-ca.pem")
        (directory / f"{name}-ca.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, common_name, public_key, ca):
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        issuer = subject if ca else self.certificate.subject
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.BasicConstraints(ca, None), True))
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            builder = builder.add_extension(names, False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name):
        """Writes NAME.crt and NAME.key, certificate last, as tools that renew do."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("localhost", key.public_key(), ca=False)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
        for suffix, content in ((".key", pem), (".crt", certificate.public_bytes(serialization.Encoding.PEM))):
            fresh = self.directory / (name + suffix + ".new")
            fresh.write_bytes(content)
            fresh.chmod(0o600)
            fresh.rename(self.directory / (name + suffix))
        return certificate.serial_number

    def pair(self, name):
        return str(self.directory / f"{name}.crt"), str(self.directory / f"{name}.key")


def client_context(authority, pair=None):
    context = ssl.create_default_context(cafile=authority.path)
    if pair:
        context.load_cert_chain(*pair)
    return context


def get(port, path, context):
    """(status, serial of the server's certificate)"""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as s:
            serial = int(s.getpeercert()["serialNumber"], 16)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := s.recv(65536):
                answer += piece
    return int(answer.split(b" ", 2)[1]), serial


def grpc_health(port, authority, pair=None):
    with open(authority.path, "rb") as f:
        root = f.read()
    key = chain = None
    if pair:
        with open(pair[0], "rb") as c, open(pair[1], "rb") as k:
            chain, key = c.read(), k.read()
    credentials = grpc.ssl_channel_credentials(root, key, chain)
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        return channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=30)


@contextlib.contextmanager
def tls_server(tmp_path, authority, *flags):
    crt, key = authority.pair("server")
    with running(tmp_path, ["--enable-tls", f"--tls-cert-file={crt}", f"--tls-key-file={key}", *flags]) as server:
        yield server


def test_clients_show_certificates(tmp_path):
    """REST and gRPC ask for one of the authority that was named; probes and scrapers are not asked."""
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    ours.issue("server")
    ours.issue("alice")
    other.issue("mallory")
    with tls_server(tmp_path, ours, "--tls-enable-client-auth", f"--tls-client-ca-file={ours.path}") as server:
        alice = client_context(ours, ours.pair("alice"))
        assert get(server.ports["http"], "/api/ambient", alice)[0] == 200
        assert grpc_health(server.ports["grpc"], ours, ours.pair("alice"))
        for pair in (None, other.pair("mallory")):
            with pytest.raises((ssl.SSLError, ConnectionResetError, BrokenPipeError, IndexError)):
                get(server.ports["http"], "/api/ambient", client_context(ours, pair))
            with pytest.raises(grpc.RpcError):
                grpc_health(server.ports["grpc"], ours, pair)
        for listener, path in (("health", "/healthcheck"), ("metrics", "/metrics")):
            assert get(server.ports[listener], path, client_context(ours))[0] == 200


def test_a_renewed_certificate_is_used_without_a_restart(tmp_path):
    authority = Authority(tmp_path, "ours")
    first = authority.issue("server")
    context = client_context(authority)
    with tls_server(tmp_path, authority) as server:
        port = server.ports["http"]
        assert get(port, "/api/ambient", context) == (200, first)
        second = authority.issue("server")
        wait_for(lambda: get(port, "/api/ambient", context) == (200, second), "the new certificate")
        # A broken file is not taken: the server goes on with what it has, and says so.
        (tmp_path / "server.crt").write_text("-----BEGIN CERTIFICATE-----\nbroken\n")
        wait_for(lambda: get(port, "/api/ambient", context) == (200, second) and "server.crt" in server.log(),
                 "a word about the broken certificate")
        third = authority.issue("server")
        wait_for(lambda: get(port, "/api/ambient", context) == (200, third), "the certificate after that")
        assert grpc_health(server.ports["grpc"], authority) is not None


def test_client_certificates_need_an_authority(tmp_path):
    authority = Authority(tmp_path, "ours")
    authority.issue("server")
    with pytest.raises(AssertionError, match="--tls-client-ca-file"):
        with tls_server(tmp_path, authority, "--tls-enable-client-auth"):
            pass
