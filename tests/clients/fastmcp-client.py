"""The client of FastMCP as its documentation shows it: the endpoint's URL and auth="oauth", and nothing else. The way of
talking: conversation.mjs. It is not called fastmcp.py, since Python would import that as the package."""

import asyncio
import json
import os
import sys
import webbrowser

from fastmcp import Client


def say(message) -> None:
    print(json.dumps(message), flush=True)


async def main() -> None:
    # The test opens another browser.
    webbrowser.open = lambda url: say({"authorize": url})
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    client = Client(os.environ["URL"], auth="oauth")
    connected = False
    try:
        while line := await lines.readline():
            told = json.loads(line)
            try:
                if not connected:
                    await client.__aenter__()
                    connected = True
                match told["do"]:
                    case "connect":
                        done = {"tools": [tool.name for tool in await client.list_tools()]}
                    case "call":
                        result = await client.call_tool_mcp(told["with"]["name"], told["with"].get("arguments") or {})
                        done = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                    case other:
                        raise RuntimeError(f"this client cannot {other}")
                say({"done": done})
            except Exception as error:
                say({"failed": f"{type(error).__name__}: {error}"})
    finally:
        if connected:
            await client.__aexit__(None, None, None)


asyncio.run(main())
