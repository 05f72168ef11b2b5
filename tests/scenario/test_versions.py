"""What is a version, and where it goes."""

import pytest
from msgspec.structs import replace

from ctrlplane_stream.decision import versioning
from ctrlplane_stream.decision.entities import VersionEntry
from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.commands import Announce
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied, OverrideVerb, Provenance
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.model.policy import Supersede
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, digest, service
from tests.scenario.shop import SHOP, reasons, shop, until, weights


def test_the_same_artifact_twice_is_one_version() -> None:
    loop = shop()
    loop.push("cart", 1)
    assert "already version #1" in loop.driver.reasons[-1].text
    assert loop.driver.target("cart").newest == 1


def _event(number: int, id_: str = "") -> ArtifactPushed:
    return ArtifactPushed(id_ or f"e{number}", Artifact("cart", "registry.example/cart", digest(number)))


def _configured(limit: str) -> CatalogApplied:
    entries = [service(name, configuration={"limit": limit} if name == "cart" else {}) for name in (*SHOP, "island")]
    return CatalogApplied(catalog(*entries), f"h-{limit}", "ada")


def test_an_event_that_comes_again_begins_nothing_whatever_is_configured_by_then() -> None:
    """Neither the one that made a version, nor one that was known already: an old artifact would be a new version, and would serve."""
    loop = shop()
    for event in (_event(2), _event(2, "once-more"), _event(3)):
        loop.give(event)
        loop.run(200)
    loop.give(_configured("5"))
    until(loop, "cart/4", Phase.COMPLETED)
    for event in (_event(2), _event(2, "once-more"), _event(3)):
        loop.give(event)
        assert f"ignored: event {event.event_id} offered" in loop.driver.reasons[-1].text
    loop.run(200)
    assert (loop.driver.target("cart").newest, weights(loop, "cart")) == (4, {"#4": 100})
    loop.give(_event(2, "meant-anew"))
    until(loop, "cart/5", Phase.COMPLETED)


def test_an_event_that_the_catalog_did_not_let_in_is_taken_once_it_does() -> None:
    loop = shop()
    unknown = ArtifactPushed("e1", Artifact("mail", "registry.example/mail", digest(1)))
    loop.give(unknown)
    assert "the catalog has no service mail" in loop.driver.reasons[-1].text
    loop.give(CatalogApplied(catalog(*(service(name) for name in (*SHOP, "island", "mail"))), "h2", "ada"))
    loop.give(unknown)
    until(loop, "mail/1", Phase.COMPLETED)


def test_ids_of_events_are_remembered_as_many_as_the_documents_say_and_by_artifact() -> None:
    loop = shop()
    for id_ in ("first", *(f"more-{n}" for n in range(15)), "first"):
        loop.give(_event(2, id_))
    assert "ignored: event first offered" in loop.driver.reasons[-1].text
    for id_ in ("one-more", "first"):
        loop.give(_event(2, id_))
    assert "is already version #2" in loop.driver.reasons[-1].text
    loop.give(_event(3, "first"))
    assert loop.driver.target("cart").newest == 3


def test_whoever_pushes_a_known_version_again_is_told_what_can_be_typed_then_and_there() -> None:
    """Not to try again what would be refused: what climbs is named, and so it is where somebody tries all the same."""
    loop = shop()
    loop.judge.faulty.add(("cart", "#2"))
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.REVERTED)
    loop.push("cart", 3)
    loop.push("cart", 2)
    again = "`ctrlplane-stream control retry production:cart --version '#2' --why REASON`"
    assert f"{again} tries it again once cart is not moved by production/cart/3 any more" in loop.driver.reasons[-1].text
    assert "control revert" not in loop.driver.reasons[-1].text
    loop.say(OverrideVerb.RETRY, service="cart", version="#2")
    assert "refused: cart is moved by production/cart/3: tried again is only what nothing moves" in loop.driver.reasons[-1].text
    loop.push("cart", 3)
    assert loop.driver.reasons[-1].text.endswith("version #3; production/cart/3 moves cart to it")
    until(loop, "cart/3", Phase.COMPLETED)
    loop.push("cart", 3)
    assert loop.driver.reasons[-1].text.endswith("version #3, which serves")
    loop.push("cart", 1)
    assert "control revert production:cart --version '#1' --why REASON` returns to it" in loop.driver.reasons[-1].text
    loop.push("cart", 2)
    assert loop.driver.reasons[-1].text.endswith(f"version #2; {again} tries it again")
    loop.judge.faulty.clear()
    loop.say(OverrideVerb.RETRY, service="cart", version="#2")
    until(loop, "cart/2", Phase.COMPLETED)


