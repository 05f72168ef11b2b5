"""Settings reach Kafka's client as they were meant."""

import ssl
from pathlib import Path

import pytest

from ctrlplane_stream.settings import Protocol, SaslMechanism, Settings, SettingsError, load
from ctrlplane_stream.wire.kafka_access import client_options, ssl_context


def test_plaintext_needs_neither_tls_nor_a_user() -> None:
    """What is not asked for is not passed."""
    options = client_options(Settings(kafka_bootstrap_servers="a:1", kafka_sasl_username="u"))
    assert options == {"bootstrap_servers": "a:1", "security_protocol": "PLAINTEXT", "ssl_context": None}


@pytest.mark.parametrize("protocol", [Protocol.SSL, Protocol.SASL_SSL])
def test_tls_verifies_the_broker_unless_told_otherwise(protocol: Protocol) -> None:
    """The certificate is always required; only the host's name may be left out."""
    strict = ssl_context(Settings(kafka_security_protocol=protocol))
    lax = ssl_context(Settings(kafka_security_protocol=protocol, kafka_ssl_check_hostname=False))
    assert strict is not None
    assert lax is not None
    assert (strict.check_hostname, lax.check_hostname) == (True, False)
    assert strict.verify_mode == lax.verify_mode == ssl.CERT_REQUIRED


def test_sasl_passes_mechanism_user_and_password() -> None:
    """By the names that the client knows."""
    settings = Settings(
        kafka_security_protocol=Protocol.SASL_PLAINTEXT,
        kafka_sasl_mechanism=SaslMechanism.PLAIN,
        kafka_sasl_username="u",
        kafka_sasl_password="p",
    )
    options = client_options(settings)
    assert [options[f"sasl_{name}"] for name in ("mechanism", "plain_username", "plain_password")] == ["PLAIN", "u", "p"]


@pytest.mark.parametrize(
    ("name", "variable"),
    [("kafka_ssl_cafile", "KAFKA_SSL_CAFILE"), ("kafka_ssl_certfile", "KAFKA_SSL_CERTFILE")],
    ids=["authority", "ours"],
)
@pytest.mark.parametrize("content", [None, "not PEM"], ids=["absent", "no certificate"])
def test_a_certificate_that_cannot_be_read_is_refused_by_its_variable(
    tmp_path: Path, name: str, variable: str, content: str | None
) -> None:
    """Nothing goes on without TLS, and the person reads what they set."""
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=variable):
        ssl_context(load({}, {"kafka_security_protocol": "SSL", name: str(path)}))
