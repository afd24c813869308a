"""Against the broker that rigs really use: TLS, a password file, an access list, client certificates."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml
from mqtt_rig import MqttRig, Task, until

from rt_engine.transport import mqtt_link
from rt_engine.transport.free_ports import free_ports

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
pytestmark = pytest.mark.skipif(
    MOSQUITTO is None or shutil.which("openssl") is None,
    reason="mosquitto or openssl is not installed (apt-get install)",
)
ACCESS = """
user rig
topic readwrite spikeloop/#
user viewer
topic read spikeloop/#
user mouse_1
topic read spikeloop/#
topic write spikeloop/v1/+/cmd/mouse_1/#
"""
PASSWORDS = {"rig": "the rig's own", "mouse_1": "cheese", "viewer": "eyes"}


@dataclass
class Broker:
    """A mosquitto that was started for one test module."""

    port: int
    certificate_port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def mqtt(self, **changes: Any) -> dict[str, Any]:
        """Section `mqtt` of the rig."""
        password = self.folder / "rig.password"
        password.write_text(PASSWORDS["rig"] + "\n", encoding="utf-8")
        password.chmod(0o600)
        secret = {"username": "rig", "password_file": str(password), "tls": {"ca_file": str(self.folder / "ca.pem")}}
        return {"port": self.port, "accept": ["mark", "request"], "max_request_age_ms": 10_000} | secret | changes

    def task(self, name: str, *, user: str = "") -> Task:
        """A behaviour task with a name and a password."""

        def settle(client: paho.Client) -> None:
            client.tls_set(ca_certs=str(self.folder / "ca.pem"))
            client.username_pw_set(user or name, PASSWORDS[user or name])

        return Task(self.port, name, settle)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _certificates(folder: Path) -> None:
    """An authority, and certificates of the broker and of the rig."""
    ca = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    _openssl(folder, *ca, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n", encoding="utf-8")
    for name in ("broker", "rig"):
        asked = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}")
        _openssl(folder, *asked, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        _openssl(folder, *signed, "-days", "2", "-extfile", "names", "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("mosquitto")
    _certificates(folder)
    port, certificate_port = free_ports(2)
    for user, password in PASSWORDS.items():
        create = [] if (folder / "passwords").exists() else ["-c"]
        line = ["mosquitto_passwd", "-b", *create, str(folder / "passwords"), user, password]
        subprocess.run(line, check=True, capture_output=True)
    (folder / "access").write_text(ACCESS, encoding="utf-8")
    secure = "cafile ca.pem\ncertfile broker.pem\nkeyfile broker.key\n"
    (folder / "mosquitto.conf").write_text(
        f"per_listener_settings true\nset_tcp_nodelay true\n"
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file passwords\nacl_file access\n{secure}"
        f"listener {certificate_port} 127.0.0.1\nrequire_certificate true\nuse_identity_as_username true\n"
        f"acl_file access\n{secure}",
        encoding="utf-8",
    )
    for path in [folder, *folder.iterdir()]:  # started by root it becomes another user, who must read them
        path.chmod(0o755 if path.is_dir() else 0o644)
    for parent in folder.parents[:3]:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(MOSQUITTO), "-c", "mosquitto.conf"], cwd=folder, stdout=log, stderr=log)
    until(lambda: b"running" in (folder / "log").read_bytes() or process.poll() is not None, "mosquitto")
    if process.poll() is not None:
        raise RuntimeError((folder / "log").read_text(encoding="utf-8"))
    yield Broker(port, certificate_port, folder, process)
    process.terminate()
    process.wait(30)


def test_names_and_access_lists_hold(broker: Broker) -> None:
    """A task acts under its own name alone, a viewer under none."""
    with broker.task("mouse_1") as task, broker.task("viewer") as viewer:
        with MqttRig(broker.mqtt(), lambda request: {"awaited": True}) as rig:
            rig.until(lambda: rig.said("info", "connected"), "the broker")
            viewer.send("mark", {"id": "v", "note": "let me in"})
            stolen = broker.task("viewer", user="mouse_1")
            with stolen:
                stolen.send("mark", {"id": "s", "note": "in another's name"})
                task.send("mark", {"id": "m", "note": "lick"})
                asked_ms = time.time_ns() // 1_000_000
                task.send("request", {"id": "r", "name": "reward", "sent_unix_ms": asked_ms})
                rig.until(lambda: bool(task.replies("r")), "a reply")
                rig.until(lambda: bool(viewer.on("heartbeat")), "the viewer sees")
        until(lambda: task.on("status")[-1]["state"] == "offline", "goodbye")
    assert [(one.args["client"], one.args["command"]) for one in rig.asked] == [
        ("mouse_1", "mark"),
        ("mouse_1", "request"),
    ]


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"username": "nobody"}, "mqtt.username"),
        ({"tls": {}}, "mqtt.tls.ca_file"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves the refused socket to gc
def test_a_wrong_name_or_authority_is_said_with_its_remedy(
    broker: Broker, changes: dict[str, Any], remedy: str
) -> None:
    with MqttRig(broker.mqtt(**changes)) as rig:
        rig.until(lambda: bool(rig.logs), "one warning")
    ((level, text), *_) = rig.logs
    assert level == "warning"
    assert remedy in text, text


def test_a_client_certificate_is_a_name(broker: Broker) -> None:
    tls = {name: str(broker.folder / file) for name, file in _OF_THE_RIG.items()}
    mqtt = broker.mqtt(port=broker.certificate_port, username=None, password_file=None, tls=tls)
    with MqttRig(mqtt) as rig:
        rig.until(lambda: bool(rig.logs), "news")
        assert rig.said("info", "connected"), rig.logs


def _reply_ms(broker: Broker, n: int) -> float:
    """Median time from a command to its reply, one after the other, all of quality 1 and encrypted."""
    with broker.task("mouse_1") as task, MqttRig(broker.mqtt()) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        took_ms = []
        for i in range(n):
            sent_s = time.perf_counter()
            task.send("mark", {"id": f"m{i}", "note": "lick"})
            rig.until(lambda i=i: bool(task.replies(f"m{i}")), "a reply")  # type: ignore[misc]
            took_ms.append(1000 * (time.perf_counter() - sent_s))
    return sorted(took_ms)[n // 2]


@pytest.mark.benchmark
def test_a_message_of_quality_1_does_not_wait_for_nagle(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ms = _reply_ms(broker, 60)
    monkeypatch.setattr(mqtt_link, "_NO_DELAY", (socket.IPPROTO_TCP, socket.TCP_NODELAY, 0))
    without_ms = _reply_ms(broker, 60)
    print(f"command to reply, median: {with_ms:.1f} ms, with Nagle's algorithm {without_ms:.1f} ms")
    assert without_ms > 2 * with_ms


_OF_THE_RIG = {"ca_file": "ca.pem", "cert_file": "rig.pem", "key_file": "rig.key"}


def _blocks(page: Path) -> list[str]:
    return [one.split("\n", 1)[1] for one in page.read_text(encoding="utf-8").split("```")[1::2]]


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The broker of the how-to, from its own words, but for the address; its folder and port."""
    certificates, passwords, conf, access = (_block(word) for word in ("lab-ca.key -out", "-c -b", "listener", "user"))
    here = certificates.replace("DNS:broker.lab", "IP:127.0.0.1") + passwords
    subprocess.run(["sh", "-e"], input=here, cwd=tmp_path, check=True, capture_output=True, text=True)
    (port,) = free_ports(1)
    (tmp_path / "mosquitto.conf").write_text(conf.replace("listener 8883", f"listener {port} 127.0.0.1"))
    (tmp_path / "access").write_text(access)
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    process = subprocess.Popen([str(MOSQUITTO), "-c", "mosquitto.conf"], cwd=tmp_path)
    yield tmp_path, port
    process.terminate()
    process.wait(30)


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def _block(word: str) -> str:
    (found,) = [one for one in _blocks(HOW_TO / "connect-a-behaviour-task.md") if word in one and "mqtt:" not in one]
    return found


