"""Converts MCP tools as agent frameworks do, and says which they take, and which of them by strict schemas.

Reads a list of tools as tools/list has it, and writes an object with the names by framework.
"""

import copy
import json
import sys

from agents.mcp import MCPServerStreamableHttp, MCPUtil
from google.genai._mcp_utils import mcp_to_gemini_tool
from mcp.types import Tool
from pydantic_ai.profiles.openai import OpenAIJsonSchemaTransformer


def google(tool, given):
    declaration = mcp_to_gemini_tool(tool).function_declarations[0]
    properties = declaration.parameters.properties or {}
    assert set(properties) == set(given["inputSchema"]["properties"]), tool.name
    for name, schema in given["inputSchema"]["properties"].items():
        assert (properties[name].enum or None) == schema.get("enum"), f"{tool.name}.{name} loses its choices"


def openai(tool):
    # Nothing is connected to.
    server = MCPServerStreamableHttp({"url": "http://127.0.0.1:1/mcp"})
    return MCPUtil.to_function_tool(tool, server, True).strict_json_schema


def has_map(schema):
    """Whether a schema has an object of any names, which strict mode would close."""
    return isinstance(schema.get("additionalProperties"), dict) or any(
        has_map(inner) for inner in schema.get("properties", {}).values()
    )


def pydantic(given):
    schema = given["inputSchema"]
    # It closes maps without a word: a user has to ask for less than strict there.
    OpenAIJsonSchemaTransformer(copy.deepcopy(schema), strict=False).walk()
    if has_map(schema):
        return False
    strict = OpenAIJsonSchemaTransformer(copy.deepcopy(schema), strict=True).walk()
    return set(strict["required"]) == set(schema["properties"]) and strict["additionalProperties"] is False


results = {name: {"converted": [], "strict": []} for name in ("google-genai", "openai-agents", "pydantic-ai")}
for given in json.load(sys.stdin):
    tool = Tool.model_validate(given)
    google(tool, given)
    results["google-genai"]["converted"].append(tool.name)
    for name, strict in (("openai-agents", openai(tool)), ("pydantic-ai", pydantic(given))):
        results[name]["converted"].append(tool.name)
        if strict:
            results[name]["strict"].append(tool.name)
json.dump(results, sys.stdout)
