"""What the objects of a version are called: names that DNS takes, that people recognise and that never collide by length."""

import hashlib
import re

from ctrlplane_stream.model.identity import version_number

SLUG_LIMIT = 40
"""Leaves room for ``-v12345-standby`` and for what Kubernetes appends to the names of Pods, within 63 characters."""

CONFIGURATION = "configuration"
"""Ends the name of the ConfigMap that has a version's configuration."""


def slug(text: str, limit: int = SLUG_LIMIT) -> str:
    """``text`` as a DNS-1035 label of at most ``limit`` characters: ``shop/cart`` becomes ``shop-cart``.

    What had to be shortened, or had nothing that DNS takes, carries 8 digits of its SHA-256. Two texts may still come
    to the same slug (``a/b`` and ``a-b``): whoever names objects by it keeps the exact text beside it and compares.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain and not plain[0].isalpha():
        plain = f"x{plain}"
    if plain and len(plain) <= limit:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    kept = plain[: limit - 9].strip("-")
    return f"{kept}-{digest}" if kept else f"x{digest}"


def version_slug(label: str) -> str:
    """``#3`` as ``v3``; a label of somebody else's as its slug, always with digits of its hash."""
    number = version_number(label)
    if number is not None:
        return f"v{number}"
    digest = hashlib.sha256(label.encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:8].strip("-")
    return f"w{plain}-{digest}" if plain else f"w{digest}"


def version_name(service_slug: str, label: str) -> str:
    """The name of a version's Deployment and Service: ``shop-cart-v3``."""
    return f"{service_slug}-{version_slug(label)}"


def standby_name(service_slug: str, label: str) -> str:
    """The name of the Deployment whose Pods prove that the version starts, without taking traffic or work."""
    return f"{version_name(service_slug, label)}-standby"


def memory_name(service_slug: str) -> str:
    """The name of the ConfigMap that is the target's memory: ``ctrlplane-shop-cart``."""
    return f"ctrlplane-{service_slug}"
