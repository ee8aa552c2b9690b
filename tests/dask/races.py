"""Many who want the same at the same time."""

import threading

__all__ = ["made_by"]


def made_by(storage, name, threads=8):
    """Let threads make one file, each of its own number, and return the numbers of those that did.

    The file must hold the number of the last one.
    """
    together, made = threading.Barrier(threads), []

    def make(number):
        together.wait()
        if storage.create(name, b"%d" % number):
            made.append(number)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(threads)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert storage.read(name) == b"%d" % made[-1]
    return made
