# SPDX-License-Identifier: Apache-2.0
"""TLS: the certificate shown, and the authority that clients' certificates are of."""

from __future__ import annotations

import ssl

from tracer.export.watched import FileError, read


def context(cert: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """Made of PEM files; raises FileError.

    With ``client_ca`` a certificate is asked for and verified, but not demanded here: the
    kubelet's probe has none, and /healthz answers it.
    """
    read(cert, "the certificate")  # OpenSSL does not say which file it could not read
    read(key, "the key")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2

    def no_password() -> bytes:  # or OpenSSL would ask for it on the terminal
        raise FileError(f"the key {key} is encrypted: give one that is not")

    try:
        made.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise FileError(f"the key {key} is not that of the certificate {cert}") from None
        raise FileError(f"no PEM certificate and key in {cert} and {key}") from None
    if client_ca is not None:
        read(client_ca, "the clients' authority")
        try:
            made.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise FileError(f"no PEM certificate in {client_ca}") from None
        made.verify_mode = ssl.CERT_OPTIONAL
    return made
