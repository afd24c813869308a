"""Locks taken off one at a time: what stands there, what to put there, and the tests that must then fail."""

from __future__ import annotations

from mutation.broken_lines import BrokenLine

_SECURITY = "rt_engine/transport/security.py"
_GATE = "rt_engine/transport/gate.py"
_STORE = "rt_engine/transport/key_store.py"
_SOCKETS = "rt_engine/transport/sockets.py"
_DOOR = "rt_engine/transport/source_door.py"
_CONTROL = "rt_engine/interfaces/control.py"
_REVOKED = "rt_engine/services/revocations.py"
_FAR = "rt_engine/services/far.py"
_KEEPER = "rt_engine/services/keeper.py"
_FILES = "rt_engine/services/file_exchange.py"
_MQTT = "rt_engine/interfaces/mqtt_schema.py"
_COMMANDS = "rt_engine/services/mqtt_commands.py"

_T_SECURITY = ("unit/transport/test_security.py",)
_T_STORE = ("unit/transport/test_key_store.py",)
_T_FAR = ("unit/services/test_far.py", "unit/services/test_revocations.py")
_T_FILES = ("unit/services/test_file_exchange.py",)
_T_DOOR = ("unit/drivers/microscopes/test_stream_from_elsewhere.py",)
_T_CLIENTS = ("unit/services/test_client_commands.py",)
_T_MQTT = ("unit/services/test_telemetry_mqtt.py",)
_T_CODE = ("architecture/test_no_code_from_data.py",)
_T_GATE = ("unit/transport/test_gate.py",)
_T_SUBJECT = ("unit/services/test_dose_folder.py",)
_T_FUZZ = ("property/test_socket_fuzz.py",)

