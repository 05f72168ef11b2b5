"""``python -m ctrlplane_stream.local.binaries``: builds what tests run on and Go makes, unless it is cached.

A Collector and a Kubernetes control plane, one after the other, minutes each on a cold cache. Exit status 1 where one cannot be
built, with the reason; whoever needs it then says so again.
"""

import sys

from ctrlplane_stream.local import collector
from ctrlplane_stream.local.control_plane import binary
from ctrlplane_stream.local.kafka import MissingPart
from ctrlplane_stream.local.processes import ChildFailed


def main() -> int:
    """Build both; the exit status."""
    failed = False
    for build in (collector.collector_binary, binary.control_plane_folder):
        try:
            build()
        except (MissingPart, ChildFailed) as error:
            print(error, file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
