"""Certificates that Terraform's data source finds: issued by an authority of the state folder.

https://docs.aws.amazon.com/acm/latest/APIReference/API_ListCertificates.html
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.acm.models import CertBundle

from sglocal.aws.emulator import Emulator

LIFETIME = timedelta(days=365)
CA_FILE = "ca.pem"


class Authority:
    """A certificate authority that lives as long as the emulator."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CA_FILE
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("sglocal")
        self._certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(_pem(self._certificate))

    def issue(self, domain: str) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) for a domain; also valid for localhost and 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(domain), x509.DNSName("localhost"), _loopback()]
        certificate = (
            _builder(_name(domain), self._name, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return _pem(certificate), private


def seed(emulator: Emulator, authority: Authority, domain: str) -> str:
    """An ISSUED certificate for the domain; the ARN of the one there is, if there is one."""
    with emulator.lock:
        acm: Any = emulator.backend("acm")
        for bundle in acm._certificates.values():
            if bundle.common_name == domain and bundle.status == "ISSUED":
                return str(bundle.arn)
        certificate, key = authority.issue(domain)
        settings = emulator.settings
        bundle = CertBundle(
            settings.account,
            certificate,
            key,
            region=settings.region,
            cert_type="AMAZON_ISSUED",
            cert_status="ISSUED",
        )
        acm._certificates[bundle.arn] = bundle
        return str(bundle.arn)


def _loopback() -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, public_key: Any) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
