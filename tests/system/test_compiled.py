"""The program's processes run compiled where these tests are to see it as the image has it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system


@pytest.mark.skipif("PYTHONPATH" not in os.environ, reason="`make test` runs these tests on the compiled program")
def test_what_every_message_passes_is_compiled() -> None:
    script = "from dispatcher.engine import pipeline as p; from dispatcher.transport import wire as w; print(p, w)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count(".so'>") == len(("pipeline", "wire"))
