"""The program's processes run compiled where these tests are to see it as the image has it."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif("PYTHONPATH" not in os.environ, reason="`make test` runs these tests on the compiled program"),
]

# Imports every module and names the classes that can't be made: they have a parent that is compiled, and are not.
LOOK_FOR_ORPHANS = """
import importlib, pkgutil, sys
import dispatcher

names = [module.name for module in pkgutil.walk_packages(dispatcher.__path__, "dispatcher.")]
modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
compiled = {module.__name__ for module in modules if module.__file__.endswith(".so")}
assert {"dispatcher.engine.pipeline", "dispatcher.transport.wire"} <= compiled
for module in modules:
    for one in vars(module).values():
        if isinstance(one, type) and one.__module__ == module.__name__ and module.__name__ not in compiled:
            if any(parent.__module__ in compiled for parent in one.__mro__):
                print(one)
"""


def test_what_every_message_passes_is_compiled_and_has_no_interpreted_heir() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK_FOR_ORPHANS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
