"""Small benchmark files, in HumanEval's form."""

import json
from pathlib import Path
from typing import Any

ROWS: list[dict[str, Any]] = [
    {
        "task_id": f"Small/{number}",
        "prompt": f'def {name}(x):\n    """Return x {sign} 2."""\n',
        "canonical_solution": f"    y = x {sign} 2\n    return y\n",
        "test": f"def check(candidate):\n    assert candidate(3) == 3 {sign} 2\n",
        "entry_point": name,
    }
    for number, (name, sign) in enumerate((("plus", "+"), ("minus", "-"), ("times", "*")))
]


def write_problems(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """Write a benchmark file and return its path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