def test_a_completed_bake_announces_the_artifact_onward() -> None:
    loop = Loop.of(catalog(service("cart"), environment="staging", promotes_to=("production",)))
    loop.push("cart", 1)
    loop.run(200)
    assert [(a.environment, a.artifact.service) for a in loop.driver.announcements] == [("production", "cart")]
    assert all(isinstance(a, Announce) for a in loop.driver.announcements)


def test_what_baked_goes_past_an_environment_that_does_not_run_its_service() -> None:
    """mail has no place between staging and production: what baked of it in staging is what production takes next."""
    here = catalog(service("cart"), service("mail"), environment="staging", promotes_to=("qa",), onward={"mail": ("production",)})
    loop = Loop.of(here)
    for name in ("cart", "mail"):
        loop.push(name, 1)
    loop.run(300)
    assert [(a.environment, a.artifact.service) for a in loop.driver.announcements] == [("qa", "cart"), ("production", "mail")]


def test_an_artifact_that_bakes_first_with_a_changed_configuration_is_announced_once() -> None:
    """The configuration supersedes the release of the artifact; what comes of it is the artifact's own bake all the same."""

    def configured(flag: str) -> CatalogApplied:
        entry = service("cart", replace(QUICK, supersede=Supersede.RESTART), configuration={"flag": flag})
        return CatalogApplied(catalog(entry, environment="staging", promotes_to=("production",)), f"h-{flag}", "ada")

    loop = Loop.of(configured("0").catalog)
    for number in (1, 2):
        loop.push("cart", number)
        loop.run(200 if number == 1 else 5)
    for flag in ("1", "2"):
        loop.give(configured(flag))
        loop.run(600)
    assert [r.phase for r in loop.driver.rollouts] == [Phase.COMPLETED, Phase.REVERTED, Phase.COMPLETED, Phase.COMPLETED]
    assert [a.artifact.digest[-1] for a in loop.driver.announcements] == ["1", "2"]


def test_a_release_that_was_overtaken_by_a_newer_version_of_a_member_does_not_take_it_back() -> None:
    loop = shop()
    loop.push("cart", 2, release="r1", release_size=2)
    loop.push("cart", 3)
    until(loop, "cart/3", Phase.COMPLETED)
    loop.push("pay", 2, release="r1", release_size=2)
    until(loop, "pay/2", Phase.COMPLETED)
    assert "release r1 goes on without cart #2: a newer version serves or is on its way" in reasons(loop)
    assert (weights(loop, "cart"), weights(loop, "pay")) == ({"#3": 100}, {"#2": 100})


def test_what_a_release_has_collected_takes_a_changed_configuration_too() -> None:
    loop = shop()
    loop.push("cart", 2, release="r1", release_size=2)
    changed = [service(name, configuration={"flag": "1"} if name == "cart" else {}) for name in SHOP]
    loop.give(CatalogApplied(catalog(*changed), "h2", "ada"))
    until(loop, "cart/3", Phase.COMPLETED)
    loop.push("pay", 2, release="r1", release_size=2)
    until(loop, "cart/4", Phase.COMPLETED)
    version = loop.driver.state.find("version/cart/#4", VersionEntry)
    assert version is not None
    assert (version.artifact.digest[-1], version.configuration, weights(loop, "cart")) == ("2", {"flag": "1"}, {"#4": 100})


def test_a_tag_that_moves_is_a_new_artifact_and_keeps_its_provenance() -> None:
    loop = shop()
    loop.push("cart", 2, provenance=Provenance("abc123", "build 7", "ada", "latest", "resolved"))
    until(loop, "cart/2", Phase.COMPLETED)
    loop.push("cart", 3, provenance=Provenance("def456", "build 8", "ada", "latest", "resolved"))
    assert "cart #3 is registry.example/cart@sha256:" in reasons(loop)
    assert "of def456, resolved digest" in reasons(loop)
    entry = loop.driver.state.find("version/cart/#2", VersionEntry)
    assert entry is not None
    assert (entry.provenance.tag, entry.provenance.commit) == ("latest", "abc123")


def test_only_repositories_that_the_catalog_allows_start_anything() -> None:
    loop = shop()
    foreign = Artifact("cart", "registry.example/somebody-else", digest(9))
    decision = loop.give(ArtifactPushed("e9", foreign))
    assert decision is not None
    assert (decision.disposition, loop.driver.target("cart").newest) == ("ignored", 1)
    assert "takes images from registry.example/cart, not from" in decision.reasons[0].text


def test_versions_are_numbered_in_the_order_of_arrival_whatever_is_repeated_or_late() -> None:
    loop = shop()
    for number in (3, 2, 3, 2, 1, 3):
        loop.push("cart", number)
    assert loop.driver.target("cart").newest == 3
    labels = {n: loop.driver.state.find(f"version/cart/#{n}", VersionEntry) for n in (1, 2, 3)}
    assert [v.artifact.digest[-1] for v in labels.values() if v is not None] == ["1", "3", "2"]


