"""Writes `docs/settings.md` from `ctrlplane_stream/settings.py`: one description of each setting, for flags and for people.

`--check` writes nothing and fails where the page is not what the code says.
"""

import sys
from pathlib import Path

from in_step import keep_in_step

from ctrlplane_stream.settings import SETTINGS, Setting

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """\
# Settings

Generated from `ctrlplane_stream/settings.py` by `python scripts/settings_doc.py`. How a process runs; what is decided is in the
catalog and its policies instead. A flag (`--topic-prefix` for `CTRLPLANE_TOPIC_PREFIX`) wins over the variable; an empty variable
is one that is not set. Options of single commands that are no settings can be given as variables too, by command and name:
`CTRLPLANE_HOST_PORT` for `host --port`. Secrets have no flag, because process lists show flags, and are printed as `***`.

| variable | what | default | why |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(s) for s in SETTINGS)


def _row(setting: Setting) -> str:
    what = setting.what + (f" ({setting.unit})" if setting.unit else "") + (" **secret**" if setting.secret else "")
    default = (
        "empty" if setting.default == "" else f"`{str(setting.default).lower() if isinstance(setting.default, bool) else setting.default}`"
    )
    return f"| `{setting.variable}` | {what} | {default} | {setting.why} |\n"


if __name__ == "__main__":
    sys.exit(keep_in_step(PAGE, page(), "settings.py", sys.argv[1:]))
