import json
from pathlib import Path
from typing import Any

from dispatcher.config.schema import json_schema

CONFIGS = Path(__file__).parents[3] / "configs"


def test_the_published_schema_is_current() -> None:
    published = json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run: dispatcher check --schema > configs/schema.json"


def test_every_config_names_the_schema_for_editors() -> None:
    for path in CONFIGS.glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=schema.json\n"), path


def test_every_key_is_explained_and_no_other_is_allowed() -> None:
    schema = json_schema()
    sections: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    for section in sections:
        if section["type"] == "object":
            assert section["additionalProperties"] is False
            assert all(key["description"] for key in section["properties"].values())
