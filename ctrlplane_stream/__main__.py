"""`python -m ctrlplane_stream` is `ctrlplane-stream`."""

from ctrlplane_stream.cli import main

if __name__ == "__main__":
    main()
