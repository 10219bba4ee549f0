"""The JSON Schema of a record, for editors and for tools that are not ours; ``paper.schema.json`` is a copy.

What a schema can say it says: unknown values need no source, known ones do; the checklist and the diagnostics
are complete; our own work is marked as such. The rest (the id is the file's name) is said by ``validate``.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from . import terms
from .glossary import FIELDS
from .records import Record
from .terms import DIAGNOSTICS, ITEMS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    made: dict[str, Any] = _untitled(Record.model_json_schema(by_alias=True, ref_template="#/$defs/{model}"))
    parts: dict[str, Any] = made.pop("$defs")
    names = {old: _name(part) if old.startswith("Coded") else old.lower() for old, part in parts.items()}
    made, parts = _renamed(made, names), {names[old]: _renamed(part, names) for old, part in parts.items()}
    for name, part in parts.items():
        if name.startswith("coded"):
            parts[name] = _coded(part)
    for field, meaning in FIELDS.items():
        made["properties"][field]["description"] = meaning
    made["properties"]["checklist"] = _complete(made["properties"]["checklist"], ITEMS)
    made["properties"]["diagnostics"] = _complete(made["properties"]["diagnostics"], tuple(DIAGNOSTICS))
    made["allOf"] = [_ours()]
    head = {"$schema": DIALECT, "$id": "urn:apportion:inventory:paper:1", "title": "A paper in apportion's inventory"}
    return head | made | {"$defs": dict(sorted(parts.items()))}


#: Vocabularies by their words: the generated names of their definitions are long, and change with pydantic.
_VOCABULARIES = {
    get_args(words): name
    for name, words in vars(terms).items()
    if name[0].isupper() and get_origin(words) is Literal
}  # fmt: skip


def _name(part: dict[str, Any]) -> str:
    """``coded_text``, ``coded_text_list``, ``coded_boolean``, ``coded_integer`` or the vocabulary's name."""
    value = part["properties"]["is"]["anyOf"][0]
    several = value["type"] == "array"
    value = value["items"] if several else value
    words = tuple(value.get("enum", ()))
    plain = {"string": "text"}.get(value["type"], value["type"])
    said = _VOCABULARIES.get(words, "_or_".join(words)).lower() if words else plain
    return f"coded_{said}{'_list' if several else ''}"


def _untitled(node: Any, named: bool = False) -> Any:
    """Without the titles that pydantic makes of the names; ``named``: the keys of ``node`` are names themselves."""
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if named or k != "title"}
        return {k: _untitled(v, not named and k in ("properties", "$defs")) for k, v in kept.items()}
    return [_untitled(v) for v in node] if isinstance(node, list) else node


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {k: f"#/$defs/{names[v.split('/')[-1]]}" if k == "$ref" else _renamed(v, names) for k, v in node.items()}
    return [_renamed(v, names) for v in node] if isinstance(node, list) else node


def _coded(part: dict[str, Any]) -> dict[str, Any]:
    """The word unknown, or a value; one that is known says where it was read."""
    part = {k: v for k, v in part.items() if k != "description"}
    part["if"] = {"properties": {"is": {"const": "unknown"}}}
    part["else"] = {"required": ["from"], "properties": {"from": {"type": "string"}}}
    return {"anyOf": [{"const": "unknown"}, part]}


def _complete(part: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    each = part.pop("additionalProperties")
    return part | {"properties": dict.fromkeys(names, each), "required": list(names), "additionalProperties": False}


def _ours() -> dict[str, Any]:
    def is_ours(field: str) -> dict[str, Any]:
        return {"properties": {field: {"const": "ours"}}}

    return {"if": is_ours("snapshot"), "then": is_ours("status"), "else": {"not": is_ours("status")}}
