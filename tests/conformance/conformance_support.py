"""Shared by the conformance tests."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOKEN = "conformance-token-0123456789"
sys.path.append(str(HERE.parent / "api"))

import api_support  # noqa: E402,F401  pylint: disable=wrong-import-position,unused-import
