#!/usr/bin/env bash
# The tests in two stages, each with its own summary: first what needs no broker (at most five minutes), then what stands on
# real parts. PYTEST_ARGS is handed to both; where it names tests of its own, there is one stage with just those.
# Collector and control plane (and Flux and Argo CD, where REQUIRE_REAL=1 leaves nothing out) are built beside the first stage where all tests
# run; where some are chosen, by whichever of them wants one.
# A stage that collects nothing is no failure, unless none collected anything.
# Two processes share the first, TEST_WORKERS the second, which mostly waits (tests/spreading.py); PYTEST_ARGS="-n0 --pdb" is for looking.
set -uo pipefail
cd "$(dirname "$0")/.."
# Images of Python often forbid bytecode: each process that a test starts would compile every module anew, and each run every test.
unset PYTHONDONTWRITEBYTECODE
read -ra arguments <<<"${PYTEST_ARGS:-}"
first=(tests/unit tests/property tests/scenario tests/simulation)
first_limit_seconds=300
workers=${TEST_WORKERS:-2}
build='python -m ctrlplane_stream.local.binaries && { [[ ${REQUIRE_REAL:-} != 1 ]] || {
  python -m tests.kubernetes.flux.kustomize_controller && python -m tests.kubernetes.argo_cd.application_controller; }; }'
ran=0

stage() { # stage NAME PYTEST_ARGUMENT …
  local name=$1 status; shift
  echo "== $name"
  python -m pytest -q "$@"
  status=$?
  if [[ $status == 0 ]]; then ran=1; elif [[ $status != 5 ]]; then exit "$status"; fi
}

if [[ " ${PYTEST_ARGS:-}" == *" tests"* ]]; then
  stage "the tests named" "${arguments[@]}"
else
  mkdir -p "${first[@]}"
  # Whatever else lies in tests/ is of the second stage, so that no folder is forgotten.
  second=()
  for folder in tests/[a-z]*/; do [[ " ${first[*]} " == *" ${folder%/} "* ]] || second+=("${folder%/}"); done
  # What the second stage runs on is built beside the first: a Collector and a control plane, minutes each, once.
  building=
  if [[ " ${PYTEST_ARGS:-}" != *" -k"* && " ${PYTEST_ARGS:-}" != *" -m"* ]]; then
    binaries=$(mktemp)
    setsid nice -n 19 bash -c "$build" >"$binaries" 2>&1 &
    building=$!
    trap 'kill -- "-$building" 2>/dev/null; rm -f "$binaries"' EXIT
  fi
  began=$SECONDS
  stage "first stage: unit, property, scenario, simulation" -n 2 "${first[@]}" "${arguments[@]}"
  took=$((SECONDS - began))
  ((took <= first_limit_seconds)) || echo "the first stage took ${took} s, more than the ${first_limit_seconds} s that it should"
  if [[ -n $building ]]; then
    if kill -0 "$building" 2>/dev/null; then echo "waiting for what the tests run on, which is built once:"; fi
    tail -n +1 -f --pid="$building" "$binaries" # what is and was built, as it begins and ends; why, where something cannot be
  fi
  stage "second stage: on real parts" -n "$workers" "${second[@]}" "${arguments[@]}"
fi
[[ $ran == 1 ]] || { echo "no test was collected" >&2; exit 5; }
