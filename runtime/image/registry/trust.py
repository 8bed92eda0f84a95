"""Whom a connection trusts: the system's authorities, those of certs.d, or, if the user says so, anybody.

certs.d is Docker's and Podman's: a folder for each HOST[:PORT], in it *.crt (authorities) and *.cert with *.key
(how we prove who we are).
"""

import glob
import os
import ssl

from runtime.image.registry.errors import RegistryError

_FOLDERS = ("~/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")


def make_context(host: str, insecure: bool, cert_dir: str = "") -> ssl.SSLContext:
    """How to shake hands with `host`. Raises RegistryError if a certificate file can't be used."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert_dir and not os.path.isdir(cert_dir):
        raise RegistryError(f"certificates in {cert_dir}: there is no such directory")
    for folder in [cert_dir] if cert_dir else [f"{os.path.expanduser(folder)}/{host}" for folder in _FOLDERS]:
        try:
            _load(context, folder)
        except (OSError, ssl.SSLError) as error:
            raise RegistryError(f"certificates in {folder}: {error.strerror or error}") from None
    return context


def _load(context: ssl.SSLContext, folder: str) -> None:
    for authority in sorted(glob.glob(f"{glob.escape(folder)}/*.crt")):
        context.load_verify_locations(authority)
    for certificate in sorted(glob.glob(f"{glob.escape(folder)}/*.cert")):
        key = certificate.removesuffix(".cert") + ".key"
        if not os.path.exists(key):
            names = os.path.basename(certificate), os.path.basename(key)
            raise RegistryError(f"certificates in {folder}: there is a {names[0]}, but no {names[1]}")
        context.load_cert_chain(certificate, key)
