"""Writes the pictures of README.md: screenshots of the pages and a recording of a terminal.

    python3 docs/pictures/make.py PROGRAM [FOLDER [LISTEN]]

PROGRAM is `portcullis`, FOLDER the output, by default this one, LISTEN the address of the endpoint. Everything is the real program's: `portcullis dev` serves
manifests of examples/, and the browser of the tests (tests/browser) visits its pages. `make pictures` builds the program first;
the test `pictures` of tests/dev runs the script too.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

from palette import indexed
from recording import record

ROOT = Path(__file__).resolve().parents[2]
LISTEN = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1:0"
USER, PASSWORD = "alice", "open sesame"
SERVED = "Edits of the manifests are live."
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CLAUDE = ("claude", "https://claude.ai/api/mcp/auth_callback")
CLAUDE_CODE = ("claude-code", "http://localhost:9/callback")
# The pages, in the order in which one user sees them: name of the picture, width of the window, and how to get there.
PAGES = [
    ("landing", 760, lambda visit: visit.open("/console/")),
    ("consent", 600, lambda visit: visit.consent(CLAUDE)),
    ("agents", 760, lambda visit: visit.agents(CLAUDE, CLAUDE_CODE)),
]


class Dev:
    """A running `portcullis dev`."""

    def __init__(self, program, manifests, folder):
        self.state = folder / "state"
        command = [program, "dev", *manifests, "--listen", LISTEN, "--state-dir", self.state]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(SERVED):
                break
        else:
            raise SystemExit("portcullis dev ended before it served:\n" + "\n".join(self.lines))
        self.url = next(line.split()[1] for line in self.lines if line.startswith("  URL "))
        self.origin = self.url.removesuffix("/mcp")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def secret(self, client):
        """The secret of a confidential client, or None."""
        file = self.state / f"secrets/{client}-oauth/client-secret"
        return file.read_text() if file.exists() else None


class Visit:
    """A visit to the pages, with the browser that the tests drive."""

    def __init__(self, dev, folder):
        self.dev = dev
        packages, node = subprocess.check_output([ROOT / "tests/clients/install.sh"], text=True).splitlines()[:2]
        chromium = subprocess.check_output([ROOT / "tests/browser/install.sh"], text=True).strip()
        for script in [*ROOT.glob("tests/browser/*.mjs"), ROOT / "tests/support/conversation.mjs"]:
            shutil.copy(script, folder)
        (folder / "node_modules").symlink_to(Path(packages) / "node_modules")
        environment = {**os.environ, "CHROMIUM": chromium, "HOST_RULES": "MAP claude.ai ~NOTFOUND", "TMPDIR": str(folder)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.browser = subprocess.Popen([node, folder / "drive.mjs"], env=environment, **pipes)

    def do(self, step, value=None):
        """One step of tests/browser/drive.mjs."""
        self.browser.stdin.write(json.dumps({"do": step, "with": value}) + "\n")
        self.browser.stdin.flush()
        answer = json.loads(self.browser.stdout.readline())
        if "failed" in answer:
            raise SystemExit(f"{step} {value}: {answer['failed']}")
        return answer["done"]

    def size(self, width):
        self.do("resize", {"width": width, "height": 500})

    def open(self, path):
        self.do("open", self.dev.origin + path)

    def consent(self, client):
        """The consent page, after the user has signed in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
        query = {"response_type": "code", "client_id": client[0], "redirect_uri": client[1], "state": "s"}
        self.open("/authorize?" + urllib.parse.urlencode({**query, "code_challenge": challenge, "code_challenge_method": "S256"}))
        if "/login" in self.do("look")["url"]:
            self.do("fill", {"label": "User name", "value": USER})
            self.do("fill", {"label": "Password", "value": PASSWORD})
            self.do("press", "Sign in")
        self.do("find", "What it may do")

    def agents(self, *clients):
        """The connected agents, each of which was approved and then called a tool."""
        for client in clients:
            self.consent(client)
            self.do("press", "Allow")
            # No client listens at the callback.
            back = next(url for url in reversed(self.do("look")["redirects"]) if url.startswith(client[1]))
            code = urllib.parse.parse_qs(urllib.parse.urlparse(back).query)["code"][0]
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client[1], "client_id": client[0],
                    "code_verifier": VERIFIER, "client_secret": self.dev.secret(client[0])}
            form = {name: value for name, value in form.items() if value}
            token = self.post(self.dev.origin + "/token", urllib.parse.urlencode(form).encode(), {})["access_token"]
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}
            self.post(self.dev.url, json.dumps(call).encode(), {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
        self.open("/agents")
        self.do("find", "Last used")

    @staticmethod
    def post(url, body, headers):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, body, headers)) as response:
            return json.load(response)

    def end(self):
        self.browser.stdin.close()
        self.browser.wait()


def screenshots(program, output, folder):
    command = [program, "htpasswd", USER, "--secret", "users", "--endpoint", "agents", "--cost", "4"]
    users = folder / "users.yaml"
    users.write_text(subprocess.run(command, input=PASSWORD + "\n", stdout=subprocess.PIPE, text=True, check=True).stdout)
    dev = Dev(program, ["examples/people.yaml", users], folder)
    try:
        visit = Visit(dev, folder)
        visit.do("visitor", {"colorScheme": "light"})
        for name, width, go in PAGES:
            visit.size(width)
            go(visit)
            file = output / f"{name}.png"
            visit.do("screenshot", str(file))
            file.write_bytes(indexed(file.read_bytes()))
        visit.end()
    finally:
        dev.stop()


def terminal(program, output, folder):
    """The first two commands of a new user. Only the port and the folder of the state are replaced by the default ones."""
    dev = Dev(program, ["examples/quickstart.yaml"], folder)
    try:
        command = f"portcullis doctor {dev.url} --client-id ci-agent --client-secret-file {dev.state}/secrets/ci-agent-oauth/client-secret"
        doctor = subprocess.run([program, *command.split()[1:]], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    finally:
        dev.stop()
    # What follows are the clients, with long command lines for each.
    first = next(number for number, line in enumerate(dev.lines) if line.startswith('Client "'))
    shown = [*dev.lines[:first], f"[{len(dev.lines) - first - 1} more lines: the clients, and curl commands for one without a user]", "", dev.lines[-1]]

    def default(line):
        return line.replace(str(dev.state), ".portcullis").replace(dev.origin.removeprefix("http://"), "127.0.0.1:8080")

    parts = [("portcullis dev examples/quickstart.yaml", shown), (command, doctor)]
    parts = [(default(command), [default(line) for line in lines]) for command, lines in parts]
    (output / "terminal.svg").write_text(record(parts))


def main():
    program = Path(sys.argv[1]).resolve()
    output = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else Path(__file__).resolve().parent
    for make in (screenshots, terminal):
        with tempfile.TemporaryDirectory(prefix="portcullis-pictures-") as folder:
            make(program, output, Path(folder))


if __name__ == "__main__":
    main()
