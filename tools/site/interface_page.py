"""The page of the REST interface, from the application's own description of itself."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from marrowscope.web.app import create_app
from marrowscope.web.metrics import API
from marrowscope.web.settings import Settings

Schema = Mapping[str, Any]
INTRODUCTION = f"""# REST interface, route by route

What a server answers at `{API}/openapi.json`, as tables. [The interface of the reading
room](../api.md) says how to log in, how errors look, and what sending again does; all addresses are
below `{API}`.

"""


def page() -> str:
    """Write the page: routes by their part of the interface, then the shapes that they speak."""
    description = _description()
    parts: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            if path.startswith(API):
                chapter = _route(method.upper(), path.removeprefix(API), route)
                parts.setdefault(route.get("tags", ["other"])[0], []).append(chapter)
    routes = (f"## {part}\n\n" + "\n\n".join(chapters) for part, chapters in parts.items())
    shapes = (_shape(name, shape) for name, shape in description["components"]["schemas"].items())
    return INTRODUCTION + "\n\n".join([*routes, "## Shapes", *shapes]) + "\n"


def _description() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(folder=Path(folder) / "room"))
        description = app.openapi()
        app.state.room.close()
    return description


def _route(method: str, path: str, route: Schema) -> str:
    parts = [f"### {method} {path}", _words(route.get("description", ""))]
    parts += [_table("sent", _sent(route)), _answers(route)]
    return "\n\n".join(part for part in parts if part)


def _sent(route: Schema) -> Iterator[tuple[str, Schema, bool]]:
    for parameter in route.get("parameters", ()):
        name = f"{parameter['name']} ({parameter['in']})"
        yield name, parameter["schema"], parameter.get("required", False)
    for media, body in route.get("requestBody", {}).get("content", {}).items():
        schema = body["schema"]
        if "properties" in schema:
            yield from _properties(schema)
        else:
            yield f"body ({media})", schema, True


def _answers(route: Schema) -> str:
    answers = [
        f"{status}: {_media(answer)}"
        for status, answer in route["responses"].items()
        if status.startswith("2")
    ]
    return f"Answer: {'; '.join(answers)}."


def _media(answer: Schema) -> str:
    kinds = [
        _type(content["schema"]) if content.get("schema") else f"`{media}`"
        for media, content in answer.get("content", {}).items()
    ]
    return " or ".join(kinds) or "nothing"


def _shape(name: str, schema: Schema) -> str:
    parts = [f"### {name}", _words(schema.get("description", ""))]
    parts += [f"One of {_values(schema)}."] if "enum" in schema else []
    parts += [_table("field", _properties(schema))]
    return "\n\n".join(part for part in parts if part)


def _properties(schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield name, field, name in required


def _table(title: str, fields: Iterable[tuple[str, Schema, bool]]) -> str:
    rows = [
        f"| `{name}` | {_type(schema)} | {_limits(schema, required=required)} |"
        for name, schema, required in fields
    ]
    return "\n".join([f"| {title} | type | |", "|---|---|---|", *rows]) if rows else ""


def _limits(schema: Schema, *, required: bool) -> str:
    parts = [] if required or "default" in schema else ["may be left out"]
    parts += [f"`{schema['default']}` by default"] if schema.get("default") is not None else []
    return (
        ". ".join([*parts, _words(schema.get("description", ""))]).strip(". ").replace("|", "\\|")
    )


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return _values(schema)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = str(schema.get("format") or schema.get("type", "any"))
    return "nothing" if kind == "null" else kind


def _values(schema: Schema) -> str:
    return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))


def _words(text: str) -> str:
    return " ".join(text.split())
