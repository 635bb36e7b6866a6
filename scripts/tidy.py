"""Runs clang-tidy over the project's translation units, several at a time, and remembers the clean ones.

usage: tidy.py BUILD_DIR [FILE...]     FILE: only these (headers: the units that include them)

A unit is looked at again only if its text, a project header it includes, .clang-tidy, its compile command or the
version of clang-tidy has changed: BUILD_DIR/tidy-clean holds one empty file per hash of all that.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
_included = {}


def direct_includes(path):
    """The project headers that a file names; quoted includes are relative to the file or to the root."""
    if path not in _included:
        found = set()
        for name in INCLUDE.findall(path.read_bytes()):
            for base in (path.parent, ROOT):
                header = (base / name.decode()).resolve()
                if header.is_file() and header.is_relative_to(ROOT):
                    found.add(header)
                    break
        _included[path] = found
    return _included[path]


def closure(path):
    seen, pending = set(), [path]
    while pending:
        one = pending.pop()
        if one not in seen:
            seen.add(one)
            pending.extend(direct_includes(one))
    return seen


def units(build):
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if path.is_relative_to(ROOT) and not path.is_relative_to(build) and path.suffix == ".cpp" and path.is_file():
            yield path, entry.get("command") or " ".join(entry["arguments"])


def fingerprint(path, command, version):
    digest = hashlib.sha256(version + command.encode() + (ROOT / ".clang-tidy").read_bytes())
    for part in sorted(closure(path)):
        digest.update(str(part).encode() + b"\0" + part.read_bytes())
    return digest.hexdigest()


def run(path, build):
    start = time.monotonic()
    done = subprocess.run(["clang-tidy", "--quiet", "-p", str(build), str(path)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    noise = re.compile(r"^\d+ warnings? (treated|generated)|^Suppressed |^Use -header-filter|^Error while processing")
    text = "\n".join(line for line in done.stdout.splitlines() if not noise.match(line))
    return done.returncode, text, time.monotonic() - start


def main(build, only):
    build = pathlib.Path(build).resolve()
    clean = build / "tidy-clean"
    clean.mkdir(exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    only = {pathlib.Path(name).resolve() for name in only}
    work, known = [], 0
    for path, command in sorted(set(units(build))):
        if only and not only & closure(path):
            continue
        mark = clean / fingerprint(path, command, version)
        if mark.exists():
            known += 1
        else:
            work.append((path, mark))
    print(f"clang-tidy: {known} units known to be clean, {len(work)} to look at", flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("CREMA_JOBS", "2"))) as pool:
        running = {pool.submit(run, path, build): (path, mark) for path, mark in work}
        for number, done in enumerate(concurrent.futures.as_completed(running), 1):
            path, mark = running[done]
            code, text, seconds = done.result()
            print(f"[{number}/{len(work)}] {path.relative_to(ROOT)} {seconds:.1f}s", flush=True)
            if code == 0:
                mark.touch()
            else:
                failed += 1
                print(text, flush=True)
    if failed:
        print(f"clang-tidy: {failed} units with findings", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
