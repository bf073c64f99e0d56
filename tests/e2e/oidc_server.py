"""An OpenID provider that follows a script: discovery (or Keycloak's bare paths), authorization code with PKCE, device
flow, client credentials, rotating refresh tokens that may be used once, revocation, and a JWK set.

What shall go wrong is switched on by attributes; what was asked is kept in `seen`.
"""
import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEYCLOAK = "/protocol/openid-connect"
PATHS = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "device_authorization_endpoint": "/auth/device",
         "revocation_endpoint": "/revoke", "jwks_uri": "/certs"}
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Refused(Exception):
    def __init__(self, code, why="", status=400):
        super().__init__(code)
        self.code, self.why, self.status = code, why, status


class OidcServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "https" if context else "http"
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.lock = threading.Lock()
        self.clients = {"acpctl": None, "robot": "robots-secret-4711"}  # id -> secret
        self.reset()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def reset(self):
        self.seen = []  # (path, parameters)
        self.codes, self.refresh, self.revoked, self.devices = {}, {}, [], {}
        self.discovery, self.document = True, {}
        self.user, self.audience, self.lifetime, self.life_once = "alice", "ambient", 3600, None
        self.deny, self.state, self.iss = None, None, None  # what the redirect says wrong
        self.id_token = {}  # claims that are put over the right ones
        self.device_answers = []  # error codes before the tokens
        self.basic_only = False
        self.hold = None  # an event that a refresh waits for

    def stop(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass

    @property
    def issuer(self):
        return f"{self.scheme}://localhost:{self.server_address[1]}/realms/test"

    def asked(self, grant):
        return [p for path, p in self.seen if path == "/token" and p.get("grant_type") == grant]

    def config(self):
        methods = ["client_secret_basic"] if self.basic_only else ["none", "client_secret_basic", "client_secret_post"]
        return {"issuer": self.issuer, "scopes_supported": ["openid", "offline_access"],
                "token_endpoint_auth_methods_supported": methods, "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
                **{member: self.issuer + KEYCLOAK + path for member, path in PATHS.items()}, **self.document}

    def jwks(self):
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**key, "kid": "k1", "use": "sig", "alg": "RS256"}]}

    def sign(self, **claims):
        now = int(time.time())
        return jwt.encode({"iss": self.issuer, "iat": now, "exp": now + 3600, **claims}, self.key, "RS256",
                          {"kid": "k1"})

    # ---- answers ----

    def authorize(self, q):
        assert q["response_type"] == "code" and q["code_challenge_method"] == "S256"
        redirect = urllib.parse.urlsplit(q["redirect_uri"])
        assert redirect.hostname == "127.0.0.1" and redirect.path == "/callback"
        back = {"state": self.state or q["state"], "iss": self.iss or self.issuer}
        if self.deny:
            back.update(error="access_denied", error_description=self.deny)
        else:
            back["code"] = secrets.token_urlsafe()
            self.codes[back["code"]] = q
        return q["redirect_uri"] + "?" + urllib.parse.urlencode(back)

    def tokens(self, client, subject, scope="", nonce=None):
        life, self.life_once = self.life_once or self.lifetime, None
        now = int(time.time())
        out = {"token_type": "Bearer", "expires_in": life,
               "access_token": self.sign(sub="id-of-" + subject, preferred_username=subject, aud=self.audience,
                                         exp=now + life, jti=secrets.token_hex(8))}
        if "offline_access" in scope or not scope:
            out["refresh_token"] = "r-" + secrets.token_urlsafe()
            self.refresh[out["refresh_token"]] = (client, subject, scope)
        if "openid" in scope:
            claims = {"sub": "id-of-" + subject, "aud": client, **({"nonce": nonce} if nonce else {})}
            out["id_token"] = self.sign(**{**claims, **self.id_token})
        return out

    def code_grant(self, client, p):
        asked = self.codes.pop(p["code"], None)
        digest = base64.urlsafe_b64encode(hashlib.sha256(p["code_verifier"].encode()).digest()).decode().rstrip("=")
        if not asked or digest != asked["code_challenge"] or p["redirect_uri"] != asked["redirect_uri"]:
            raise Refused("invalid_grant", "the code does not fit")
        return self.tokens(client, self.user, asked.get("scope", ""), asked.get("nonce"))

    def refresh_grant(self, client, p):
        if self.hold:
            self.hold.wait(30)
        with self.lock:
            known = self.refresh.pop(p["refresh_token"], None)
            if not known or known[0] != client:
                self.refresh.clear()  # somebody uses a token twice: all of the family is void
                raise Refused("invalid_grant", "Token is not active")
            return self.tokens(client, known[1], known[2])

    def device_grant(self, client, p):
        if p["device_code"] not in self.devices:
            raise Refused("invalid_grant")
        if self.device_answers:
            raise Refused(self.device_answers.pop(0))
        return self.tokens(client, self.user, self.devices.pop(p["device_code"]))

    def token(self, client, p):
        grants = {"authorization_code": self.code_grant, "refresh_token": self.refresh_grant,
                  DEVICE_GRANT: self.device_grant}
        if p["grant_type"] == "client_credentials":
            if not self.clients[client]:
                raise Refused("unauthorized_client")
            out = self.tokens(client, "service-account-" + client, p.get("scope", ""))
            out.pop("refresh_token", None)
            return out
        return grants[p["grant_type"]](client, p)

    def device(self, client, p):
        code = secrets.token_urlsafe()
        self.devices[code] = p.get("scope", "")
        return {"device_code": code, "user_code": "WDJB-MJHT", "verification_uri": self.issuer + "/device",
                "verification_uri_complete": self.issuer + "/device?user_code=WDJB-MJHT", "expires_in": 600,
                "interval": 1}

    def revoke(self, client, p):
        self.revoked.append(p["token"])
        self.refresh.pop(p["token"], None)
        return {}

    def client_of(self, p, authorization):
        name, secret = p.get("client_id"), p.get("client_secret")
        if authorization:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            name, secret = (urllib.parse.unquote_plus(part) for part in pair.split(":"))
        elif secret and self.basic_only:
            raise Refused("invalid_client", "only in the header", 401)
        if name not in self.clients or secret != self.clients[name]:
            raise Refused("invalid_client", "Invalid client or Invalid client credentials", 401)
        return name


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def parts(self):
        url = urllib.parse.urlsplit(self.path)
        path = url.path.removeprefix("/realms/test").removeprefix(KEYCLOAK)
        return path, dict(urllib.parse.parse_qsl(url.query))

    def do_GET(self):
        server, (path, query) = self.server, self.parts()
        server.seen.append((path, query))
        if path == "/.well-known/openid-configuration" and server.discovery:
            return self.send(200, server.config())
        if path == "/certs":
            return self.send(200, server.jwks())
        if path == "/auth":
            return self.send(302, {}, Location=server.authorize(query))
        return self.send(404, {"error": "not_found"})

    def do_POST(self):
        server, (path, _) = self.server, self.parts()
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        p = dict(urllib.parse.parse_qsl(form, strict_parsing=True))
        server.seen.append((path, p))
        try:
            client = server.client_of(p, self.headers.get("Authorization"))
            answer = {"/token": server.token, "/auth/device": server.device, "/revoke": server.revoke}[path](client, p)
        except Refused as e:
            return self.send(e.status, {"error": e.code, **({"error_description": e.why} if e.why else {})})
        return self.send(200, answer)
