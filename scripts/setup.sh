#!/usr/bin/env bash
# Makes ready what a target needs, and only what is absent: scripts/setup.sh PART …
#   python   .venv with the locked packages and this package, anew only where the lock, the package or Python changed
#   broker   Java 17, Maven and the embedded broker's jars (nothing where KAFKA_BOOTSTRAP_SERVERS names a broker)
#   test     what only tests need besides: redis-server, git, openssl
# A Debian package that is missing is installed where we are root, and else named with the command that installs it, before
# anything starts.
set -euo pipefail
cd "$(dirname "$0")/.."

install() { # install PACKAGE: try, where we may
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 0
  echo "installing the Debian package $1"
  local quietly=(apt-get install -qq -y --no-install-recommends "$1")
  "${quietly[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${quietly[@]}"; } >/dev/null 2>&1 || true
}

need() { # need PROGRAM PACKAGE [OTHERWISE]: the program is there afterwards, or we end with the remedy
  command -v "$1" >/dev/null && return
  install "$2"
  command -v "$1" >/dev/null || { echo "$1 is missing: apt-get install $2${3:+, $3}" >&2; exit 1; }
}

can_install() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

find_python() {
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v "$candidate"; return; fi
  done
  echo "Python 3.11 or newer is missing: apt-get install python3 python3-venv, or name one in PYTHON" >&2
  exit 1
}

has_jars() { compgen -G "${XDG_CACHE_HOME:-$HOME/.cache}/ctrlplane-stream/kafka/*/.recipe" >/dev/null; }

wanted_by() { # wanted_by PART: PROGRAM PACKAGE [OTHERWISE], a line each
  local otherwise="or name a broker in KAFKA_BOOTSTRAP_SERVERS"
  case $1 in
    broker)
      [[ -z ${KAFKA_BOOTSTRAP_SERVERS:-} ]] || return 0
      echo "java openjdk-17-jre-headless $otherwise"
      has_jars || echo "mvn maven $otherwise" ;;
    test) printf '%s\n' "redis-server redis-server" "git git" "openssl openssl" ;;
  esac
}

missing_of() { # missing_of PART: a line for each program that the part wants, that is not here and that we cannot install
  local program package otherwise
  while read -r program package otherwise; do
    command -v "$program" >/dev/null || can_install || echo "$program is missing: apt-get install $package${otherwise:+, $otherwise}"
  done < <(wanted_by "$1")
  [[ $1 != broker || -n ${KAFKA_BOOTSTRAP_SERVERS:-} ]] || old_java
}

old_java() { # a line where java is too old for the broker
  local major
  command -v java >/dev/null || return 0
  major=$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
  [[ -z $major || $major -ge 17 ]] || echo "java is version $major: install Java 17 or newer (apt-get install openjdk-17-jre-headless) and put it first in PATH"
}

python() {
  local found wanted
  if [[ -x .venv/bin/python ]]; then found=$PWD/.venv/bin/python; else found=$(find_python); fi
  wanted="$("$found" -V) $(cat requirements.lock pyproject.toml ctrlplane_stream/*/native/*.[ch] | sha256sum)"
  [[ $(cat .venv/.installed 2>/dev/null) == "$wanted" ]] && return
  if [[ ! -x .venv/bin/pip ]]; then
    echo "making .venv with $("$found" -V)"
    "$found" -m ensurepip --version >/dev/null 2>&1 || install python3-venv
    "$found" -m venv --clear .venv
  fi
  echo "installing the locked packages into .venv"
  .venv/bin/pip install --disable-pip-version-check -q --require-hashes -r requirements.lock
  .venv/bin/pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
  echo "$wanted" >.venv/.installed
}

install_all() { # install_all PART: what the part wants
  local program package otherwise
  while read -r program package otherwise; do need "$program" "$package" "$otherwise"; done < <(wanted_by "$1")
}

broker() {
  [[ -z ${KAFKA_BOOTSTRAP_SERVERS:-} ]] || return 0
  install_all broker
  has_jars || echo "fetching Kafka's jars with Maven, once"
  .venv/bin/python -c "from ctrlplane_stream.local.kafka import broker_jars; broker_jars()"
}

test() {
  install_all test
  command -v go >/dev/null || echo "go is missing: what runs on the Collector and on Kubernetes ${REQUIRE_REAL:+fails}${REQUIRE_REAL:-is skipped} unless their binaries are cached; install Go 1.26" >&2
}

# What is missing is said before anything starts, one line each.
[[ " $* " != *" python "* || -x .venv/bin/python ]] || find_python >/dev/null
missing=$(for part in "$@"; do missing_of "$part"; done)
[[ -z $missing ]] || { echo "$missing" >&2; exit 1; }
for part in "$@"; do "$part"; done
