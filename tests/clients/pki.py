"""Certificates and configuration files for the tests of TLS and authentication."""

import datetime
import ipaddress
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conftest import auric_binary

NOW = datetime.datetime.now(datetime.timezone.utc)
YEAR = datetime.timedelta(days=365)


def new_key(kind: str):
    """A private key: "ec", "rsa" or "ed25519"."""
    match kind:
        case "ec":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """A certificate authority with its files in a folder."""

    def __init__(self, folder: pathlib.Path, common_name: str = "Test CA", kind: str = "ec"):
        self.folder = folder
        self.key = new_key(kind)
        self.certificate = (
            self._builder(common_name, common_name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, None if kind == "ed25519" else hashes.SHA256())
        )
        self.path = folder / f"{common_name.replace(' ', '-').lower()}.crt"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def _builder(subject: str, issuer: str, public_key):
        return (
            x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public_key)
            .serial_number(x509.random_serial_number()).not_valid_before(NOW - YEAR).not_valid_after(NOW + YEAR)
        )

    def issue(self, common_name: str, *, server: bool, file: str | None = None, algorithm=hashes.SHA256()):
        """Paths of a new certificate and its key."""
        key = new_key("ec")
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        builder = self._builder(common_name, issuer, key.public_key())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self.key, algorithm)
        paths = self.folder / f"{file or common_name}.crt", self.folder / f"{file or common_name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return paths

    def revoke(self, *certificates: pathlib.Path) -> pathlib.Path:
        """Path of a revocation list."""
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject).last_update(NOW).next_update(NOW + YEAR)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for path in certificates:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(NOW).build()
            builder = builder.add_revoked_certificate(revoked)
        path = self.path.with_suffix(".crl")
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path


def verifier(password: str, *arguments: str) -> str:
    """What `auric hash-password` prints for a password."""
    result = subprocess.run([auric_binary(), "hash-password", *arguments], input=password + "\n", capture_output=True, text=True, check=True)
    return result.stdout.strip()


def toml(value) -> str:
    return "[" + ", ".join(map(toml, value)) + "]" if isinstance(value, list) else f'"{value}"'


def configuration(path: pathlib.Path, access: list[dict] = (), users: dict[str, str] | None = None, **sections: dict) -> pathlib.Path:
    """Writes a configuration file."""
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {toml(value)}" for key, value in values.items())]
    for entry in access:
        lines += ["[[access]]", *(f"{key} = {toml(value)}" for key, value in entry.items())]
    for user, stored in (users or {}).items():
        lines += [f'[users."{user}"]', f'password = "{stored}"']
    path.write_text("\n".join(lines) + "\n")
    return path