def test_a_configuration_and_an_artifact_that_change_together_are_one_version_each_time() -> None:
    loop = shop()
    entries = [service(name) for name in (*SHOP, "island")]
    changed = [replace(s, configuration={"limit": "5"}) if s.service == "cart" else s for s in entries]
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    loop.give(CatalogApplied(catalog(*changed), "h2", "ada"))
    until(loop, "cart/3", Phase.COMPLETED)
    entry = loop.driver.state.find("version/cart/#3", VersionEntry)
    assert entry is not None
    assert (entry.artifact.digest, entry.configuration) == (digest(2), {"limit": "5"})


def test_what_an_old_version_was_made_from_is_forgotten_but_not_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is kept in memory and written whole in every snapshot: it does not grow by all that was ever pushed."""
    monkeypatch.setattr(versioning, "VERSIONS_KEPT", 3)
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.VERIFYING)
    for number in range(3, 9):
        loop.push("cart", number)
    known = [n for n in range(1, 9) if loop.driver.state.find(f"version/cart/#{n}", VersionEntry) is not None]
    assert known == [1, 2, 6, 7, 8]  # one serves, one climbs, and the newest three
    until(loop, "cart/8", Phase.COMPLETED)
    loop.push("cart", 4)
    assert "is already version #4" in loop.driver.reasons[-1].text
    assert loop.driver.target("cart").newest == 8
    loop.say(OverrideVerb.RETRY, service="cart", version="#4")
    until(loop, "cart/4", Phase.COMPLETED)
    assert loop.world.target("cart").versions["#4"].digest == digest(4)


def test_a_configuration_that_was_forgotten_is_rolled_out_under_the_number_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versioning, "VERSIONS_KEPT", 2)
    loop = shop()
    entries = {n: service("cart", configuration={"limit": str(n)}) for n in range(4)}
    for n in (0, 1, 2, 3, 0):
        loop.give(CatalogApplied(catalog(entries[n], *[service(name) for name in ("front", "pay", "stock", "island")]), f"h{n}", "ada"))
        loop.run(10 if n == 1 else 700)
    assert (loop.driver.target("cart").stable, loop.driver.target("cart").newest) == ("#2", 5)


def test_services_whose_names_differ_only_in_where_the_slash_stands_have_rollouts_of_their_own() -> None:
    """An id has dashes for slashes; the third took the second's, and what was pushed of it was ignored as under way."""
    names = ("a/b-c-d", "a-b/c-d", "a-b-c/d", "a/b/c-d", "a-b-c-d")
    loop = Loop.of(catalog(*(service(name) for name in names)))
    for number in (1, 2):
        for name in names:
            loop.push(name, number)
        loop.run(300)
    assert {name: loop.driver.target(name).stable for name in names} == dict.fromkeys(names, "#2")
    assert len({rollout.id for rollout in loop.driver.rollouts}) == 2 * len(names)


def test_an_artifact_that_baked_before_anybody_took_it_from_here_is_announced_by_its_next_bake() -> None:
    """Whom it was offered to is what counts, not that it baked: each environment that takes it is offered it once."""

    def configured(flag: str, *takers: str) -> CatalogApplied:
        return CatalogApplied(
            catalog(service("cart", configuration={"flag": flag}), environment="staging", promotes_to=takers), flag, "ada"
        )

    loop = Loop.of(configured("0").catalog)
    loop.push("cart", 1)
    loop.run(200)
    for flag, takers in (("1", ("production",)), ("2", ("production",)), ("3", ("production", "qa"))):
        loop.give(configured(flag, *takers))
        loop.run(400)
    assert [(a.id, a.environment) for a in loop.driver.announcements] == [
        ("staging/cart/2/1/cart/production", "production"),
        ("staging/cart/4/1/cart/qa", "qa"),
    ]
    assert "baked with another configuration before, and was offered to production then" in reasons(loop)


def test_an_artifact_that_baked_by_a_build_that_noted_nobody_is_not_announced_anew() -> None:
    def configured(flag: str) -> CatalogApplied:
        entry = service("cart", configuration={"flag": flag})
        return CatalogApplied(catalog(entry, environment="staging", promotes_to=("production",)), flag, "ada")

    loop = Loop.of(configured("0").catalog, strict=False)
    loop.push("cart", 1)
    loop.run(200)
    entry = loop.driver.state.find("version/cart/#1", VersionEntry)
    assert entry is not None
    loop.driver.state = loop.driver.state.with_changes({"version/cart/#1": replace(entry, offered_to=None)})
    loop.give(configured("1"))
    loop.run(400)
    assert (loop.driver.target("cart").stable, len(loop.driver.announcements)) == ("#2", 1)
