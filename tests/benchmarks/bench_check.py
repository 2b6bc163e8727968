"""How long `blueprint check` takes beside `import torch`: whole processes, interleaved, medians of paired ratios.

    python tests/benchmarks/bench_check.py [--runs 9] [SPEC]

Without a spec, the largest that ships is checked: the one whose plan has the most text.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
TARGET = 0.25


def largest() -> Path:
    """The shipped spec with the most distinct things to say: the longest text of its plan."""
    import blueprint as bp

    found: dict[Path, int] = {}
    for path in sorted((ROOT / "specs").rglob("*.yaml")):
        if "families" not in path.parts:
            found[path] = len(json.dumps(bp.plan(bp.load(path)).to_plain()))
    return max(found, key=lambda path: found[path])


def seconds(command: list[str]) -> float:
    """The time of a whole process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Measure, print, and fail above the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    spec = options.spec or largest()
    check = [str(Path(sys.executable).with_name("blueprint")), "check", str(spec)]
    torch = [sys.executable, "-c", "import torch"]
    for command in (check, torch):
        seconds(command)
    pairs = [(seconds(check), seconds(torch)) for _ in range(options.runs)]
    ratio = median(a / b for a, b in pairs)
    print(f"spec              {spec}")
    print(f"blueprint check   {median(a for a, _ in pairs):.3f} s")
    print(f"import torch      {median(b for _, b in pairs):.3f} s")
    print(f"ratio             {ratio:.3f}  (median of {options.runs} pairs; at most {TARGET})")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
