"""The CustomResourceDefinitions: structural as the API server demands, and what they let pass and refuse."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CRDS = REPOSITORY / "deploy/kubernetes/crds"
MANIFESTS = REPOSITORY / "tests/support/manifests"
Schema = dict[str, Any]


def load(plural: str) -> Schema:
    return yaml.safe_load((CRDS / f"{plural}.yaml").read_text())


def schema_of(plural: str) -> Schema:
    (version,) = load(plural)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


@pytest.mark.parametrize("plural", ["connectors", "connectorclasses", "connectorleases"])
def test_a_definition_is_structural_and_has_a_status(plural: str) -> None:
    definition = load(plural)
    assert definition["metadata"]["name"] == f"{plural}.{definition['spec']['group']}"
    (version,) = definition["spec"]["versions"]
    assert version["subresources"] == {"status": {}} and version["additionalPrinterColumns"]
    for path, schema in nodes(schema_of(plural)):
        assert "type" in schema or schema.get("x-kubernetes-preserve-unknown-fields"), f"{path} has no type"
        # The validations cost more than the API server allows where a list or a text has no end.
        if path.startswith(".spec.") and plural == "connectorleases":
            bounded = {"array": "maxItems", "string": "maxLength"}.get(schema.get("type", ""))
            assert not bounded or bounded in schema or "enum" in schema or "format" in schema, f"{path} has no bound"
    assert {f.name for f in CRDS.glob("*.yaml")} - {"kustomization.yaml"} == set(
        yaml.safe_load((CRDS / "kustomization.yaml").read_text())["resources"])


@pytest.fixture
def connector() -> dict[str, Any]:
    documents = yaml.safe_load_all((MANIFESTS / "clone.yaml").read_text())
    (found,) = [each for each in documents if each["kind"] == "Connector"]
    return found


def test_the_documented_connector_passes(connector: dict[str, Any]) -> None:
    jsonschema.validate(connector, schema_of("connectors"))


@pytest.mark.parametrize(
    "path, value",
    [
        ("address", "ftp://github.com"),
        ("address", "https://bot:secret@github.com"),
        ("address", "https://github.com/?token=x"),
        ("address", None),
        ("connectorClassName", ""),
        ("auth.name", None),
        ("auth.secretRef", {"name": ""}),
        ("auth.params", {"repository": "a/b"}),
    ],
)
def test_a_wrong_connector_is_refused_at_once(connector: dict[str, Any], path: str, value: Any) -> None:
    changed = copy.deepcopy(connector)
    *parents, last = path.split(".")
    place = changed["spec"]
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, schema_of("connectors"))


def test_of_a_lease_only_its_end_changes() -> None:
    spec = schema_of("connectorleases")["properties"]["spec"]
    (rule,) = spec["x-kubernetes-validations"]
    for member in spec["properties"]:
        assert (f"self.{member} == oldSelf.{member}" in rule["rule"]) == (member != "expires")
