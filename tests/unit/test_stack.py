"""What happens around Pulumi: ports in use, locks of the dead and the living, the salt of a stack that is gone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.stacks import prod_config
from toolchain.stack import Stack, StackError


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack whose ``docker`` and ``pulumi`` are programs that print nothing and succeed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "pulumi"):
        (programs / name).write_text("#!/bin/sh\nexit 0\n")
        (programs / name).chmod(0o755)
    (tmp_path / "Pulumi.x.yaml").write_text("config:\n  cdc:platform: docker\nencryptionsalt: v1:abc\n")
    said: list[str] = []
    return Stack(
        name="x", root=tmp_path, environment={**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}, log=said.append
    )


def lock(stack: Stack, pid: int, hostname: str | None = None) -> Path:
    path = stack.root / ".local" / "state" / ".pulumi" / "locks" / "organization" / "cdc" / "x" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": pid, "hostname": hostname or socket.gethostname(), "timestamp": "then"}))
    return path


def dead_pid() -> int:
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_a_port_in_use_is_named_with_its_owner_and_the_cure(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack.file.write_text(f"config:\n  cdc:kafkaPort: {port}\n")
        with pytest.raises(StackError) as refused:
            stack.check_ports()
    assert f"port {port} is in use" in str(refused.value)
    assert "pulumi config set kafkaPort <free port>" in str(refused.value)
    assert f"port {port}" in next(line for line in str(refused.value).splitlines() if "kafkaPort" in line)


def test_the_port_of_a_part_that_could_not_be_had_is_nobodys(stack: Stack) -> None:
    record = stack.root / ".local" / "images.json"
    record.parent.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stack.file.write_text(f"config:\n  cdc:grafanaPort: {taken.getsockname()[1]}\n")
        record.write_text('{"grafana": {"source": "pulled"}}')
        with pytest.raises(StackError, match="grafanaPort"):
            stack.check_ports()
        record.write_text('{"grafana": {"source": "absent"}, "kafka-exporter": {"source": "absent"}}')
        assert stack._ports_of_absent_parts() == {"grafanaPort", "kafkaExporterPort"}


@pytest.mark.parametrize("platform", ["docker", "kubernetes"])
def test_every_command_names_its_stack(stack: Stack, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run in the same folder may select another stack at any moment: `destroy` once hit the wrong one."""
    # Another stack of this machine may well have the ports.
    monkeypatch.setattr("toolchain.stack._free", lambda _port: True)
    record = stack.root / "commands"
    state = json.dumps({"deployment": {"resources": []}})
    (stack.root / "bin" / "pulumi").write_text(
        f"""#!/bin/sh
echo "$@" >> {record}
case "$*" in "stack ls"*) echo '[{{"name": "x"}}]';; "stack export"*) echo '{state}';; esac
"""
    )
    if platform == "kubernetes":
        written = {f"cdc:{key}": value for key, value in prod_config().items()}
        stack.file.write_text(yaml.safe_dump({"config": written}))
    stack.preview()
    stack.up()
    stack.running()
    stack.down(keep_data=True)
    stack.down()
    commands = record.read_text().splitlines()
    assert {"up", "preview", "destroy"} <= {command.split()[0] for command in commands}
    assert [
        c for c in commands if "--stack x" not in c and not c.startswith(("stack ls", "stack select", "stack rm x"))
    ] == []


def test_the_lock_of_a_dead_run_is_removed(stack: Stack) -> None:
    path = lock(stack, dead_pid())
    stack._unlock()
    assert not path.exists()


def test_the_lock_of_a_living_run_is_respected(stack: Stack) -> None:
    program = Path(shutil.copy(shutil.which("sleep") or "", stack.root / "pulumi"))
    with subprocess.Popen([program, "60"]) as running:
        path = lock(stack, running.pid)
        try:
            with pytest.raises(StackError, match=rf"another run works on stack x \(pid {running.pid}"):
                stack._unlock()
        finally:
            running.kill()
    assert path.exists()


def test_a_zombie_and_another_process_with_the_number_hold_no_lock(stack: Stack) -> None:
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        path = lock(stack, ended.pid)
        stack._unlock()
        assert not path.exists()
    path.write_text(json.dumps({"pid": os.getpid(), "hostname": socket.gethostname()}))
    stack._unlock()
    assert not path.exists()


def test_the_lock_of_another_machine_is_respected(stack: Stack) -> None:
    path = lock(stack, dead_pid(), hostname="elsewhere")
    with pytest.raises(StackError, match="on elsewhere"):
        stack._unlock()
    assert path.exists()


def test_the_salt_goes_with_the_stack(stack: Stack) -> None:
    stack._forget_salt()
    assert stack.file.read_text() == "config:\n  cdc:platform: docker\n"


def test_the_salt_stays_where_encrypted_values_need_it(stack: Stack) -> None:
    stack.file.write_text("config:\n  cdc:sourceAdminPassword:\n    secure: v1:x\nencryptionsalt: v1:abc\n")
    stack._forget_salt()
    assert "encryptionsalt" in stack.file.read_text()


def test_a_failing_pulumi_is_an_error_that_shows_why(stack: Stack) -> None:
    (stack.root / "bin" / "pulumi").write_text("#!/bin/sh\necho 'error: no such backend' >&2\nexit 255\n")
    with pytest.raises(StackError, match=r"pulumi stack failed for stack x(.|\n)*no such backend"):
        stack.exists()


def test_a_lock_cut_off_while_written_is_removed(stack: Stack) -> None:
    path = lock(stack, dead_pid())
    path.write_text('{"pid": 12')
    stack._unlock()
    assert not path.exists()


def test_a_volume_that_is_not_ours_is_refused_before_docker_hands_it_over(stack: Stack) -> None:
    (stack.root / "bin" / "docker").write_text("#!/bin/sh\necho kafka-data\necho others\n")
    (stack.root / "bin" / "pulumi").write_text("#!/bin/sh\necho '{\"deployment\": {}}'\n")
    with pytest.raises(StackError, match="did not make: kafka-data;"):
        stack.check_volumes()


def test_a_volume_of_the_stacks_state_is_its_own(stack: Stack) -> None:
    state = {"deployment": {"resources": [{"type": "docker:index/volume:Volume", "inputs": {"name": "kafka-data"}}]}}
    (stack.root / "bin" / "docker").write_text("#!/bin/sh\necho kafka-data\n")
    (stack.root / "bin" / "pulumi").write_text(f"#!/bin/sh\necho '{json.dumps(state)}'\n")
    stack.check_volumes()
