"""From settings to Kafka's client: brokers, TLS and SASL, the same for every client that we make."""

import ssl
from typing import Any

from ctrlplane_stream.settings import Protocol, Settings, SettingsError


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context that the settings ask for, None where the protocol has no TLS; raises SettingsError for unreadable files."""
    if settings.kafka_security_protocol not in (Protocol.SSL, Protocol.SASL_SSL):
        return None
    context = _trusting(settings.kafka_ssl_cafile)
    context.check_hostname = settings.kafka_ssl_check_hostname
    if settings.kafka_ssl_certfile:
        try:
            context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile or None, settings.kafka_ssl_password)
        except OSError as error:
            raise SettingsError(f"KAFKA_SSL_CERTFILE, _KEYFILE, _PASSWORD: {_reason(error)}") from None
    return context


def _trusting(authorities: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities or None)
    except OSError as error:
        raise SettingsError(f"KAFKA_SSL_CAFILE={authorities}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return error.strerror or "no certificate in PEM can be read from it"


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of any aiokafka client: consumer, producer or admin."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol.value,
        "ssl_context": ssl_context(settings),
    }
    if settings.kafka_security_protocol in (Protocol.SASL_PLAINTEXT, Protocol.SASL_SSL):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism.value,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": settings.kafka_sasl_password,
        }
    return options
