"""The JSON Schema of the config file, for editors and other tools."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from dispatcher.config.sections import Config


def json_schema() -> dict[str, Any]:
    """Return the schema, in the draft of 2020-12."""
    schema = Config.model_json_schema(schema_generator=_ForPeople)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


class _ForPeople(GenerateJsonSchema):
    """The schema as an editor should show it: no titles that repeat a key, and no null where a key is left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        section = super().model_schema(schema)
        section.pop("title", None)
        return section

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])
