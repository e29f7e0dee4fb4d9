"""Every command and manifest of README.md and docs/*.md is tested, or tests/docs/commands.toml says why it is not.

    commands.py check                 compares the documents with the table
    commands.py self-test             checks the check
    commands.py run GROUP PROGRAM     runs the commands of a group of the table; PROGRAM is `portcullis`

A command is a statement of a code block for a shell: marked `sh`, `bash`, `console`, or not marked. The tests `commands` of
tests/docs and `documented` of tests/cluster run this script.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("commands.toml")
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SHELLS = {"", "sh", "bash", "console", "shell"}
GROUPS = ("alone", "dev", "cluster")
SERVED = "Edits of the manifests are live."


def blocks(document, languages):
    """The lines and contents of a document's code blocks, without the indentation of lists."""
    text = (ROOT / document).read_text()
    for found in BLOCK.finditer(text):
        if found[2] in languages:
            line = text.count("\n", 0, found.start()) + 2
            yield line, "".join(row.removeprefix(found[1]) for row in found[3].splitlines(keepends=True))


def statements(block):
    """The commands of a block: as many lines as bash needs for a complete one."""
    rows = []
    for row in block.splitlines():
        if not rows and (not row.strip() or row.startswith("#")):
            continue
        rows.append(row)
        text = "\n".join(rows)
        parsed = subprocess.run(["bash", "-n"], input=text + "\n", capture_output=True, text=True)
        # A document in the input without its end is a warning only.
        if not row.endswith("\\") and parsed.returncode == 0 and not parsed.stderr:
            yield "\n".join(re.sub(r"\s+# .*$", "", row) for row in rows)
            rows = []
    if rows:
        yield "\n".join(rows)


def documents():
    return ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]


def documented():
    """All commands of the documents, each with where it is first."""
    found = {}
    for document in documents():
        for line, block in blocks(document, SHELLS):
            for command in statements(block):
                found.setdefault(command, f"{document}:{line}")
    return found


def manifests():
    """The YAML blocks of the documents, except whole manifests of ours, which tests/docs/manifests.rs checks."""
    for document in documents():
        for line, block in blocks(document, {"yaml"}):
            if "apiVersion: portcullis.dev/" not in block:
                yield f"{document}:{line}", block


def is_core(block):
    """Whether a block is a manifest of a kind that every API server has."""
    return block.startswith("apiVersion: v1\n")


def completed(block):
    """The manifest of which a block shows a part, or None if it shows another kind of file."""
    if block.startswith("spec:\n"):
        spec = textwrap.dedent(block.removeprefix("spec:\n"))
    elif re.match(r" *- name: \w+\n +(reauthenticateAfter|recheckAfter)", block):
        spec = "login:\n" + block
    elif block.startswith("network:\n"):
        spec = block
    else:
        return None
    kind, required = "McpEndpoint", "url: https://mcp.example.com/mcp\n"
    if re.search(r"^grants:", spec, re.MULTILINE):
        kind, required = "OAuthClient", "endpointRef: {name: agents}\nscopes: [workspaces:read]\n"
    if spec.startswith("url:"):
        required = ""
    return f"apiVersion: portcullis.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: agents}}\nspec:\n" + textwrap.indent(required + spec, "  ")


def problems(found, table):
    """What is wrong with the table."""
    listed = [command for group in GROUPS for command in table[group]["commands"]]
    listed += [command for kind in ("tests", "cannot") for commands in table[kind].values() for command in commands]
    listed = [command.strip("\n") for command in listed]
    for command, where in found.items():
        if command not in listed:
            yield f"{where} has a command that is not in tests/docs/commands.toml:\n{command}"
    for command in listed:
        if command not in found:
            yield f"tests/docs/commands.toml has a command that is in no document:\n{command}"
        if listed.count(command) > 1:
            yield f"tests/docs/commands.toml has this command twice:\n{command}"
    others = {block.split("\n")[0]: where for where, block in manifests() if not completed(block) and not is_core(block)}
    for line, where in others.items():
        if line not in table["other-yaml"]:
            yield f"{where} has YAML of a kind that is not in tests/docs/commands.toml: {line}"
    for line in set(table["other-yaml"]) - set(others):
        yield f"tests/docs/commands.toml has YAML that is in no document: {line}"
    for test in table["tests"]:
        file, _, name = test.partition("::")
        path = ROOT / file
        if not path.exists() or f"fn {name}(" not in path.read_text():
            yield f"tests/docs/commands.toml names a test that does not exist: {test}"


