"""Run a command beside a broker: ``python -m ctrlplane_stream.local.with_kafka COMMAND [ARGUMENT …]``.

The command finds the broker in ``KAFKA_BOOTSTRAP_SERVERS``: the one that was named already, or an embedded one that ends
with the command. The exit status is the command's.
"""

import os
import subprocess
import sys

from ctrlplane_stream.local.kafka import MissingPart, open_broker
from ctrlplane_stream.local.processes import ChildFailed


def main(command: list[str]) -> int:
    """Run the command and return its exit status; 1 where no broker could be had."""
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open_broker() as kafka:
            return subprocess.run(command, env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}, check=False).returncode
    except (MissingPart, ChildFailed) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
