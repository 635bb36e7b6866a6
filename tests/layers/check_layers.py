#!/usr/bin/env python3
"""Arrows point down only (docs/ARCHITECTURE.md): which folder may include what.

  check_layers.py ROOT         prints file:line and the rule for each violation; exit code 1 if there is one
  check_layers.py --self-test  plants each kind of violation in a temporary tree and checks that it is found
"""

import os
import re
import sys
import tempfile

# Folder -> folders whose headers it may include.
MAY_INCLUDE = {
    "protocol": {"protocol"},
    "config": {"config", "protocol"},
    "storage": {"storage", "config", "protocol"},
    "messages": {"messages", "protocol"},
    "actors": {"actors", "messages", "storage", "config", "protocol"},
    # Beside the actors, not above: it asks through messages/client.hpp, and is built and tested without CAF.
    "gateway": {"gateway", "messages", "config", "protocol"},
    "apps": {"apps", "gateway", "actors", "messages", "storage", "config", "protocol"},
}
OTHER_FOLDERS = {"tests", "bench"}  # Nobody includes them.

# Library -> (how its includes begin, the folders that may use it).
LIBRARIES = {
    "CAF": (re.compile(r"caf/"), {"messages", "actors", "apps"}),
    "RocksDB": (re.compile(r"rocksdb/"), {"storage"}),
    "Asio and Beast": (re.compile(r"(boost/)?(asio|beast)([/.]|$)"), {"gateway", "apps"}),
}

# protocol/ is pure: the C++ standard library without these, and xxhash.
IMPURE_HEADERS = {
    "atomic", "barrier", "condition_variable", "filesystem", "fstream", "future", "iostream", "latch", "mutex",
    "random", "semaphore", "shared_mutex", "stop_token", "syncstream", "thread", "ctime", "csignal",
}
IMPURE_CODE = re.compile(
    r"\b(?:system_clock|steady_clock|high_resolution_clock|utc_clock)\b"
    r"|\brandom_device\b|\bs?rand\s*\(|\bthread_local\b|\b(?:clock_gettime|gettimeofday)\s*\("
    r"|(?<![\w.>])(?:std::|::)?time\s*\(\s*(?:nullptr|NULL|0)\s*\)")

SOURCES = (".hpp", ".cpp", ".h", ".hh", ".hxx", ".cc", ".cxx", ".ipp", ".inl")
INCLUDE = re.compile(r'^\s*#\s*(?:include|include_next|import)\s*(?:"([^"]+)"|<([^>]+)>|(\w+))')
COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"'
    r'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def blank(match):
    """Spaces of the same shape, so that line numbers stay."""
    return re.sub(r"[^\n]", " ", match.group(0))


def without_comments(text):
    return COMMENT_OR_STRING.sub(lambda m: blank(m) if m.group(0)[0] in "/R" else m.group(0), text)


class Include:
    def __init__(self, line, name, quoted):
        self.line, self.name, self.quoted = line, name, quoted