PORTCULLIS = """#!/bin/bash
# `dev` ends once it serves; `htpasswd` gets a password.
case $1 in
dev)
  "$PROGRAM" "$@" --listen 127.0.0.1:0 --state-dir "$HOME/state" >"$HOME/dev.log" &
  until grep -q 'Edits of the manifests are live' "$HOME/dev.log"; do
    kill -0 $! || exit 1
    sleep 0.1
  done
  kill $! && wait ;;
htpasswd) echo 'open sesame' | exec "$PROGRAM" "$@" --cost 4 ;;
*) exec "$PROGRAM" "$@" ;;
esac
"""
# `cargo run --release -- …` of a checkout.
CARGO = """#!/bin/bash
[ "$1 $2 $3" = 'run --release --' ] && exec portcullis "${@:4}"
echo "unexpected: cargo $*" >&2; exit 1
"""
KUSTOMIZE = """#!/bin/bash
[ "$1" = build ] && exec kubectl kustomize "$2"
echo "unexpected: kustomize $*" >&2; exit 1
"""
# Secrets of `portcullis dev`, in the place of a cluster's.
SECRETS = """#!/bin/bash
[ "$1 $2 $3 $4" = 'get secret ci-agent-oauth --output' ] || { echo "unexpected: kubectl $*" >&2; exit 1; }
cat "$HOME/state/secrets/ci-agent-oauth/$(sed -E 's/.*"([a-z-]+)".*/\\1/' <<<"$5")"
"""
# The kubelet of the tests keeps what pods print in files. A slow machine gets more than the 30 seconds of `kubectl wait`.
KUBECTL = """#!/bin/bash
case $1 in
logs) cat "$POD_LOGS/${2#deployment/}"*.log ;;
wait) exec "$KUBECTL" "$@" --timeout=5m ;;
*) exec "$KUBECTL" "$@" ;;
esac
"""


def install(folder, name, text):
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def prepare(folder, program):
    """The files that the commands name."""
    for name in ("examples", "deploy", "charts"):
        (folder / name).symlink_to(ROOT / name)
    install(folder, "portcullis", PORTCULLIS)
    install(folder, "cargo", CARGO)
    (folder / "template.yaml").write_text(next(blocks("docs/cookbook.md", {"yaml"}))[1])
    (folder / "agents.yaml").write_text(next(blocks("README.md", {"yaml"}))[1])
    return {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "HOME": str(folder), "PROGRAM": program,
            "TMPDIR": str(folder), "PASSWORD": "open sesame"}


def run(commands, folder, environment, setup=""):
    """Runs commands one after the other in one shell. The one that fails is reported with what it printed."""
    script = ["set -euo pipefail", setup]
    for number, command in enumerate(commands):
        script += [f"echo {number} >&9; exec >{number}.log 2>&1", command]
    (folder / "script").write_text("\n".join(script) + "\n")
    with open(folder / "last", "w") as last:
        os.dup2(last.fileno(), 9)
        done = subprocess.run(["bash", "script"], cwd=folder, env=environment, pass_fds=[9], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=600)
    if done.returncode:
        numbers = (folder / "last").read_text().split()
        log = (folder / f"{numbers[-1]}.log").read_text() if numbers else done.stderr
        failed = commands[int(numbers[-1])] if numbers else setup
        raise SystemExit(f"exit status {done.returncode}:\n{failed}\n\n{log}{done.stderr}")


