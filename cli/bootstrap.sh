#!/usr/bin/env bash
# Makes .venv with everything in requirements/dev.txt, and sglctl itself, installed.
# Quick when nothing changed. What sglctl needs beside Python is `sglctl doctor --install`'s.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/.requirements
say() { printf '%s\n' "$*" >&2; }
fail() { say "Error: $1"; say "  try: $2"; exit 4; }

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
fi
[ -n "$python" ] || fail "no Python 3.11 or newer on PATH" "apt-get install python3 python3-venv"

want=$({ cat requirements/dev.txt pyproject.toml router/sglrouter/inner/*.c; "$python" -VV; pwd; } | sha256sum | cut -d' ' -f1)
if [ -x "$venv/bin/sglctl" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
  exit 0
fi

started=$(date +%s)
say "Setting up Python packages in $venv (once; about a minute) ..."
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >&2
  else
    fail "Python's venv module is missing" "apt-get install python3-venv (as root)"
  fi
}
rm -f "$stamp"
"$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv"
# uv (itself pinned and hashed in the same file) installs the rest ten times faster than pip.
if ! "$venv/bin/uv" --version >/dev/null 2>&1; then
  awk '/^uv==/{p=1} p{print} p&&!/\\$/{exit}' requirements/dev.txt >"$venv/uv.txt"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$venv/uv.txt"
fi
"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes requirements/dev.txt
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
printf '%s' "$want" >"$stamp"
say "Python packages ready in $(($(date +%s) - started)) s."
