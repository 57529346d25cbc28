"""Writes json/*.json, what Grafana provisions, from boards/*.py. With --check it writes nothing, and says what differs.

Standard library only. The same sources give the same bytes.
"""

import json
import pathlib
import sys

from boards import BOARDS

FOLDER = pathlib.Path(__file__).parent / "json"


def texts():
    """The text of each file, by its name."""
    links = [(board.uid, board.title) for board in BOARDS]
    return {f"{board.uid}.json": text(board.built(links)) for board in BOARDS}


def text(dashboard):
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def differences(folder, expected):
    """What must change in the folder, a line each."""
    found = {path.name for path in folder.glob("*.json")}
    for name in sorted(found - expected.keys()):
        yield f"{name}: no board builds it"
    for name, text in expected.items():
        path = folder / name
        if name not in found:
            yield f"{name}: missing"
        elif path.read_text(encoding="utf-8") != text:
            yield f"{name}: not what boards/ builds"


def main(arguments):
    expected = texts()
    if arguments == ["--check"]:
        found = list(differences(FOLDER, expected))
        print("\n".join(found) or f"{len(expected)} dashboards are what boards/ builds")
        return 1 if found else 0
    if arguments:
        print("usage: build.py [--check]", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name, content in expected.items():
        (FOLDER / name).write_text(content, encoding="utf-8")
        print(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
