#!/usr/bin/env python3
"""Writes the SBOM of programs in SPDX 2.3 (JSON): which crates are linked into them, with the checksums of Cargo.lock.

cargo itself says what that is, for the features and the target that the programs were built with (`cargo tree`, without
procedural macros and what only build scripts use). Tools that read Cargo.lock alone also list what tests and other
systems need, and know neither the programs' features nor their checksums. The same programs make the same bytes.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tomllib
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
CARGO = os.environ.get("CARGO", "cargo")
URL = "https://github.com/portcullis-dev/portcullis"


def cargo(*arguments):
    """What cargo prints."""
    return subprocess.run([CARGO, *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def feature_options(features):
    """The options of cargo for a list of features, in which `default` stands for those of the manifest."""
    named = [feature for feature in features.split(",") if feature != "default"]
    defaults = [] if "default" in features.split(",") else ["--no-default-features"]
    return [*defaults, "--features", ",".join(named)]


def linked(package, features, target):
    """Name and version of each crate that is linked into a program."""
    printed = cargo("tree", "--locked", "--package", package, *feature_options(features), "--target", target,
                    "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    return {re.match(r"(\S+) v(\S+)", line).groups() for line in printed.splitlines() if line}


def identifier(kind, *parts):
    """An SPDX identifier, which has letters, digits, dots and hyphens."""
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", "-".join([kind, *parts]))


def crate_package(package, checksums):
    """The SPDX package of a crate, from what `cargo metadata` says of it."""
    name, version = package["name"], package["version"]
    # The slash is how old manifests write OR.
    declared = re.sub(r"\s*/\s*", " OR ", package.get("license") or "NOASSERTION")
    described = {
        "SPDXID": identifier("Crate", name, version), "name": name, "versionInfo": version,
        "primaryPackagePurpose": "LIBRARY", "filesAnalyzed": False, "downloadLocation": "NOASSERTION",
        "licenseConcluded": "NOASSERTION", "licenseDeclared": declared, "copyrightText": "NOASSERTION",
    }
    if package["source"] and package["source"].startswith("registry+"):
        locator = f"pkg:cargo/{name}@{urllib.parse.quote(version)}"
        described["externalRefs"] = [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}]
        described["checksums"] = [{"algorithm": "SHA256", "checksumValue": checksums[name, version]}]
    return described


def program_package(path, package):
    """The SPDX package of a program."""
    return {
        "SPDXID": identifier("Program", path.name), "name": path.name, "versionInfo": package["version"],
        "packageFileName": path.name, "primaryPackagePurpose": "APPLICATION", "filesAnalyzed": False,
        "downloadLocation": f"{URL}/releases", "licenseConcluded": package["license"], "licenseDeclared": package["license"],
        "copyrightText": "NOASSERTION", "supplier": "Organization: Portcullis",
        "checksums": [{"algorithm": "SHA256", "checksumValue": hashlib.sha256(path.read_bytes()).hexdigest()}],
    }


def relationship(of, kind, to):
    """One relationship between two elements."""
    return {"spdxElementId": of, "relationshipType": kind, "relatedSpdxElement": to}


def document(programs, target, epoch):
    """The SBOM of programs: (path, package, features) each."""
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--all-features", "--filter-platform", target))
    by_id = {package["id"]: package for package in metadata["packages"]}
    key = {identity: (package["name"], package["version"]) for identity, package in by_id.items()}
    with open(ROOT / "Cargo.lock", "rb") as lock:
        checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in tomllib.load(lock)["package"]}

    described, relationships, crates = [], [], set()
    for path, package, features in programs:
        own = next(one for one in by_id.values() if one["name"] == package)
        program = program_package(path, own)
        described.append(program)
        relationships.append(relationship("SPDXRef-DOCUMENT", "DESCRIBES", program["SPDXID"]))
        members = linked(package, features, target)
        relationships += [relationship(program["SPDXID"], "STATIC_LINK", identifier("Crate", *crate)) for crate in sorted(members)]
        crates |= members
    packages = sorted((key[identity], package) for identity, package in by_id.items() if key[identity] in crates)
    described += [crate_package(package, checksums) for _, package in packages]
    for node in sorted(metadata["resolve"]["nodes"], key=lambda node: key[node["id"]]):
        needed = {key[dependency["pkg"]] for dependency in node["deps"]
                  if any(kind["kind"] is None for kind in dependency["dep_kinds"])}
        if key[node["id"]] in crates:
            relationships += [relationship(identifier("Crate", *key[node["id"]]), "DEPENDS_ON", identifier("Crate", *crate))
                              for crate in sorted(needed & crates)]

    names = "-".join(path.name for path, _, _ in programs)
    version = described[0]["versionInfo"]
    content = hashlib.sha256(b"".join(path.read_bytes() for path, _, _ in programs)).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{names}-{version}-{target}", "documentNamespace": f"{URL}/sbom/{names}-{version}-{target}-{content}",
        "creationInfo": {
            "created": datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Organization: Portcullis", f"Tool: portcullis-sbom-{version}"],
        },
        "packages": described, "relationships": relationships,
    }


def main():
    """Reads the command line, and writes the SBOM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--target", required=True, help="the target triple that the programs were built for")
    parser.add_argument("--program", nargs=3, action="append", required=True, metavar=("PATH", "PACKAGE", "FEATURES"))
    arguments = parser.parse_args()
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    programs = [(pathlib.Path(path), package, features) for path, package, features in arguments.program]
    sbom = document(programs, arguments.target, int(epoch))
    arguments.output.write_text(json.dumps(sbom, indent=1) + "\n")


if __name__ == "__main__":
    main()
