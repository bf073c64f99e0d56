#include "crypto/runner-token.h"

#include "crypto/crypto.h"

Secret *runner_token(const Secret *key, Str session_id)
{
    CLEANUP_BUF Buf text = BUF_INIT(1024), hex = BUF_INIT(1024);
    uint8_t mac[SHA256_LEN];

    (void)buf_addz(&text, "ambient-runner\n");
    (void)buf_adds(&text, session_id);
    hmac_sha256(secret_reveal(key), buf_str(&text), mac);
    hex_write(&hex, mac, sizeof(mac));
    Secret *token = secret_new(buf_str(&hex));
    secret_erase(hex.data, hex.len);
    secret_erase(mac, sizeof(mac));
    return token;
}
