"""Tests of what deploy/ ships."""
import os
import sys

sys.path.insert(0, os.path.dirname(__file__))
