"""An editor that knows the committed schemas takes what we take, files of measurements too, and marks what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.power_table import MeasuredPower, PowerTable, power_schema
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.slm_registration import SlmRegistration, registration_schema

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "hardware_configs"
MEASURED = {"date": "2026-11-29", "person": "me"}
FILES = {
    "table.power.yaml": MEASURED | {"volts": [0.0, 1.0, 2.0], "power_mw": [0.0, 4.0, 20.0]},
    "gate.power.yaml": MEASURED | {"power_mw": 8.0},
    "slm.registration.yaml": MEASURED
    | {
        "max_residual_px": 2.0,
        "matrix": [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
        "spots": [
            [0.0, 0.0, 0.0, 0.0],
            [500.0, 0.0, 0.0, 500.0],
            [0.0, 500.0, 500.0, 0.0],
            [500.0, 500.0, 500.0, 500.0],
        ],
        "residuals_px": [0.0, 0.0, 0.0, 0.0],
    },
}


def validator(path: Path) -> Draft202012Validator:
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def as_an_editor_reads(text: str):
    """YAML as JSON has it: a date is text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


def wrong(schema: str, value) -> list[str]:
    return [error.message for error in validator(CONFIGS / schema).iter_errors(value)]


def of_kind(name: str) -> str:
    return f"{name.split('.')[1]}.schema.json"


@pytest.mark.parametrize(
    ("schema", "path"),
    [(CONFIGS / "rig.schema.json", path) for path in sorted(CONFIGS.glob("*.yaml"))]
    + [(ROOT / "protocols" / "protocol.schema.json", path) for path in sorted((ROOT / "protocols").rglob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_what_is_shipped_is_valid_by_the_schema_that_is_shipped(schema, path):
    errors = list(validator(schema).iter_errors(as_an_editor_reads(path.read_text(encoding="utf-8"))))
    assert [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors] == []


def test_the_committed_schemas_of_measurements_are_those_of_the_models():
    assert (CONFIGS / "power.schema.json").read_text(encoding="utf-8") == power_schema()
    assert (CONFIGS / "registration.schema.json").read_text(encoding="utf-8") == registration_schema()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_measurements_is_valid_and_one_without_a_person_is_not(name):
    assert wrong(of_kind(name), FILES[name]) == []
    assert wrong(of_kind(name), {key: value for key, value in FILES[name].items() if key != "person"})
    assert wrong(of_kind(name), FILES[name] | {"date": "last week"})


@pytest.mark.parametrize("model", [PowerTable, MeasuredPower, SlmRegistration])
def test_what_is_written_to_a_file_is_valid(model):
    (name,) = [one for one, value in FILES.items() if set(value) == set(model.model_fields)]
    assert wrong(of_kind(name), model.model_validate(FILES[name]).model_dump(mode="json")) == []


@pytest.mark.parametrize(
    ("rig", "output", "section", "key", "file"),
    [
        ("scanimage_ni", "led", "pulse", "power", "table.power.yaml"),
        ("virtual_pulse_box", "led", None, "power", "gate.power.yaml"),
        ("virtual_ni_slm", "slm", None, "registration", "slm.registration.yaml"),
    ],
)
def test_a_measurement_may_stand_in_the_rig_or_in_a_file_for_us_and_for_the_editor(
    rig, output, section, key, file, tmp_path
):
    (tmp_path / file).write_text(yaml.safe_dump(FILES[file]), encoding="utf-8")
    for value in (file, FILES[file], None):
        described = as_an_editor_reads((CONFIGS / f"{rig}.yaml").read_text(encoding="utf-8"))
        part = described["outputs"][output]
        (part[section] if section else part)[key] = value
        assert wrong("rig.schema.json", described) == []
        (tmp_path / "rig.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
        found = getattr(load_rig(tmp_path / "rig.yaml").outputs[output], section or key)
        found = getattr(found, key) if section else found
        assert (found is None) is (value is None)
        (part[section] if section else part)[key] = 7
        assert wrong("rig.schema.json", described)
        (tmp_path / "rig.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
        with pytest.raises(ConfigError, match=key):
            load_rig(tmp_path / "rig.yaml")
