"""Prints what a ctest run came to, from its JUnit file: names of skipped and failed tests, then one line that counts.

A test counts as skipped only if it said so itself (exit code 77, or GoogleTest's GTEST_SKIP); one that could not be
started counts as failed.
"""

import sys
import xml.etree.ElementTree as xml


def outcome(case):
    if case.get("status") == "run" and case.find("failure") is None:
        return "passed"
    skipped = case.find("skipped")
    if skipped is not None and "SKIP_" in skipped.get("message", ""):
        return "skipped"
    if case.get("status") == "disabled":
        return "skipped"
    return "failed"


def reason(case):
    """The line in which a skipped test says why."""
    for line in (case.findtext("system-out") or "").splitlines():
        if "skip" in line.lower():
            return line.strip().removeprefix("skipped: ")
    return ""


def main(path):
    try:
        cases = list(xml.parse(path).getroot().iter("testcase"))
    except (OSError, xml.ParseError) as error:
        print(f"no test results: {error}", file=sys.stderr)
        cases = []
    names = {"passed": [], "failed": [], "skipped": []}
    for case in cases:
        names[outcome(case)].append((case.get("name"), reason(case)))
    for name, why in names["skipped"]:
        print(f"skipped: {name} {why}")
    for name, _ in names["failed"]:
        print(f"failed: {name}")
    print(f"{len(names['passed'])} passed, {len(names['failed'])} failed, {len(names['skipped'])} skipped")
    return 0 if names["passed"] and not names["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
