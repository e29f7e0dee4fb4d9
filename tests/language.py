"""Checks the language rules that a machine can check. The words and phrases come from the glossary in CONTRIBUTING.md.

1. Commit subjects: the imperative mood, a capital letter first, no prefix such as "Docs:", no full stop. Checked are the
   commits of the branch (`origin/main..HEAD`; without `origin/main` the last 20), except merges and commits that are not
   descendants of the one that added this file.
2. Names: no word of "Words to avoid in names" in the names of files, functions, structs, enums, traits, modules,
   constants, statics, types and macros of src, crates, benches and tests. Old occurrences are in language-allowed.txt. An
   occurrence that is missing there fails, and so does an entry without an occurrence: the list only gets shorter.
3. Phrases: no more of "Phrases to avoid" than language-phrases.txt has for the file, in *.rs, README.md, CONTRIBUTING.md
   and docs/*.md, without the parts of documents that are generated. A higher count fails; a lower one is a warning.

    python3 tests/language.py              checks; the exit code is 1 if a check fails
    python3 tests/language.py --record     writes both lists anew and reports what was added and removed
    python3 tests/language.py --self-test  tests the functions of this file with a table of examples
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "tests/language.py"
GLOSSARY = "CONTRIBUTING.md"
ALLOWED = "tests/language-allowed.txt"
PHRASES = "tests/language-phrases.txt"
NAMES_HEADING = "### Words to avoid in names"
PHRASES_HEADING = "### Phrases to avoid"
CODE_FOLDERS = ("src/", "crates/", "benches/", "tests/")
LAST_COMMITS = 20

# Verbs whose base form ends like another form.
BASE_FORMS = set(
    "Alias Bias Bring Canvas Cling Embed Exceed Feed Focus Heed Need Ping Proceed Ring Seed Shed Shred Speed Spring"
    " String Succeed Swing Wed Weed".split()
)
# Words that begin a subject which is not in the imperative.
NOT_VERBS = set(
    "A After All Also An And Any Anybody As At Before Both Bugfix But By Changelog Cleanup Code Documentation Each Every"
    " Everybody Everyone Everything Fewer Final For From Here How I If In Initial It Its Less Minor More My New No Nobody"
    " Not Nothing Now Of Old On One Only Or Our Readme Some Somebody Someone Something That The Their Then There"
    " These They This Those To Two Until Various We What When Where Which While Who Whoever Whom Whose Why Wip With"
    " Without You".split()
)

# Correct English around a phrase that is otherwise avoided.
EXCEPTIONS = {"is no": (r"(?<!there )", r"(?! (?:longer|more|less)\b)")}

DEFINITION = re.compile(
    r"(?:^|[{};\]])[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?(?:(?:default|const|async|unsafe|extern(?:[ \t]+\"[^\"]*\")?)[ \t]+)*"
    r"(?:fn|struct|enum|trait|mod|const|static|type|union|macro_rules!)[ \t]+(?:mut[ \t]+)?(?:r#)?([A-Za-z_]\w*)",
    re.MULTILINE,
)


def subject_problem(subject):
    """What is wrong with the subject of a commit, or None."""
    first = re.match(r"[^\W\d_]*", subject)[0]
    if re.match(r"[^\s:]+(?:\([^)]*\))?!?:(?:\s|$)", subject):
        return "begins with a prefix; write what the commit does"
    if not first or not first[0].isupper():
        return "does not begin with a capital letter"
    if subject.endswith("."):
        return "ends with a period"
    word = first.capitalize()
    if word in NOT_VERBS:
        return f'begins with "{first}", which is not a verb'
    if word in BASE_FORMS or word.endswith("ss"):
        return None
    if word.endswith(("ed", "ing", "s")):
        return f'begins with "{first}", which is not in the imperative'
    return None


def words(name):
    """The words of an identifier or of a file's name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)]


def definitions(source):
    """The names that Rust source defines."""
    return {name for name in DEFINITION.findall(source) if name not in ("_", "fn", "unsafe", "async", "extern")}


def names(path):
    """The names of a file and of the folders above it, each with its own path."""
    parts = path.split("/")
    return [("/".join(parts[: end + 1]), parts[end].split(".")[0]) for end in range(len(parts)) if parts[end].split(".")[0]]


def prose(text):
    """Text without comment markers and line breaks, so that a phrase is found where a line ends in it."""
    without_markers = re.sub(r"^[ \t]*(?://[/!]?|[>*#-])|\\$", " ", text, flags=re.MULTILINE)
    return re.sub(r"\s+", " ", without_markers)


def phrase_pattern(phrase):
    before, after = EXCEPTIONS.get(phrase, ("", ""))
    return re.compile(rf"{before}\b{re.escape(phrase)}\b{after}", re.IGNORECASE)


