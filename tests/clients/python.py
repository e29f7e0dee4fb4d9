"""The official Python client, 2.x, at the revision in argv[2]. Else as typescript-v1.mjs."""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client


class Memory:
    """Keeps tokens for as long as the process runs."""

    tokens = None
    client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


async def main() -> None:
    url = os.environ["URL"]
    auth = ClientCredentialsOAuthProvider(
        server_url=url,
        storage=Memory(),
        client_id=os.environ["CLIENT_ID"],
        client_secret=os.environ["CLIENT_SECRET"],
        issuer=os.environ["ISSUER"],
    )
    mode = "2026-07-28" if sys.argv[2] == "2026-07-28" else "legacy"
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            tools = (await client.list_tools()).tools
            calls = json.loads(sys.argv[1])
            results = [await client.call_tool(call["name"], call["arguments"]) for call in calls]
            prompts = (await client.list_prompts()).prompts
            resources = (await client.list_resources()).resources
            protocol = client.protocol_version
    shown = [result.model_dump(mode="json", by_alias=True) for result in results]
    names = {"tools": tools, "prompts": prompts, "resources": resources}
    names = {kind: [item.name for item in items] for kind, items in names.items()}
    print(json.dumps({"protocol": protocol, "results": shown} | names))


asyncio.run(main())
