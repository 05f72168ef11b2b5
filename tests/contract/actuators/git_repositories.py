"""Real repositories on disk, made and changed by real git, as another person or a CI job would."""

import os
import subprocess
from pathlib import Path

_QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


def git(folder: Path, *arguments: str) -> str:
    """What git says, in this folder."""
    done = subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **_QUIET}, capture_output=True, text=True)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Bare:
    """A bare repository, and a work tree of somebody else."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.path, self.tree = folder / "origin.git", folder / "somebody"
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "-q", "--bare", "-b", "main", str(self.path))
        git(folder, "clone", "-q", str(self.path), str(self.tree))
        git(self.tree, "config", "user.name", "Alice")
        git(self.tree, "config", "user.email", "alice@example.org")
        git(self.tree, "checkout", "-q", "-B", "main")
        self.push(files, "Begin")

    def push(self, files: dict[str, str], why: str = "By hand", *options: str) -> str:
        """Somebody else commits these files onto what is there and pushes; the commit's id."""
        if git(self.path, "branch", "--list", "main"):
            self.pull()
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        git(self.tree, "add", "-A")
        git(self.tree, "commit", "-q", "--allow-empty", "-m", why)
        git(self.tree, "push", "-q", *options, "origin", "main")
        return self.head()

    def remove(self, file: str) -> str:
        """Somebody else takes a file away; the commit's id."""
        self.pull()
        git(self.tree, "rm", "-q", file)
        git(self.tree, "commit", "-q", "-m", "By hand")
        git(self.tree, "push", "-q", "origin", "main")
        return self.head()

    def pull(self) -> None:
        """Bring the work tree to the branch's head."""
        git(self.tree, "fetch", "-q", "origin", "main")
        git(self.tree, "reset", "-q", "--hard", "origin/main")

    def head(self) -> str:
        """The id of the branch's head."""
        return git(self.path, "rev-parse", "main").strip()

    def text(self, file: str, at: str = "main") -> str:
        """A file's content, to the byte but for what is not UTF-8."""
        return subprocess.run(["git", "show", f"{at}:{file}"], cwd=self.path, capture_output=True, check=True).stdout.decode()

    def log(self, form: str = "%s") -> list[str]:
        """The branch's commits, newest first."""
        return [entry for entry in git(self.path, "log", f"--format={form}%x00", "main").replace("\n", " ").split("\x00 ") if entry.strip()]

    def hook(self, name: str, script: str) -> None:
        """Put a hook into the repository."""
        path = self.path / "hooks" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
