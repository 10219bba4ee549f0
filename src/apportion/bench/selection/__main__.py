"""``python -m apportion.bench.selection RUN ... -o FILE``: the data files of method selection from finished runs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ...edges.atomic import atomic
from ...errors import ApportionError
from .collect import collect
from .compare import whole
from .measured import COMPARED, FILE, read


def main(argv: list[str] | None = None) -> int:
    """Write the file (default: the package's own); what is wrong with a run is one line and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m apportion.bench.selection", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of selection, -held-out and -long")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).with_name(FILE))
    given = parser.parse_args(argv)
    try:
        data = collect(given.runs)
        compared = whole(read(data))
        for path, made in ((given.out, dump(data)), (given.out.with_name(COMPARED), _text(compared))):
            with atomic(path) as file:
                file.write(made)
        if lost := data["about"]["missing"]:
            sys.stderr.write(f"{len(lost)} cells failed in these runs and are not in the file, such as {lost[0]}\n")
    except ApportionError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _text(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def dump(data: dict[str, object]) -> bytes:
    """One row a line, so that a change of one number is a change of one line."""
    head = {k: v for k, v in data.items() if k != "rows"}
    rows = data["rows"]
    assert isinstance(rows, list)
    text = json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n'
    return (text + ",\n".join(json.dumps(row, separators=(",", ":"), allow_nan=False) for row in rows) + "\n ]\n}\n").encode()


if __name__ == "__main__":
    raise SystemExit(main())
