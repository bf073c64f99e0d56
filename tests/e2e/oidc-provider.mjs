// A real OpenID provider (npm oidc-provider) for the login tests: prints its port once it listens.
// Usage: node oidc-provider.mjs NODE_MODULES
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import http from "node:http";

const require = createRequire(process.argv[2] + "/");
const { Provider, errors } = await import(pathToFileURL(require.resolve("oidc-provider")));
const DEVICE = "urn:ietf:params:oauth:grant-type:device_code";

const configuration = {
  clients: [
    { client_id: "acpctl", application_type: "native", token_endpoint_auth_method: "none",
      redirect_uris: ["http://127.0.0.1/callback"], response_types: ["code"],
      grant_types: ["authorization_code", "refresh_token", DEVICE] },
    { client_id: "robot", client_secret: "robots-secret-4711", redirect_uris: [], response_types: [],
      grant_types: ["client_credentials"] },
  ],
  scopes: ["openid", "offline_access"],
  rotateRefreshToken: true,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (ctx, token) => ({ preferred_username: token.accountId || "service-account-" + token.clientId }),
  ttl: { AccessToken: Number(process.env.TOKEN_SECONDS || 3600),
         ClientCredentials: Number(process.env.TOKEN_SECONDS || 3600) },
  features: {
    deviceFlow: { enabled: true }, revocation: { enabled: true }, clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true, defaultResource: () => "urn:ambient", useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== "urn:ambient") throw new errors.InvalidTarget();
        return { scope: "", audience: "ambient", accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } };
      },
    },
  },
};

const server = http.createServer((req, res) => handler(req, res));
let handler;
server.listen(0, "127.0.0.1", () => {
  handler = new Provider(`http://127.0.0.1:${server.address().port}`, configuration).callback();
  console.log(server.address().port);
});
