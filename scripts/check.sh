#!/usr/bin/env bash
# Style, types, layers, and what is written from the code: scripts/check.sh IN_STEP_SCRIPT …
# All of them run, so that one look shows everything; the exit status is 1 where any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()

run() { # run NAME COMMAND …: its output only where it fails
  local name=$1 output; shift
  if output=$("$@" 2>&1); then echo "check: $name ok"; else echo "$output"; echo "check: $name FAILED"; failed+=("$name"); fi
}

run "ruff check" ruff check --quiet .
run "ruff format" ruff format --check --quiet .
run "mypy --strict" mypy --strict
run "layers" lint-imports --no-cache
for script in "$@"; do run "$script" python "scripts/$script.py" --check; done

[[ ${#failed[@]} == 0 ]] || { echo "make check failed: ${failed[*]}" >&2; exit 1; }