def table(document, heading):
    """The rows of the table below a heading: the words in backquotes of the first cell, and what to write instead."""
    if heading not in document:
        sys.exit(f'{GLOSSARY} has no section "{heading}"')
    section = re.split(r"^#", document.split(heading + "\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 2:
            found.update((word, cells[1]) for word in re.findall(r"`([^`]+)`", cells[0]))
    if not found:
        sys.exit(f'{GLOSSARY}: the section "{heading}" has no table')
    return found


def without_tables(document):
    """The glossary without the rows that name words and phrases to avoid."""
    return re.sub(r"^\| `.*$", "", document, flags=re.MULTILINE)


def without_generated(document):
    """A document without its generated parts: their texts are checked where they are written."""
    return re.sub(r"<!-- (?:Generated|From) .*?<!-- End of .*?-->", "", document, flags=re.DOTALL)


def compare_names(found, allowed):
    """New occurrences, and entries without an occurrence."""
    return sorted(found - allowed), sorted(allowed - found)


def compare_counts(found, recorded):
    """Keys whose count is higher than recorded, and keys whose count is lower."""
    keys = sorted(found.keys() | recorded.keys())
    higher = [key for key in keys if found.get(key, 0) > recorded.get(key, 0)]
    lower = [key for key in keys if found.get(key, 0) < recorded.get(key, 0)]
    return higher, lower


def git(*arguments):
    """What git prints; None where it fails, such as outside a checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def files():
    """The files of the checkout, new ones too."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is None:
        sys.exit("language: git cannot list the files; run this in a git checkout")
    return sorted({path for path in listed.split("\0") if path and (ROOT / path).is_file()})


def read(path):
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


def found_names(paths, avoid):
    """Each occurrence of a word to avoid as "path:name", with the word."""
    found = {}
    for path in paths:
        if path.startswith(CODE_FOLDERS):
            pairs = names(path)
            if path.endswith(".rs"):
                pairs += [(path, name) for name in definitions(read(path))]
            for where, name in pairs:
                for word in words(name):
                    if word in avoid:
                        found[f"{where}:{name}"] = word
    return found


def found_phrases(paths, avoid):
    """How often each phrase occurs, as "path: phrase"."""
    patterns = {phrase: phrase_pattern(phrase) for phrase in avoid}
    found = {}
    for path in paths:
        if path.endswith(".rs") or path in ("README.md", GLOSSARY) or re.fullmatch(r"docs/[^/]+\.md", path):
            text = prose(without_tables(read(path)) if path == GLOSSARY else without_generated(read(path)))
            for phrase, pattern in patterns.items():
                if count := len(pattern.findall(text)):
                    found[f"{path}: {phrase}"] = count
    return found


def recorded_names():
    return set(read(ALLOWED).splitlines()) if (ROOT / ALLOWED).exists() else set()


def recorded_phrases():
    lines = read(PHRASES).splitlines() if (ROOT / PHRASES).exists() else []
    return {key: int(count) for key, count in (line.rsplit(": ", 1) for line in lines)}


def subjects():
    """The subjects to check with their commits, or None and why there are none."""
    added = git("log", "--diff-filter=A", "--format=%H", "--", SCRIPT)
    if not added:
        return None, "no commit has added this check yet"
    # In a shallow clone, the oldest commit seems to have added every file.
    newer = git("rev-list", "--no-merges", "--ancestry-path", f"{added.split()[-1]}..HEAD") or ""
    branch = git("rev-list", "--no-merges", "origin/main..HEAD")
    # Without origin/main, and on main itself.
    branch = branch or git("rev-list", "--no-merges", f"--max-count={LAST_COMMITS}", "HEAD") or ""
    commits = sorted(set(newer.split()) & set(branch.split()))
    if not commits:
        return None, "no commit of this branch is newer than this check, or the clone is shallow"
    log = git("log", "--no-walk", "--format=%h %s", *commits) or ""
    return [line.split(" ", 1) for line in log.splitlines()], None


def check():
    document = read(GLOSSARY)
    avoid, phrases = table(document, NAMES_HEADING), table(document, PHRASES_HEADING)
    problems, warnings = [], []

    commits, reason = subjects()
    if commits is None:
        print(f"language: commit subjects: nothing to check: {reason}")
    for commit, subject in commits or []:
        if problem := subject_problem(subject):
            problems.append(f'commit {commit} "{subject}": the subject {problem}')

    paths = files()
    found = found_names(paths, avoid)
    new, gone = compare_names(set(found), recorded_names())
    problems += [f'{entry}: avoid "{found[entry]}" in names; instead: {avoid[found[entry]]}' for entry in new]
    problems += [f"{ALLOWED}: {entry} no longer occurs; remove the line" for entry in gone]

    counts, recorded = found_phrases(paths, phrases), recorded_phrases()
    higher, lower = compare_counts(counts, recorded)
    for key in higher:
        instead = phrases[key.rsplit(": ", 1)[1]]
        problems.append(f"{key}: occurs {counts[key]} times, recorded are {recorded.get(key, 0)}; instead: {instead}")
    warnings += [f"{PHRASES}: {key}: lower the number to {counts.get(key, 0)}" for key in lower]

    for warning in warnings:
        print(f"language: warning: {warning}")
    for problem in problems:
        print(f"language: {problem}")
    if problems:
        print(f'language: {len(problems)} problems; see "Language" in {GLOSSARY}')
    return 1 if problems else 0


def record():
    document = read(GLOSSARY)
    paths = files()
    found = set(found_names(paths, table(document, NAMES_HEADING)))
    new, gone = compare_names(found, recorded_names())
    counts = found_phrases(paths, table(document, PHRASES_HEADING))
    higher, lower = compare_counts(counts, recorded_phrases())
    (ROOT / ALLOWED).write_text("".join(f"{entry}\n" for entry in sorted(found)), encoding="utf-8")
    (ROOT / PHRASES).write_text("".join(f"{key}: {counts[key]}\n" for key in sorted(counts)), encoding="utf-8")
    print(f"{ALLOWED}: {len(new)} added, {len(gone)} removed")
    print(f"{PHRASES}: {len(higher)} raised, {len(lower)} lowered")


def self_test():
    good = [
        "Document the workspace architecture",
        "Address two findings of the review",
        "Pass the clock as an argument",
        "Process watch events in batches",
        "Embed the schema",
        "Bring back the old message",
        "Discuss the limits of the check",
        "Re-export the scope names",
        "Support RFC 9728: metadata of protected resources",
        "Read larger files than 1.5 MiB",
        "Refactor the collector",
        'Revert "Cache reviews for ten seconds"',
        "Use `Lookup` for the result of a lookup",
    ]
    bad = [
        "document the workspace architecture",
        "Papers: what the plan of the house was bettered by",
        "docs: explain tunnels",
        "feat(oauth)!: add PKCE",
        "wip: move leaf modules into crates",
        "Add tunnels.",
        "Added tunnels",
        "Adding tunnels",
        "Adds tunnels",
        "The tunnel reconnects",
        "A glossary",
        "What a server tells",
        "Where names go",
        "Whoever asks again gets the answer",
        "Nobody waits",
        "Fixes",
        "2 more tests",
        "",
    ]
    for subject in good:
        assert subject_problem(subject) is None, (subject, subject_problem(subject))
    for subject in bad:
        assert subject_problem(subject), subject

    for name, expected in [
        ("ReconcileState", ["reconcile", "state"]),
        ("HTTPServer", ["http", "server"]),
        ("MAX_PLACES", ["max", "places"]),
        ("escaped_processes", ["escaped", "processes"]),
        ("placeholder", ["placeholder"]),
        ("gateway2world", ["gateway", "world"]),
        ("mcp-edge", ["mcp", "edge"]),
    ]:
        assert words(name) == expected, (name, words(name))

    source = (
        "pub(crate) async fn one() {}\npub const fn two() -> u8 { 2 }\nconst THREE: u8 = 3;\nconst _: () = ();\n"
        "static mut FOUR: u8 = 4;\npub struct Five;\nenum r#Six {}\nunsafe trait Seven {}\nmod eight;\n"
        'extern "C" fn nine() {}\nmacro_rules! ten { () => {} }\nimpl X { fn eleven() {} }\n#[test] fn twelve() {}\n'
        "// a comment about fn none and struct Nothing\nlet none = 1;\n"
    )
    expected = set("one two THREE FOUR Five Six Seven eight nine ten eleven twelve".split())
    assert definitions(source) == expected, definitions(source) ^ expected
    assert names("tests/place/a.b.rs") == [("tests", "tests"), ("tests/place", "place"), ("tests/place/a.b.rs", "a")]
    assert names(".ci/run") == [(".ci/run", "run")]

    for text, phrase, count in [
        ("Nobody knows whom nobody asked", "nobody", 2),
        ("fn nobody_waits()", "nobody", 0),
        ("/// what is\n    /// no text", "is no", 1),
        ("There is no text. It is no longer read.", "is no", 0),
        ("it is not", "is no", 0),
        ('"what is \\\n   no text"', "is no", 1),
        ("- it goes\n  without saying", "goes without saying", 1),
    ]:
        assert len(phrase_pattern(phrase).findall(prose(text))) == count, (text, phrase)

    document = f"{NAMES_HEADING}\ntext\n\n| avoid | use |\n|---|---|\n| `a`, `b` | c |\n\n### Other\n| `d` | e |\n"
    assert table(document, NAMES_HEADING) == {"a": "c", "b": "c"}, table(document, NAMES_HEADING)
    assert "`a`" not in without_tables(document)
    generated = "one\n<!-- Generated from a by: b -->\ntwo\n<!-- End of the generated part -->\nthree\n"
    assert without_generated(generated) == "one\n\nthree\n", without_generated(generated)
    assert compare_names({"a", "b"}, {"b", "c"}) == (["a"], ["c"])
    assert compare_counts({"a": 2, "b": 1, "c": 1}, {"a": 1, "b": 2, "d": 1}) == (["a", "c"], ["b", "d"])


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    if arguments == ["--record"]:
        record()
        return 0
    if arguments:
        print(__doc__)
        return 0 if arguments == ["--help"] else 2
    return check()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
