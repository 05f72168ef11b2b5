"""Names that DNS takes, whatever services and versions are called."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ctrlplane_stream.actuators.kubernetes.names import memory_name, slug, standby_name, version_name, version_slug

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def test_plain_names_are_what_people_expect():
    """``shop/cart`` in version ``#3`` is ``shop-cart-v3``."""
    assert version_name(slug("shop/cart"), "#3") == "shop-cart-v3"
    assert standby_name("shop-cart", "#3") == "shop-cart-v3-standby"
    assert memory_name("shop-cart") == "ctrlplane-shop-cart"


@given(st.text(), st.one_of(st.integers(1, 10**6).map("#{}".format), st.text()))
def test_every_name_is_a_dns_label(service, label):
    """Whatever the service and the label, the longest of our names is a DNS-1035 label of at most 63 characters."""
    for name in (version_name(slug(service), label), standby_name(slug(service), label), memory_name(slug(service))):
        assert _DNS_1035.fullmatch(name), name
        assert len(name) <= 63


@given(st.text(min_size=60), st.text(min_size=60))
def test_what_is_shortened_stays_apart(one, other):
    """Long names that differ anywhere have different slugs."""
    assert (slug(one) == slug(other)) == (one == other) or len(re.sub(r"[^a-z0-9]+", "", one.lower())) < 60


@given(st.text(), st.text())
def test_version_slugs_are_as_different_as_labels(one, other):
    """Two labels never share the name of their objects."""
    assert (version_slug(one) == version_slug(other)) == (one == other)
