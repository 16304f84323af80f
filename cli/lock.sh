#!/usr/bin/env bash
# Writes requirements/*.txt: pins with hashes, no index addresses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() {
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header "$@"
}
compile pyproject.toml --extra router --extra worker --extra local --extra dev -o requirements/dev.txt
# A worker and a router get only what their agent and their router import.
extra() {
  .venv/bin/python -c '
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print("\n".join(project["optional-dependencies"][sys.argv[1]]))' "$1"
}
for name in worker router; do
  extra "$name" | compile - --constraint requirements/dev.txt -o "requirements/$name.txt"
done
# Other routers, for `make bench-router`: a virtual environment of their own.
compile requirements/bench.in -o requirements/bench.txt
