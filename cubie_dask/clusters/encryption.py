"""Keys of a cluster whose processes talk over a network: made for one cluster, then thrown away."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cubie_dask.errors import ClusterError
from cubie_kernels.errors import InputError

if TYPE_CHECKING:
    from distributed import Security

__all__ = ["TlsFiles", "write_tls_files"]


@dataclass(frozen=True)
class TlsFiles:
    """Files of a certificate authority and of a certificate that it signed, in PEM.

    Attributes
    ----------
    ca, cert, key : Path
        The authority that partners are checked against, the own certificate, and its secret key.
    """

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def in_folder(cls, folder: str | os.PathLike[str]) -> TlsFiles:
        """Return the names that `write_tls_files` gives."""
        folder = Path(folder)
        return cls(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")

    def security(self) -> Security:
        """Return the settings with which Dask lets in nobody without a certificate.

        Raises
        ------
        InputError
            If a file is not there or can't be read.
        """
        from distributed import Security

        for path in (self.ca, self.cert, self.key):
            try:
                path.open("rb").close()
            except OSError as fault:
                raise InputError(
                    f"The TLS file {path} can't be read: {fault.strerror or fault}. cubie-dask tls "
                    "DIR makes ca.pem, cert.pem and key.pem in a folder."
                ) from fault
        pair = {"cert": str(self.cert), "key": str(self.key)}
        roles = {f"tls_{role}_{what}": path for role in _ROLES for what, path in pair.items()}
        return Security(require_encryption=True, tls_ca_file=str(self.ca), **roles)


_ROLES = ("client", "scheduler", "worker")


def _temporary_security() -> Security:
    """Return settings with a new certificate that lives in this process only.

    Raises
    ------
    ClusterError
        Without the package cryptography.
    """
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError as fault:
        raise ClusterError(
            "Encrypting a cluster needs the package cryptography: pip install 'cubie[cluster]'."
        ) from fault


def write_tls_files(folder: str | os.PathLike[str]) -> TlsFiles:
    """Make a certificate and write it into a new folder that only its owner may read.

    Parameters
    ----------
    folder : path
        The folder, mode 0700; its files have mode 0600. On a cluster all nodes must see it.

    Raises
    ------
    InputError
        If there is something at that path already.
    ClusterError
        Without the package cryptography.
    """
    security = _temporary_security()
    folder = Path(folder)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as fault:
        raise InputError(
            f"{folder} is there already: give a new folder, which only its owner can read."
        ) from fault
    except OSError as fault:
        raise InputError(f"{folder} can't be made: {fault.strerror or fault}.") from fault
    files = TlsFiles.in_folder(folder)
    contents = {
        files.ca: security.tls_ca_file,
        files.cert: security.tls_client_cert,
        files.key: security.tls_client_key,
    }
    try:
        # The umask can only have taken rights away.
        folder.chmod(0o700)
        for path, text in contents.items():
            # Never readable to others, not even for a moment.
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(made, "w", encoding="ascii") as file:
                file.write(str(text))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return files
