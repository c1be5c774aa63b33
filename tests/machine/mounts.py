"""Small file systems for one test, in a mount namespace of this process and its children: nothing of them is left
behind.
"""

import contextlib
import ctypes
import functools
import os
import pathlib
import shutil
import subprocess

CLONE_NEWNS = 0x20000


@functools.cache
def why_not():
    """Why nothing can be mounted here; none if it can. From the first call on, mounts are private."""
    if os.geteuid() != 0:
        return "only root can mount file systems"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}"
    try:
        mount("--make-rprivate", "/")
    except OSError as error:
        return str(error)
    return None


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


def tmpfs(test, place, options):
    """In memory, until the test has ended."""
    place.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", str(place))
    test.addCleanup(unmount, place)


def ext4(test, place, megabytes):
    """In a file, of the kind that becomes read-only at an error; `ext4_error` makes one."""
    if not shutil.which("mkfs.ext4") or not os.path.exists("/dev/loop-control"):
        test.skipTest("no mkfs.ext4 or no loop devices here")
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    place.mkdir(exist_ok=True)
    try:
        mount("-o", "loop,errors=remount-ro", str(image), str(place))
    except OSError as error:
        test.skipTest(str(error))
    test.addCleanup(unmount, place)


def ext4_error(test, place):
    """The kernel meets an error of this file system, and makes it read-only under all who use it."""
    device = os.stat(place).st_dev
    name = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    trigger = pathlib.Path(f"/sys/fs/ext4/{name}/trigger_fs_error")
    if not trigger.exists():
        test.skipTest("this kernel cannot simulate an error of ext4")
    with contextlib.suppress(OSError):
        trigger.write_text("1")


def unmount(place):
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