UNLOCKED = {
    "every role at every socket": BrokenLine(_SECURITY, "if client.role not in admits:", "if False:", _T_SECURITY),
    "no role at any socket": BrokenLine(_SECURITY, "if client.role not in admits:", "if True:", _T_SECURITY),
    "the recorder's inlet for all": BrokenLine(
        "rt_engine/services/recording.py", ", admits=SERVICES)", ")", ("unit/services/test_recording_service.py",)
    ),
    "a revoked key comes in": BrokenLine(_SECURITY, "if client.revoked_utc is not None:", "if False:", _T_SECURITY),
    "a stranger comes in": BrokenLine(
        _SECURITY, 'return "", f"its key {public[:8]}… is not known"', 'return "the_operator", ""', _T_SECURITY
    ),
    "whoever is refused comes in": BrokenLine(_SECURITY, 'b"400" if why else b"200"', 'b"200"', _T_SECURITY),
    "bound sockets ask for no key": BrokenLine(_SECURITY, "made.curve_server = True", "return", _T_SECURITY),
    "the refused are not noted": BrokenLine(
        _SECURITY, "self.note(f\"refused {address.decode(errors='replace')}: {why}\")", "pass", _T_SECURITY
    ),
    "who fails early is not noted": BrokenLine(
        _SECURITY, 'self.note(f"refused {_one_of(here.values())}: {why}")', "pass", _T_SECURITY
    ),
    "the last to come is suspected": BrokenLine(
        _SECURITY, "_one_of(here.values())", "_one_of(list(here.values())[-1:])", _T_SECURITY
    ),
    "who has left is suspected": BrokenLine(_SECURITY, "here.pop(value, None)", "pass", _T_SECURITY),
    "bound beyond loopback without keys": BrokenLine(
        _SECURITY, "if not is_loopback(endpoint):", "if False:", (*_T_SECURITY, *_T_DOOR)
    ),
    "every address is loopback": BrokenLine(_SECURITY, 'host.startswith("127.")', 'host.startswith("")', _T_SECURITY),
    "a role is what the client says": BrokenLine(
        _GATE, "return msgspec.structs.replace(request, role=role)", "return request", _T_SECURITY
    ),
    "roles are not asked": BrokenLine(_GATE, "require_allowed(role, request.cmd)", "pass", _T_SECURITY),
    "roles are not asked without keys": BrokenLine(
        _GATE, "require_allowed(request.role, request.cmd)", "pass", _T_GATE
    ),
    "refusals are not told": BrokenLine(_GATE, "self.refusals.note(", "str(", _T_GATE),
    "whoever says so is a service": BrokenLine(_GATE, "if self._secret and not hmac", "if False and not hmac", _T_GATE),
    "the secret is handed on": BrokenLine(
        _GATE, 'request.args.pop(SECRET, "")', 'request.args.get(SECRET, "")', _T_GATE
    ),
    "folders into which all put keys": BrokenLine(
        _STORE, "& (stat.S_IWGRP | stat.S_IWOTH):", "& 0:", ("unit/commands/test_keys.py",)
    ),
    "operators are services": BrokenLine(_GATE, "require_public(role, request.cmd)", "pass", _T_SECURITY),
    "clients may announce services": BrokenLine(
        _GATE, "return name is not None and self._guard.role_of(name) is Role.SERVICE", "return True", _T_SECURITY
    ),
    "revoked for new connections only": BrokenLine(
        _GATE,
        "role = None if name is None else self._guard.role_of(name)",
        "role = None if name is None else self.__dict__.setdefault(name, self._guard.role_of(name))",
        _T_SECURITY,
    ),
    "a request may come again": BrokenLine(_GATE, "if request.id in self._seen:", "if False:", _T_SECURITY),
    "a stop stops once": BrokenLine(_GATE, '("trip", "announce",', '("announce",', _T_SECURITY),
    "ids of any length": BrokenLine(_GATE, "if len(request.id) > _LONGEST_ID:", "if False:", _T_GATE),
    "ids are kept for ever": BrokenLine(_GATE, "while len(self._seen) > _REMEMBERED:", "while False:", _T_GATE),
    "a viewer commands": BrokenLine(
        _CONTROL, "if role is Role.VIEWER and cmd not in ANYONE:", "if False:", (*_T_CLIENTS, *_T_SECURITY)
    ),
    "a source commands": BrokenLine(
        _CONTROL, "if role is Role.SOURCE and cmd not in _OF_SOURCE:", "if False:", _T_SECURITY
    ),
    "a viewer may not trip": BrokenLine(
        _CONTROL,
        'ANYONE = ("describe", "status", "trip")',
        'ANYONE = ("describe", "status")',
        (*_T_CLIENTS, *_T_SECURITY),
    ),
    "keys that others can read": BrokenLine(_STORE, "if secret and os.name", "if False and os.name", _T_STORE),
    "keys are written for all": BrokenLine(_STORE, "os.O_EXCL, 0o600)", "os.O_EXCL, 0o644)", _T_STORE),
    "key folders for all": BrokenLine(_STORE, "exist_ok=True, mode=0o700)", "exist_ok=True)", _T_STORE),
    "a key's name is a path": BrokenLine(
        _STORE, "if not _NAME.fullmatch(name) or name == Path(RIG_FILE).stem:", "if False:", _T_STORE
    ),
    "a name of the rig's own key": BrokenLine(_STORE, " or name == Path(RIG_FILE).stem:", ":", _T_STORE),
    "clients with the rig's own role": BrokenLine(_STORE, "if role is Role.SERVICE:", "if False:", _T_STORE),
    "a revoked key has its role": BrokenLine(
        _STORE, "return None if record.revoked_utc is not None else record.role", "return record.role", _T_STORE
    ),
    "frames from any role": BrokenLine(_DOOR, ", admits=SOURCES)", ")", _T_DOOR),
    "frames of a revoked key": BrokenLine(_DOOR, "if now_ns >= due_ns:", "if name not in self._known:", _T_DOOR),
    "messages of any length": BrokenLine(
        _SOCKETS, "socket.setsockopt(zmq.MAXMSGSIZE,", "(lambda *_: None)(zmq.MAXMSGSIZE,", _T_SECURITY
    ),
    "commands as long as frames": BrokenLine(
        _SOCKETS, "MAX_CONTROL_BYTES if kind in _CONTROL else MAX_MESSAGE_BYTES", "MAX_MESSAGE_BYTES", _T_SECURITY
    ),
    "revoked keys are never told": BrokenLine(_REVOKED, "return {_KEY: self._told}", "return {}", _T_FAR),
    "revoked keys are never taken": BrokenLine(_REVOKED, "if not new:", "if True:", _T_FAR),
    "revoked keys are told once": BrokenLine(
        _REVOKED, "if self._due_ns is None or now_ns >= self._due_ns:", "if self._due_ns is None:", _T_FAR
    ),
    "a run tells a joiner nothing": BrokenLine(
        _FAR, 'return self._revocations.told() | {\n            "setup"', 'return {\n            "setup"', _T_FAR
    ),
    "a run tells keepers nothing": BrokenLine(
        _FAR, 'return self._revocations.told() | {"t_ns"', 'return {"t_ns"', _T_FAR
    ),
    "a run hears no keeper": BrokenLine(
        _FAR,
        'self._revocations.take(args, far.address)\n        return self._revocations.told() | {"t_ns"',
        'return self._revocations.told() | {"t_ns"',
        _T_FAR,
    ),
    "a run hears no joiner": BrokenLine(
        _FAR,
        'self._say("info", f"{far.name} runs on {far.address}")\n        self._revocations.take(args, far.address)',
        'self._say("info", f"{far.name} runs on {far.address}")',
        _T_FAR,
    ),
    "a keeper tells nothing when it joins": BrokenLine(
        _KEEPER, '"join", self._revocations.told(),', '"join", {},', _T_FAR
    ),
    "a keeper takes nothing when it joins": BrokenLine(
        _KEEPER,
        "reply.ok:\n                self._revocations.take(reply.result or {}, self._endpoint)",
        "reply.ok:",
        _T_FAR,
    ),
    "a keeper tells nothing later": BrokenLine(
        _KEEPER, '{"session": session} | self._revocations.told() |', '{"session": session} |', _T_FAR
    ),
    "a keeper takes nothing later": BrokenLine(
        _KEEPER,
        "heard_ns = now_ns\n                self._revocations.take(reply.result or {}, self._endpoint)",
        "heard_ns = now_ns",
        _T_FAR,
    ),
    "clients join as services": BrokenLine(_FAR, "if request.role is not Role.SERVICE:", "if False:", _T_FAR),
    "devices from the network": BrokenLine(_KEEPER, "[key for key in _OWN if mine[key] != sent[key]]", "[]", _T_FAR),
    "a session's name is a path": BrokenLine(_KEEPER, " or not _SESSION.fullmatch(setup.session):", ":", _T_FAR),
    "a file's name is a path": BrokenLine(
        _FILES, "if not isinstance(name, str) or not _NAME.fullmatch(name):", "if False:", _T_FILES
    ),
    "any file is given out": BrokenLine(
        _FILES,
        "if not _LOG.fullmatch(name) or not isinstance(at, int) or at < 0:",
        "if not isinstance(at, int) or at < 0:",
        _T_FILES,
    ),
    "a log's name is a path": BrokenLine(
        _FILES, "if not isinstance(name, str) or not _LOG.fullmatch(name):", "if False:", _T_FILES
    ),
    "files of any length": BrokenLine(_FILES, "0 <= at <= MAX_BYTES - len(data)", "0 <= at", _T_FILES),
    "logs of any length": BrokenLine(_FILES, "if at > MAX_BYTES:", "if False:", _T_FILES),
    "a protocol's name is a path": BrokenLine(
        "rt_engine/services/client_commands.py", "if not _PLAIN_NAME.fullmatch(name):", "if False:", _T_CLIENTS
    ),
    "a protocol for stimulation is a path": BrokenLine(
        "rt_engine/services/stimulation.py",
        'request.args["path"] = str(named_protocol(request.args))',
        "pass",
        _T_CLIENTS,
    ),
    "a subject's name is a path": BrokenLine(
        "rt_engine/services/interlock_setup.py",
        "if not _SUBJECT.fullmatch(rig.subject):",
        "if False:",
        _T_SUBJECT,
    ),
    "a task's name is a path": BrokenLine(_MQTT, " or not _CLIENT.fullmatch(parts[0]):", ":", (*_T_FUZZ, *_T_MQTT)),
    "tasks' commands of any length": BrokenLine(
        _MQTT, "if len(data) > MAX_COMMAND_BYTES:\n        raise", "if False:\n        raise", (*_T_FUZZ, *_T_MQTT)
    ),
    "tasks' commands come again": BrokenLine(_COMMANDS, "if key not in self._known:", "if True:", (*_T_MQTT, *_T_FUZZ)),
    "kept commands are carried out": BrokenLine(_COMMANDS, "if retained:", "if False:", (*_T_MQTT, *_T_FUZZ)),
    "tasks may ask for all": BrokenLine(
        _COMMANDS, "if kind not in self._config.accept:", "if False:", (*_T_MQTT, *_T_FUZZ)
    ),
    "old requests are carried out": BrokenLine(
        _COMMANDS, "if isinstance(command, RequestCommand) and not fresh:", "if False:", (*_T_MQTT, *_T_FUZZ)
    ),
    "requests without number": BrokenLine(
        _COMMANDS, "if self._n_this_second > MAX_PER_S:", "if False:", ("unit/services/test_mqtt_commands.py",)
    ),
    "a task's trip must be accepted": BrokenLine(
        _COMMANDS, "if kind is CommandKind.TRIP:\n            return", "if False:\n            return", _T_MQTT
    ),
    "YAML that makes objects": BrokenLine(
        "rt_engine/interfaces/yaml_files.py", "yaml.safe_load(", "yaml.unsafe_load(", _T_CODE
    ),
    "figures for everybody": BrokenLine(
        "rt_engine/services/metrics.py", 'addr="127.0.0.1"', 'addr="0.0.0.0"', ("unit/services/test_metrics.py",)
    ),
    "a broker for everybody": BrokenLine(
        "rt_engine/services/embedded_broker.py", 'f"127.0.0.1:{port}"', 'f"0.0.0.0:{port}"', _T_MQTT
    ),
}
"""By what an attacker gains (or a friend loses)."""
