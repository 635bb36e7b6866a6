"""Runs one test, or lists all for CMake.

run.py MODULE.CLASS.TEST...   exit code 0: passed, 1: failed, 77: skipped (the reason is printed)
run.py --list                 "NAME;SERIAL;TIMEOUT" a line, from the classes' SERIAL and TIMEOUT (without running them)
"""

import ast
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def class_constant(node, name, default):
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(getattr(t, "id", None) == name for t in statement.targets):
            return ast.literal_eval(statement.value)
    return default


def list_tests():
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.ClassDef):
                continue
            serial, timeout = class_constant(node, "SERIAL", False), class_constant(node, "TIMEOUT", 120)
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                    print(f"{path.stem}.{node.name}.{item.name};{'TRUE' if serial else 'FALSE'};{timeout}")


def main(names):
    sys.path.insert(0, str(HERE))
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromNames(names))
    for _, why in result.skipped:
        print(f"skipped: {why}")
    if not result.wasSuccessful():
        return 1
    return SKIPPED if result.testsRun == len(result.skipped) else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        list_tests()
    else:
        sys.exit(main(sys.argv[1:]))
