"""One certificate authority of the stack, and a server certificate for each part that clients verify."""

from __future__ import annotations

import base64

import pulumi
import pulumi_kubernetes as k8s

from components.configs.edges import CLICKHOUSE, CONNECT, KEEPER, POSTGRES
from components.kubernetes.manifests import READY, Manifest, named, register
from components.kubernetes.network import Namespaces
from components.names import Names

API = "cert-manager.io/v1"
AUTHORITY = "cdc-ca"
MOUNT = "/etc/cdc/tls"
"""Where servers find ``tls.crt``, ``tls.key`` and ``ca.crt``, clients at least the last."""


class Certificates(pulumi.ComponentResource):
    """Issued and renewed by cert-manager; ``ca`` is the authority's certificate, PEM."""

    ca: pulumi.Output[str]

    def __init__(self, name: str, *, names: Names, namespaces: Namespaces, opts: pulumi.ResourceOptions) -> None:
        super().__init__("cdc:kubernetes:Certificates", name, None, opts)
        after = opts.depends_on
        child = pulumi.ResourceOptions(parent=self, depends_on=after)
        made = [register(each, child) for each in authority(namespaces.pipeline)]
        later = pulumi.ResourceOptions(parent=self, depends_on=made)
        servers = [register(each, later) for each in server_certificates(names, namespaces)]
        # Read once it is issued: an unknown id in the first preview reads nothing.
        issued = pulumi.Output.all(*(each.id for each in servers)).apply(lambda _: f"{namespaces.pipeline}/{AUTHORITY}")
        held = k8s.core.v1.Secret.get(AUTHORITY, issued, opts=pulumi.ResourceOptions(parent=self))
        self.ca = pulumi.Output.unsecret(held.data.apply(lambda data: base64.b64decode(data["ca.crt"]).decode()))
        self.register_outputs({})


def authority(namespace: str) -> list[Manifest]:
    """A self-signed authority that only this namespace can use."""
    return [
        named("Issuer", API, "self-signed", namespace) | {"spec": {"selfSigned": {}}},
        named("Certificate", API, AUTHORITY, namespace, annotations=READY)
        | {
            "spec": {
                "isCA": True,
                "commonName": AUTHORITY,
                "secretName": AUTHORITY,
                "duration": "87600h",
                "renewBefore": "8760h",
                "privateKey": {"algorithm": "ECDSA", "size": 256},
                "issuerRef": {"name": "self-signed", "kind": "Issuer"},
            }
        },
        named("Issuer", API, AUTHORITY, namespace) | {"spec": {"ca": {"secretName": AUTHORITY}}},
    ]


def server_certificates(names: Names, namespaces: Namespaces) -> list[Manifest]:
    """One certificate per part, for the names inside the cluster and the one outside."""
    settings = names.settings.kubernetes
    hosts = {
        POSTGRES: [*_names(namespaces, *(f"{POSTGRES}-{kind}" for kind in ("rw", "r", "ro"))), settings.postgres_host],
        CLICKHOUSE: [*_names(namespaces, f"clickhouse-{CLICKHOUSE}", "*"), settings.clickhouse_host],
        KEEPER: _names(namespaces, "*"),
        CONNECT: [settings.connect_host],
    }
    if names.settings.source == "external":
        del hosts[POSTGRES]
    return [_certificate(part, dns_names, namespaces.pipeline) for part, dns_names in hosts.items()]


def tls_secret(part: str) -> str:
    """Secret that holds a part's certificate and key."""
    return f"{part}-tls"


def _names(namespaces: Namespaces, *services: str) -> list[str]:
    return [
        f"{service}.{namespaces.pipeline}{suffix}"
        for service in services
        for suffix in ("", ".svc", ".svc.cluster.local")
    ]


def _certificate(part: str, dns_names: list[str], namespace: str) -> Manifest:
    return named("Certificate", API, tls_secret(part), namespace, annotations=READY) | {
        "spec": {
            "secretName": tls_secret(part),
            # CloudNativePG reloads a certificate that carries this label.
            "secretTemplate": {"labels": {"cnpg.io/reload": ""}},
            "duration": "2160h",
            "renewBefore": "720h",
            "usages": ["server auth", "client auth"],
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "dnsNames": dns_names,
            "issuerRef": {"name": AUTHORITY, "kind": "Issuer"},
        }
    }
