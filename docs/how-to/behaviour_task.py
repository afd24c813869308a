"""A behaviour task in a program of its own: tells the rig of its trials, and asks for light when the animal licks.

pip install paho-mqtt
python behaviour_task.py 127.0.0.1 1883 virtual_rig
python behaviour_task.py broker.lab 8883 my_rig --password-file task.password --ca lab-ca.pem
"""

import argparse
import json
import queue
import time
import uuid
from pathlib import Path

import paho.mqtt.client as paho

TASK = "mouse_task"


class Rig:
    """The rig, as a task sees it: commands that are answered, and news."""

    def __init__(self, host: str, port: int, rig: str, password_file: str | None, ca: str | None) -> None:
        self.root = f"spikeloop/v1/{rig}"
        self.news: queue.Queue = queue.Queue()
        self.replies: dict = {}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: [
            client.subscribe(f"{self.root}/{topic}", qos=1) for topic in ("status", "stim", "trip", f"reply/{TASK}")
        ]
        self.client.on_message = self.hear
        if password_file is not None:
            self.client.username_pw_set(TASK, Path(password_file).read_text(encoding="utf-8").rstrip("\r\n"))
        if ca is not None:
            self.client.tls_set(ca_certs=ca)
        self.client.connect(host, port, keepalive=5)
        self.client.loop_start()

    def hear(self, client, data, message) -> None:
        told = json.loads(message.payload)
        if message.topic.endswith(f"reply/{TASK}"):
            self.replies[told["id"]] = told
        else:
            self.news.put((message.topic.removeprefix(self.root + "/"), told))

    def tell(self, about: str, patience_s: float = 10.0, **fields) -> dict:
        """Send until it is answered. The same id is carried out once, however often it is sent."""
        command = {"id": uuid.uuid4().hex, "sent_unix_ms": time.time_ns() // 1_000_000, **fields}
        give_up_s = time.monotonic() + patience_s
        while time.monotonic() < give_up_s:
            self.client.publish(f"{self.root}/cmd/{TASK}/{about}", json.dumps(command), qos=1)
            again_s = time.monotonic() + 1.0
            while time.monotonic() < again_s:
                if command["id"] in self.replies:
                    return self.replies.pop(command["id"])
                time.sleep(0.001)
        return {"ok": False, "error": {"message": "the rig does not answer", "remedy": "is it there?"}}


def main() -> None:
    parser = argparse.ArgumentParser(description="A behaviour task that tells, asks and hears.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("rig", help="name in the rig file")
    parser.add_argument("--password-file", help=f"of the broker's user {TASK}")
    parser.add_argument("--ca", help="certificate of the authority that signed the broker's")
    asked = parser.parse_args()
    rig = Rig(asked.host, asked.port, asked.rig, asked.password_file, asked.ca)
    for trial in range(3):
        print(f"trial {trial}:", rig.tell("trial", trial=trial, kind="go")["ok"])
        time.sleep(0.1)  # here the animal would lick
        answer = rig.tell("request", name="lick")
        print("  light asked for:", "taken" if answer["ok"] else answer["error"]["message"])
    print("note:", rig.tell("mark", note="task ended")["ok"])
    while not rig.news.empty():
        print(*rig.news.get())
    rig.client.disconnect()
    rig.client.loop_stop()


if __name__ == "__main__":
    main()
