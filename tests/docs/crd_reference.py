"""Writes the tables of docs/crds.md from custom resource definitions.

Reads a JSON array of CustomResourceDefinitions from standard input and prints Markdown. The output depends on the input only.
The test `the_crd_reference_is_up_to_date` of tests/docs runs it; `UPDATE_CRDS=1 cargo test --test docs reference` rewrites the page.
"""

import json
import re
import sys

# Types of Kubernetes, which are named instead of described. Their descriptions begin like this.
KUBERNETES = {
    "NetworkPolicyEgressRule describes": "NetworkPolicyEgressRule",
    "NetworkPolicyPeer describes": "NetworkPolicyPeer",
    "The pod this Toleration is attached to": "Toleration",
    "Condition contains details": "Condition",
    "ResourceRequirements describes": "ResourceRequirements",
}
# Every kind has the fields of a Kubernetes object.
ENVELOPE = ("apiVersion", "kind", "metadata")


def kubernetes_type(schema):
    """The name of the Kubernetes type that a schema describes, or None."""
    text = schema.get("description", "")
    return next((name for start, name in KUBERNETES.items() if text.startswith(start)), None)


def number(value):
    """A number as people write it: 1.0 is 1."""
    return str(int(value)) if float(value).is_integer() else str(value)


def bounds(schema):
    """The range of a number, such as " 1 to 100", or nothing."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" {number(least)} to {number(most)}"
    if least is not None:
        return f" from {number(least)}"
    return f" to {number(most)}" if most is not None else ""


def type_of(schema):
    """What kind of value a field has."""
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if name := kubernetes_type(schema):
        return name
    kind = schema.get("type") or ("integer or string" if schema.get("x-kubernetes-int-or-string") else "any")
    if kind == "array":
        most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
        return f"list of {type_of(schema['items'])}{most}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {type_of(schema['additionalProperties'])}"
    if kind == "string" and schema.get("format") == "date-time":
        return "time"
    return kind + bounds(schema) if kind in ("integer", "number") else kind


def messages(schema):
    """What admission says about a value that breaks a rule, each once."""
    rules = [rule for rule in schema.get("x-kubernetes-validations", []) if "message" in rule]
    # A rule of an object names the field that it is about.
    found = [": ".join(filter(None, [rule.get("fieldPath", "").lstrip("."), rule["message"]])) for rule in rules]
    if schema.get("type") == "array":
        found += messages(schema["items"]) if "properties" not in schema["items"] else []
    return list(dict.fromkeys(found))


def described(schema):
    """The description of a field, and what admission demands."""
    # Outside backquotes, an asterisk would begin an emphasis.
    rules = "; ".join(messages(schema)).replace("*", "\\*")
    return schema.get("description", "") + (f" Admission: {rules}." if rules else "")


def cell(text):
    """Text for a cell of a table: one line, without a bar that would end the cell."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def default_of(schema):
    """The default as JSON; nothing for an empty list, map or text, and for objects whose fields have their own."""
    value = schema.get("default")
    if value in (None, [], {}, "") or (isinstance(value, dict) and "properties" in schema):
        return ""
    return f"`{cell(json.dumps(value, ensure_ascii=False))}`"


def fields(schema, path):
    """A row for each field, with those below it."""
    for name, field in sorted(schema.get("properties", {}).items()):
        here = f"{path}.{name}"
        meaning = described(field)
        required = " (required)" if name in schema.get("required", []) else ""
        yield f"| `{here}`{required} | {type_of(field)} | {default_of(field)} | {cell(meaning)} |"
        if kubernetes_type(field):
            continue
        yield from fields(field, here)
        for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
            below = field.get(key)
            if isinstance(below, dict) and not kubernetes_type(below):
                yield from fields(below, here + mark)


def section(definition):
    """The section of one kind."""
    spec = definition["spec"]
    names, version = spec["names"], spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    short = ", ".join(f"`{name}`" for name in names.get("shortNames", []))
    yield f"## {names['kind']}"
    yield ""
    yield cell(schema.get("description", ""))
    yield ""
    yield f"`{spec['group']}/{version['name']}`; `kubectl get {names['plural']}`" + (f", short {short}" if short else "") + "."
    columns = [column["name"] for column in version.get("additionalPrinterColumns", []) if not column.get("priority")]
    if columns:
        yield "`kubectl get` shows " + ", ".join(columns) + "."
    yield ""
    yield "| Field | Type | Default | Meaning |"
    yield "|---|---|---|---|"
    for name, part in sorted(schema["properties"].items()):
        if name in ENVELOPE:
            continue
        if messages(part):
            yield f"| `{name}` | object |  | {cell(described(part))} |"
        yield from fields(part, name)
    yield ""


def main():
    definitions = sorted(json.load(sys.stdin), key=lambda definition: definition["spec"]["names"]["kind"])
    for definition in definitions:
        print("\n".join(section(definition)))


if __name__ == "__main__":
    main()
