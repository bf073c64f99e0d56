"""REST against its own OpenAPI document, as schemathesis reads it: each operation, with edges and with random input,
gives a documented status and an answer of the documented shape; nothing makes the server fail."""
import re
import subprocess

from conformance_support import TOKEN

# A session without a runner (502, 503) and what is not there yet (501) are answers, not failures.
CONFIG = 'checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501", "502", "503"]\n'
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
          "response_headers_conformance")


def test_every_operation(bring, server, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    base = f"http://127.0.0.1:{server.ports['http']}"
    out = subprocess.run([bring("schemathesis"), "--config-file", tmp_path / "schemathesis.toml", "run",
                          f"{base}/api/ambient/v1/openapi", "--url", base, "--checks", ",".join(CHECKS), "--header",
                          f"Authorization: Bearer {TOKEN}", "--phases", "examples,coverage,fuzzing", "--max-examples",
                          "5", "--seed", "1", "--no-color", "--continue-on-failure", "--generation-database", "none"],
                         capture_output=True, text=True, timeout=170, check=False, cwd=tmp_path)
    assert out.returncode == 0, out.stdout[-12000:] + out.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", out.stdout)
    assert int(tested[1]) >= 90
    assert server.client(TOKEN).get("/projects").status == 200
