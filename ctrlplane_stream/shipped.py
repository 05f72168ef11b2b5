"""Files that ship with the program: ``topics/`` and ``schemas/``, found in a checkout and in an installed wheel alike.

In a checkout (also an editable install) they lie beside the package; a wheel carries them inside it.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(folder: str) -> Path:
    """The folder of shipped files of that name; raises FileNotFoundError where the installation is incomplete."""
    for place in (_PACKAGE / folder, _PACKAGE.parent / folder):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"{folder}/ is not part of this installation: install the package again")
