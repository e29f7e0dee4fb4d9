"""The official Python client, 2.x, on behalf of a person, at the revision in argv[1]. Else as authorize.mjs."""

import asyncio
import json
import os
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata


def say(message) -> None:
    print(json.dumps(message), flush=True)


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


class Callback:
    """A native client's listener for the authorization response (RFC 8252 §7.3)."""

    refusal = None

    async def listen(self) -> None:
        address = urlsplit(os.environ.get("REDIRECT_URI", "http://127.0.0.1/callback"))
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.path = address.path
        self.server = await asyncio.start_server(self.receive, address.hostname, address.port or 0)
        port = self.server.sockets[0].getsockname()[1]
        host = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
        self.url = f"http://{host}:{port}{address.path}"

    async def receive(self, reader, writer) -> None:
        target = urlsplit((await reader.readuntil(b"\r\n")).split(b" ")[1].decode())
        found = target.path == self.path
        if found:
            await self.answers.put(target.query)
        body = b"<h1>Back at the client</h1>" if found else b""
        head = f"HTTP/1.1 {200 if found else 404} .\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async def answer(self) -> AuthorizationCodeResult:
        query = parse_qs(await self.answers.get())
        if "error" in query:
            self.refusal = f"{query['error'][0]}: {query.get('error_description', [''])[0]}"
            raise RuntimeError(self.refusal)
        return AuthorizationCodeResult(
            code=query["code"][0], state=query.get("state", [None])[0], iss=query.get("iss", [None])[0]
        )


async def main() -> None:
    callback = Callback()
    await callback.listen()
    url = os.environ["URL"]
    client_id, secret = os.environ.get("CLIENT_ID"), os.environ.get("CLIENT_SECRET")
    method = "client_secret_basic" if secret else "none"
    about = {
        "redirect_uris": [callback.url],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": method,
    }
    memory = Memory()
    if client_id:
        memory.client_info = OAuthClientInformationFull(client_id=client_id, client_secret=secret, **about)

    async def redirect(authorization: str) -> None:
        say({"authorize": authorization})

    auth = OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(client_name="Official Python client", **about),
        storage=memory,
        redirect_handler=redirect,
        callback_handler=callback.answer,
        client_metadata_url=os.environ.get("CLIENT_METADATA_URL"),
    )
    mode = "2026-07-28" if sys.argv[1:] == ["2026-07-28"] else "legacy"
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def steps(client) -> None:
        """Does what it is told until the end of the input."""
        while line := await lines.readline():
            told = json.loads(line)
            try:
                match told["do"]:
                    case "connect":
                        done = {"tools": [tool.name for tool in (await client.list_tools()).tools]}
                    case "call":
                        result = await client.call_tool(told["with"]["name"], told["with"].get("arguments", {}))
                        done = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                    case "spoil":
                        # This client asks for a new token when its own clock says so, not when the server refuses.
                        auth.context.token_expiry_time = 1
                        done = {}
                    case "tokens":
                        done = memory.tokens.model_dump(mode="json") if memory.tokens else {}
                    case other:
                        raise RuntimeError(f"this client cannot {other}")
                say({"done": done})
            except Exception as error:
                say({"failed": f"{type(error).__name__}: {error}"})

    try:
        async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
            async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
                await steps(client)
    except BaseException as error:
        # A refusal ends the connection, and with it the call that waits, by cancellation.
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        say({"failed": callback.refusal or f"{type(error).__name__}: {error}"})


asyncio.run(main())
