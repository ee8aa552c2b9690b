"""Scripts that see a small file system, which only they see and which can be made larger."""

import os
import subprocess
import sys
from pathlib import Path

from processes import SEES_TESTS, small_mounts

_MOUNTED = 'mount -t tmpfs -o "$3" tmpfs "$2" && exec "$1" "$4" "$2"'

_HEAD = """
import subprocess, sys
from pathlib import Path

DISK = Path(sys.argv[1])

def mount(folder, options):
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)

def resize(folder, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

def main():
"""

# Worker processes import the script again.
_TAIL = '\nif __name__ == "__main__":\n    main()\n'


def on_small_disk(script: str, folder: Path, options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with a tmpfs on a folder, its ``DISK``.

    The script is the body of a function. It has ``mount(folder, options)`` and ``resize(folder,
    size)``. What it leaves on the disk is gone at its end.

    Parameters
    ----------
    script : str
        Python.
    folder : Path
        An empty folder.
    options : str
        Of the mount, such as ``"size=2m"``.
    """
    folder.mkdir(exist_ok=True)
    body = "".join(f"    {line}\n" for line in script.strip("\n").splitlines())
    file = folder.with_name(f"{folder.name}.py")
    file.write_text(_HEAD + body + _TAIL, encoding="utf-8")
    mounted = ["bash", "-c", _MOUNTED, "bash", sys.executable, str(folder), options, str(file)]
    ended = subprocess.run(
        [*small_mounts(), *mounted],
        env=os.environ | SEES_TESTS,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    return ended