def test_the_how_to_leads_to_a_task_that_is_answered(documented: tuple[Path, int]) -> None:
    folder, port = documented
    (section,) = [one for one in _blocks(HOW_TO / "connect-a-behaviour-task.md") if one.startswith("mqtt:")]
    mqtt = yaml.safe_load(section)["mqtt"] | {"host": "127.0.0.1", "port": port, "max_request_age_ms": 10_000.0}
    mqtt["password_file"], mqtt["tls"] = str(folder / "rig.password"), {"ca_file": str(folder / "lab-ca.pem")}
    for name, secret in (("rig", "SECRET_OF_THE_RIG"), ("task", "SECRET_OF_THE_TASK")):
        (folder / f"{name}.password").write_text(secret + "\n")
        (folder / f"{name}.password").chmod(0o600)
    line = [sys.executable, str(HOW_TO / "behaviour_task.py"), "127.0.0.1", str(port), "virtual_rig"]
    secrets = ["--password-file", str(folder / "task.password"), "--ca", str(folder / "lab-ca.pem")]
    with MqttRig(mqtt) as rig:
        rig.until(lambda: rig.said("info", "connected"), "the broker")
        task = subprocess.Popen([*line, *secrets], stdout=subprocess.PIPE, text=True)
        rig.until(lambda: task.poll() is not None, "the end of the task")
        said, _ = task.communicate()
    assert [one.args["client"] for one in rig.asked] == ["mouse_task"] * 7
    assert said.count("taken") == 3