class Source:
    def __init__(self, root, path):
        self.path = path  # Relative to the root, with slashes.
        self.folder = path.split("/")[0]
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            text = file.read()
        visible = without_comments(text)
        self.code = COMMENT_OR_STRING.sub(blank, text).split("\n")
        self.includes, self.computed = [], []
        for number, line in enumerate(visible.split("\n"), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            quoted, angled, macro = found.groups()
            if macro:
                self.computed.append(number)
            else:
                self.includes.append(Include(number, quoted or angled, quoted is not None))


def resolve(root, source, include):
    """The path of a project header, relative to the root; None for headers of libraries and the system."""
    candidates = []
    if include.quoted:
        candidates.append(os.path.join(os.path.dirname(source.path), include.name))
    candidates.append(include.name)
    for candidate in candidates:
        path = os.path.normpath(candidate).replace(os.sep, "/")
        if not path.startswith("..") and os.path.isfile(os.path.join(root, path)):
            return path
    path = os.path.normpath(include.name).replace(os.sep, "/")
    first = path.split("/")[0]
    # Not there (yet), but clearly ours.
    return path if "/" in path and first in set(MAY_INCLUDE) | OTHER_FOLDERS else None


def find_sources(root):
    for folder in MAY_INCLUDE:
        for directory, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(SOURCES):
                    path = os.path.relpath(os.path.join(directory, name), root).replace(os.sep, "/")
                    yield Source(root, path)


def check_source(root, source):
    """Yields (line, rule) for what one file includes itself."""
    allowed = MAY_INCLUDE[source.folder]
    for number in source.computed:
        yield number, "an include must name its header: a macro hides it from this check"
    for include in source.includes:
        target = resolve(root, source, include)
        if target is not None:
            folder = target.split("/")[0]
            if folder not in allowed:
                yield include.line, (f"{source.folder}/ may not include {folder}/ ({target}); it may include "
                                     + ", ".join(name + "/" for name in MAY_INCLUDE if name in allowed))
            continue
        for library, (pattern, folders) in LIBRARIES.items():
            if pattern.match(include.name) and source.folder not in folders:
                yield include.line, (f"{library} ({include.name}) may be used only in "
                                     + ", ".join(name + "/" for name in MAY_INCLUDE if name in folders))
        if source.folder == "protocol":
            name = include.name
            if name in IMPURE_HEADERS or (name != "xxhash.h" and re.search(r"[/.]", name)):
                yield include.line, (f"protocol/ is pure: <{name}> brings IO, threads, clocks, randomness or a library; "
                                     "allowed are xxhash and the rest of the standard library")
    if source.folder == "protocol":
        for number, line in enumerate(source.code, 1):
            found = IMPURE_CODE.search(line)
            if found:
                yield number, (f"protocol/ is pure: {found.group(0).strip()} is a clock, randomness or hidden state; time "
                               "and random numbers come in as arguments")


def check_gateway_is_free_of_caf(root, sources):
    """A header of messages/ may include CAF; then the gateway must not include that header, not even through others."""
    uses_caf = LIBRARIES["CAF"][0]

    def path_to_caf(path, seen):
        source = sources.get(path)
        if source is None or path in seen:
            return None
        seen.add(path)
        for include in source.includes:
            target = resolve(root, source, include)
            if target is None and uses_caf.match(include.name):
                return [path, include.name]
            rest = path_to_caf(target, seen) if target is not None else None
            if rest:
                return [path] + rest
        return None

    for source in sources.values():
        if source.folder != "gateway":
            continue
        for include in source.includes:
            target = resolve(root, source, include)
            if target is None or target.startswith("gateway/"):
                continue  # Reported at the file where the gateway is left.
            way = path_to_caf(target, set())
            if way:
                yield source.path, include.line, "gateway/ is built without CAF, but reaches it: " + " -> ".join(way)


def check_links(root):
    """What the library of a folder is linked against, in its CMakeLists.txt."""
    for folder, allowed in MAY_INCLUDE.items():
        path = f"{folder}/CMakeLists.txt"
        if folder == "apps" or not os.path.isfile(os.path.join(root, path)):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = re.sub(r"#[^\n]*", blank, file.read())
        for command in re.finditer(r"\b(?:crema_library|target_link_libraries)\s*\(([^)]*)\)", text):
            for library in re.finditer(r"\bcrema_(\w+)", command.group(1)):
                if library.group(1) not in allowed:
                    line = text.count("\n", 0, command.start(1) + library.start()) + 1
                    yield path, line, f"{folder}/ may not be linked against {library.group(0)}"


def check(root):
    """All violations, as (path, line, rule), sorted."""
    sources = {source.path: source for source in find_sources(root)}
    found = [(source.path, line, rule) for source in sources.values() for line, rule in check_source(root, source)]
    found += check_gateway_is_free_of_caf(root, sources)
    found += check_links(root)
    return sorted(found), len(sources)


# Files that must pass, and files with one violation each: path, text, line and a part of the rule that must be reported.
CLEAN = [
    ("protocol/ring.hpp", '#include <vector>\n#include <chrono>\n#include <xxhash.h>\n#include "protocol/types.hpp"\n'),
    ("protocol/types.hpp", '#include <cstdint>\n// #include "storage/store.hpp"\n/*\n#include <thread>\n*/\n'
                           '// steady_clock::now() is not used here\nconst char* s = "std::random_device";\n'
                           'int runtime(int); int x = runtime(0); int y = p.time(0);\n'),
    ("protocol/raw.cpp", 'auto s = R"x(\n#include <thread>\n)x";\n'),
    ("config/a.cpp", '#include "a.hpp"\n#include <nlohmann/json.hpp>\n#include <random>\n'),
    ("config/a.hpp", '#include "protocol/ring.hpp"\n'),
    ("storage/a.cpp", '#include <rocksdb/db.h>\n#include "config/a.hpp"\n'),
    ("messages/client.hpp", '#include "protocol/ring.hpp"\n'),
    ("messages/replica.hpp", '#include <caf/all.hpp>\n#include "messages/client.hpp"\n'),
    ("actors/a.cpp", '#include <caf/all.hpp>\n#include "messages/replica.hpp"\n#include "storage/a.hpp"\n'),
    ("gateway/resp/a.cpp", '#include <boost/asio.hpp>\n#include "messages/client.hpp"\n#include "../b.hpp"\n'),
    ("gateway/b.hpp", '#include "config/a.hpp"\n'),
    ("storage/CMakeLists.txt", "# crema_actors\ncrema_library(storage crema_protocol\n  crema_config RocksDB::rocksdb)\n"),
    ("apps/a.cpp", '#include <caf/all.hpp>\n#include <boost/asio/ip/tcp.hpp>\n#include "actors/a.hpp"\n'),
]
VIOLATIONS = [
    ("protocol/v.hpp", '#include <vector>\n#include "storage/store.hpp"\n', 2, "protocol/ may not include storage/"),
    ("protocol/v.hpp", '\n\n  #  include   "config/a.hpp"\n', 3, "protocol/ may not include config/"),
    ("protocol/v.hpp", '#include <config/a.hpp>\n', 1, "protocol/ may not include config/"),
    ("protocol/v.hpp", '#include "../config/a.hpp"\n', 1, "protocol/ may not include config/"),
    ("protocol/v.hpp", '/* x */ #include "messages/client.hpp"\n', 1, "protocol/ may not include messages/"),
    ("protocol/v.hpp", "#define A\n#include A\n", 2, "must name its header"),
    ("protocol/v.hpp", "#include <caf/all.hpp>\n", 1, "CAF"),
    ("protocol/v.hpp", '#include "caf/all.hpp"\n', 1, "CAF"),
    ("protocol/v.hpp", "#include <rocksdb/db.h>\n", 1, "RocksDB"),
    ("protocol/v.hpp", "#include <boost/asio.hpp>\n", 1, "Asio"),
    ("protocol/v.hpp", "#include <boost/optional.hpp>\n", 1, "pure"),
    ("protocol/v.hpp", "#include <sys/socket.h>\n", 1, "pure"),
    ("protocol/v.hpp", "#include <unistd.h>\n", 1, "pure"),
    ("protocol/v.hpp", "#include <thread>\n", 1, "pure"),
    ("protocol/v.hpp", "#include <random>\n", 1, "pure"),
    ("protocol/v.hpp", "#include <fstream>\n", 1, "pure"),
    ("protocol/v.hpp", "#include <chrono>\nauto t = std::chrono::steady_clock::now();\n", 2, "steady_clock"),
    ("protocol/v.hpp", "using clock = std::chrono::system_clock; auto t = clock::now();\n", 1, "system_clock"),
    ("protocol/v.hpp", "auto t = std::time(nullptr);\n", 1, "time"),
    ("protocol/v.hpp", "int x = rand();\n", 1, "rand"),
    ("protocol/deep/v.hpp", '#include "storage/store.hpp"\n', 1, "protocol/ may not include storage/"),
    ("config/v.cpp", '#include "storage/store.hpp"\n', 1, "config/ may not include storage/"),
    ("config/v.cpp", "#include <boost/beast/http.hpp>\n", 1, "Asio"),
    ("storage/v.cpp", '#include "messages/client.hpp"\n', 1, "storage/ may not include messages/"),
    ("storage/v.cpp", '#include "actors/a.hpp"\n', 1, "storage/ may not include actors/"),
    ("storage/v.cpp", "#include <caf/expected.hpp>\n", 1, "CAF"),
    ("messages/v.hpp", '#include "actors/a.hpp"\n', 1, "messages/ may not include actors/"),
    ("actors/v.cpp", '#include "gateway/b.hpp"\n', 1, "actors/ may not include gateway/"),
    ("actors/v.cpp", '#include "apps/a.hpp"\n', 1, "actors/ may not include apps/"),
    ("actors/v.cpp", "#include <rocksdb/db.h>\n", 1, "RocksDB"),
    ("actors/v.cpp", "#include <asio.hpp>\n", 1, "Asio"),
    ("gateway/v.cpp", '#include "actors/a.hpp"\n', 1, "gateway/ may not include actors/"),
    ("gateway/v.cpp", '#include "storage/a.hpp"\n', 1, "gateway/ may not include storage/"),
    ("gateway/v.cpp", "#include <caf/all.hpp>\n", 1, "CAF"),
    ("gateway/v.cpp", '\n#include "messages/replica.hpp"\n', 2, "messages/replica.hpp -> caf/all.hpp"),
    ("config/CMakeLists.txt", "crema_library(config crema_protocol\n  crema_storage)\n", 2, "linked against crema_storage"),
    ("gateway/CMakeLists.txt", "target_link_libraries(crema_gateway PUBLIC crema_actors)\n", 1, "crema_actors"),
    ("apps/v.cpp", "#include <rocksdb/db.h>\n", 1, "RocksDB"),
    ("apps/v.cpp", '#include "tests/support/x.hpp"\n', 1, "apps/ may not include tests/"),
]


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write(text)


def self_test():
    failures = []
    for case in [None] + VIOLATIONS:
        with tempfile.TemporaryDirectory() as root:
            for path, text in CLEAN:
                write(root, path, text)
            expected = set()
            if case:
                path, text, line, rule = case
                write(root, path, text)
                expected = {(path, line)}
            found, _ = check(root)
            if {(p, n) for p, n, _ in found} != expected or (case and not any(rule in r for _, _, r in found)):
                failures.append(f"{case or 'the clean tree'}: reported {found}")
    for failure in failures:
        print(failure)
    print(f"self-test: {len(VIOLATIONS)} planted violations, {len(failures)} failures")
    return 1 if failures else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 1 or not os.path.isdir(arguments[0]):
        print(__doc__, file=sys.stderr)
        return 2
    found, files = check(arguments[0])
    for path, line, rule in found:
        print(f"{path}:{line}: {rule}")
    if files == 0:
        print(f"{arguments[0]} has none of the folders {', '.join(MAY_INCLUDE)}")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
