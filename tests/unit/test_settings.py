"""Settings say what a process was told: environment, then flags, secrets unseen."""

import pytest

from ctrlplane_stream.settings import SETTINGS, Protocol, SaslMechanism, Setting, Settings, SettingsError, load

_SECRETS = [s for s in SETTINGS if s.secret]


def test_nothing_set_gives_the_defaults() -> None:
    """An empty environment, and one with empty variables, is the default."""
    assert load({}) == Settings() == load({s.variable: "" for s in SETTINGS})


def test_a_flag_wins_over_the_environment_and_an_absent_flag_does_not() -> None:
    """Flags that were not given are None and leave the variable in force."""
    environ = {"CTRLPLANE_PARTITIONS": "4", "CTRLPLANE_TOPIC_PREFIX": "a-"}
    settings = load(environ, {"partitions": 16, "topic_prefix": None})
    assert (settings.partitions, settings.topic_prefix) == (16, "a-")


def test_another_process_can_be_told_the_same_settings() -> None:
    """Whatever kind a field is of, its variable says it; what is at its default is not said."""
    assert Settings().variables() == {}
    told = Settings(
        kafka_security_protocol=Protocol.SASL_SSL,
        kafka_sasl_mechanism=SaslMechanism.PLAIN,
        kafka_sasl_password="open-sesame",
        kafka_ssl_check_hostname=False,
        partitions=3,
        lateness_seconds=1.5,
        topic_prefix="a-",
    )
    assert set(told.variables()) == {
        f"KAFKA_{name}" for name in ("SECURITY_PROTOCOL", "SASL_MECHANISM", "SASL_PASSWORD", "SSL_CHECK_HOSTNAME")
    } | {f"CTRLPLANE_{name}" for name in ("PARTITIONS", "LATENESS_SECONDS", "TOPIC_PREFIX")}
    assert load(told.variables()) == told


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CTRLPLANE_PARTITIONS", "many"),
        ("CTRLPLANE_PARTITIONS", "0"),
        ("CTRLPLANE_TOPIC_PREFIX", "a/b"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SSL_CHECK_HOSTNAME", "perhaps"),
        ("CTRLPLANE_BATCH_SECONDS", "-1"),
        ("CTRLPLANE_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    """The person reads the name of the variable that they set."""
    with pytest.raises(SettingsError, match=rf"^{variable}: "):
        load({variable: value})


def test_what_is_refused_is_shown_with_what_can_be_and_a_secret_is_not() -> None:
    """Nobody has to guess which of several places it came from, or look up the choices."""
    with pytest.raises(SettingsError, match=r"'TLS' cannot be\. It is one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"):
        load({"KAFKA_SECURITY_PROTOCOL": "TLS"})
    with pytest.raises(SettingsError) as refused:
        load({}, {"redis_url": 7})
    assert "7" not in str(refused.value)


@pytest.mark.parametrize("secret", _SECRETS, ids=lambda s: s.name)
def test_a_secret_is_in_no_printed_form(secret: Setting) -> None:
    """repr, str, format and ``shown`` print *** for it."""
    name = secret.name
    value = "redis://:open-sesame@cache" if name == "redis_url" else "open-sesame"
    settings = load({}, {name: value})
    assert getattr(settings, name) == value
    assert all(
        "open-sesame" not in text and "***" in text for text in (repr(settings), str(settings), f"{settings}", str(settings.shown()))
    )


@pytest.mark.parametrize("url", ["http://:open-sesame@cache", "127.0.0.1:6379"])
def test_what_is_no_url_of_redis_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="CTRLPLANE_REDIS_URL") as refused:
        load({"CTRLPLANE_REDIS_URL": url})
    assert url not in str(refused.value)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_every_setting_says_what_it_is_and_why_it_is_so(setting: Setting) -> None:
    """Meaning and reason are never empty, and the variable is unmistakable."""
    assert setting.what and setting.why  # noqa: PT018
    assert setting.variable.startswith(("KAFKA_", "CTRLPLANE_"))
