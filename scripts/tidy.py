"""Runs clang-tidy over the project's translation units, several at a time, and remembers the clean ones.

usage: tidy.py BUILD_DIR [FILE...]     FILE: only the units that are or include these

A unit may be one that CMake made of several source files. It is looked at again only if its text, a project header it includes, .clang-tidy, its compile command or the
version of clang-tidy has changed. The memory is one empty file per hash of all that, in the user's cache directory: no
path of the checkout is part of a hash, so what one clone found clean is clean in another.
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


def closure(path):
    """A file and the project headers that it includes, directly or not, with their contents. Quoted includes are
    relative to the file or to the root."""
    texts, pending = {}, [path]
    while pending:
        one = pending.pop()
        if one in texts:
            continue
        texts[one] = one.read_bytes().replace(str(ROOT).encode() + b"/", b"")
        for name in INCLUDE.findall(texts[one]):
            for base in (one.parent, ROOT):
                header = (base / name.decode()).resolve()
                if header.is_file() and header.is_relative_to(ROOT):
                    pending.append(header)
                    break
    return texts


def units(build):
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if path.is_relative_to(ROOT) and path.is_file():
            yield path, entry.get("command") or " ".join(entry["arguments"])


def fingerprint(path, command, version):
    digest = hashlib.sha256(version + command.replace(str(ROOT), ".").encode() + (ROOT / ".clang-tidy").read_bytes())
    for part, text in sorted(closure(path).items()):
        digest.update(str(part.relative_to(ROOT)).encode() + b"\0" + text)
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
    clean = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "crema" / "tidy-clean"
    clean.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], stdout=subprocess.PIPE, check=True).stdout
    only = {pathlib.Path(name).resolve() for name in only}

    def mark(path, command):
        return clean / fingerprint(path, command, version)

    def look(path, command):
        before = mark(path, command)
        result = run(path, build)
        if result[0] == 0 and mark(path, command) == before:  # Else the unit was edited meanwhile.
            before.touch()
        return result

    meant = [unit for unit in sorted(set(units(build))) if not only or only & closure(unit[0]).keys()]
    work = [unit for unit in meant if not mark(*unit).exists()]
    print(f"clang-tidy: {len(meant) - len(work)} units known to be clean, {len(work)} to look at", flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("CREMA_JOBS", "2"))) as pool:
        running = {pool.submit(look, *unit): unit[0] for unit in work}
        for number, done in enumerate(concurrent.futures.as_completed(running), 1):
            code, text, seconds = done.result()
            print(f"[{number}/{len(work)}] {running[done].relative_to(ROOT)} {seconds:.1f}s", flush=True)
            if code != 0:
                failed += 1
                print(text, flush=True)
    if failed:
        print(f"clang-tidy: {failed} units with findings", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
