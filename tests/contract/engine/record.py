"""Record SGLang's answers: `python tests/contract/engine/record.py http://127.0.0.1:30000`.

Start SGLang 0.5.23 with the flags of `docs/reference/stub-engine.md`, idle and fresh.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx

HERE = Path(__file__).parent
RECORD = HERE / "recorded" / "sglang-0.5.23.json"


def main() -> None:
    sys.path.insert(0, str(HERE))
    from engine_cases import CASES
    from shapes import ask

    with httpx.Client(base_url=sys.argv[1], timeout=60) as client:
        answers = {case.name: ask(client, case) for case in CASES}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(answers)} answers in {RECORD.name}")


if __name__ == "__main__":
    main()