def run_alone(commands, folder, program):
    run(commands, folder, prepare(folder, program))
    for where, block in manifests():
        manifest = completed(block)
        if manifest:
            done = subprocess.run([program, "validate", "-"], input=manifest, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{where}:\n{manifest}\n{done.stdout}{done.stderr}")


def run_dev(commands, folder, program):
    """With a running `portcullis dev` in the place of https://mcp.example.com."""
    environment = prepare(folder, program)
    install(folder, "kubectl", SECRETS)
    manifest = (ROOT / "examples/quickstart.yaml").read_text()
    url = "  url: https://mcp.example.com/mcp\n"
    (folder / "dev.yaml").write_text(manifest.replace(url, url + "  cors: {allowedOrigins: [https://app.example.com]}\n"))
    state = folder / "state"
    server = [program, "dev", "dev.yaml", "--listen", "127.0.0.1:0", "--state-dir", str(state)]
    dev = subprocess.Popen(server, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = []
        for line in dev.stdout:
            lines.append(line)
            if line.startswith(SERVED):
                break
        origin = next(line.split()[1] for line in lines if line.startswith("  URL ")).removesuffix("/mcp")
        credentials = state / "secrets/ci-agent-oauth"
        shutil.copy(credentials / "client-secret", folder / "secret")
        environment |= {"CLIENT_ID": "ci-agent", "CLIENT_SECRET": (folder / "secret").read_text()}
        # A document says `make test` of the workspace "ci" of a user.
        setup = f"""AUTH=$(portcullis token {origin}/mcp --client-id ci-agent --client-secret-file secret)
            curl -sSf -H "Authorization: Bearer $AUTH" -H 'Content-Type: application/json' \
              -d '{{"template": "blank", "name": "ci"}}' {origin}/mcp/workspaces"""
        run([command.replace("https://mcp.example.com", origin) for command in commands], folder, environment, setup)
    finally:
        dev.terminate()
        dev.wait()


# What stands for the reader's own names.
NAMES = {"NAMESPACE": "team", "ENDPOINT": "agents", "NAME": "agents", "ws-1f0c…": "ws-1f0c", "USER": "user", "TOKEN": "token"}
CLUSTER = """
portcullis htpasswd alice --secret users --endpoint agents > users.yaml
kubectl create namespace team
kubectl create secret generic npm --from-literal=token=t
kubectl apply -f - <<EOF
apiVersion: portcullis.dev/v1alpha1
kind: OAuthClient
metadata: {name: agents}
spec: {endpointRef: {name: agents}, grants: [client_credentials], scopes: [workspaces:read]}
---
apiVersion: portcullis.dev/v1alpha1
kind: Workspace
metadata: {name: agents}
spec: {displayName: web, endpointRef: {name: agents}, templateRef: {name: debian}, owner: {id: "local:ann", name: ann}}
EOF
"""


def run_cluster(commands, folder, program):
    """With the cluster of KUBECONFIG, in which an operator runs. KUBECTL is the program's path."""
    environment = prepare(folder, program)
    install(folder, "kubectl", KUBECTL)
    install(folder, "kustomize", KUSTOMIZE)
    (folder / "kustomization.yaml").write_text("resources: [agents.yaml]\n")
    for number, (_, block) in enumerate(manifests()):
        if is_core(block):
            (folder / f"core-{number}.yaml").write_text(block)
            commands = [f"kubectl apply --dry-run=server -f core-{number}.yaml", *commands]
    pattern = re.compile("|".join(rf"\b{name}(?![\w-])" if name.isalpha() else re.escape(name) for name in NAMES))
    run([pattern.sub(lambda found: NAMES[found[0]], command) for command in commands], folder, environment, CLUSTER)


def self_test():
    """The faults that `check` must find."""
    block = "# a comment\nfirst \\\n  --option  # another\nfor i in 1; do\n  echo $i\ndone\ncat <<END | sort\nb\nEND\nlast\n"
    expected = ["first \\\n  --option", "for i in 1; do\n  echo $i\ndone", "cat <<END | sort\nb\nEND", "last"]
    assert list(statements(block)) == expected, list(statements(block))
    other = {block.split("\n")[0]: "" for _, block in manifests() if not completed(block) and not is_core(block)}
    table = {**{group: {"commands": []} for group in GROUPS}, "tests": {}, "cannot": {}, "other-yaml": other}
    assert not list(problems({}, table))
    table["alone"]["commands"] = ["old", "known", "known"]
    table["tests"] = {"tests/docs/main.rs::no_such_test": []}
    table["other-yaml"] = {**other, "kind: Old": ""}
    found = [problem.split(":")[-1].strip() for problem in problems({"new": "README.md:1", "known": "README.md:2"}, table)]
    assert found == ["new", "old", "known", "known", "kind: Old".split(":")[-1].strip(), "no_such_test"], found


def main():
    table = tomllib.loads(TABLE.read_text())
    if sys.argv[1] == "self-test":
        self_test()
    elif sys.argv[1] == "check":
        found = documented()
        wrong = list(problems(found, table))
        if wrong:
            raise SystemExit("\n\n".join(wrong))
        print(len(found))
    else:
        group, program = sys.argv[2:]
        commands = [command.strip("\n") for command in table[group]["commands"]]
        with tempfile.TemporaryDirectory(prefix="portcullis-commands-") as folder:
            {"alone": run_alone, "dev": run_dev, "cluster": run_cluster}[group](commands, Path(folder), program)


if __name__ == "__main__":
    main()
