"""The catalog as people write it."""

import hashlib
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, manifest_hash, no_such_environment
from ctrlplane_stream.model.facts import CatalogApplied
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.wire.catalog_file import (
    CatalogRecord,
    Problem,
    catalog_hash,
    overwrites_unawares,
    read_catalog_file,
    read_catalog_record,
    read_policy_file,
    write_catalog_file,
)
from ctrlplane_stream.wire.cloudevents import Unreadable

_EXAMPLE = Path(__file__).parents[3] / "examples" / "catalog.yaml"

GOOD = """\
policies:
  quick:
    steps:
      - weight: 25
        min_seconds: 2
      - weight: 100
environments:
  staging: {actuator: process}
  production: {promote_from: staging, policy: quick}
services:
  shop/cart:
    images: [registry.example/shop/cart]
    configuration: {limit: "10"}
    environments:
      staging: {}
      production:
        configuration: {limit: "20"}
"""


def _catalog() -> Catalog:
    found = read_catalog_file(GOOD)
    assert isinstance(found, Catalog), found
    return found


def test_an_environment_sees_its_services_with_everything_resolved() -> None:
    """Policy, actuator and configuration come from the nearest place that names them."""
    view = _catalog().view("production")
    cart = view.service("shop/cart")
    assert cart is not None
    assert [step.weight for step in cart.policy.steps] == [25, 100]
    assert cart.configuration == {"limit": "20"}
    assert (cart.actuator, view.promote_from) == ("dry-run", "staging")
    assert _catalog().view("staging").promotes_to == ("production",)


def test_a_version_is_made_of_configuration_and_not_of_policy() -> None:
    """Two environments with other configuration have other manifests; another policy alone has not."""
    staging, production = (_catalog().view(e).service("shop/cart") for e in ("staging", "production"))
    assert staging is not None
    assert production is not None
    assert manifest_hash(staging) != manifest_hash(production)
    assert manifest_hash(production) == manifest_hash(msgspec.structs.replace(production, policy=staging.policy))


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("min_seconds: 2", "min_seconds: soon", 5, "'soon' is not of type"),
        ("min_seconds: 2", "min_second: 2", 5, "policies.quick.steps.0.min_second is not known here; did you mean min_seconds?"),
        ("  production: {promote", "  staging: {promote", 9, "staging stands here a second time; the first is on line 8"),
        ("policy: quick", "policy: quick, notify: hooks.example", 9, "notify must be a webhook's URL"),
        ("weight: 100", "weight: 90", 3, "must end with weight 100"),
        ("min_seconds: 2", "min_seconds: 99999", 5, "step 25: min_seconds is above max_seconds"),
        ("      - weight: 100", "      - weight: 100\n    bake_seconds: -1", 7, "bake_seconds: -1 is less than the minimum of 0"),
        ("policy: quick", "policy: slow", 9, "no policy 'slow'"),
        ("promote_from: staging", "promote_from: test", 9, "no environment 'test'"),
        ("promote_from: staging", "promote_from: production", 9, "it cannot promote from itself"),
        ("  staging: {", "  staging: {promote_from: production, ", 9, "production from staging from production"),
        (
            "      - weight: 100",
            "      - weight: 100\n    maintenance:\n      - {weekdays: [], from_minute: 0, to_minute: 9}",
            8,
            "at least one weekday",
        ),
        (
            "      - weight: 100",
            "      - weight: 100\n    gate:\n      minimum_windows: 9\n      maximum_windows: 3",
            8,
            "minimum_windows is above maximum_windows (3)",
        ),
        ("      - weight: 100", "      - weight: 100\n    gate: {outside: [{name: gates}]}", 7, "gates is our own judge's name"),
        ("      - weight: 100", "      - weight: 100\n    gate: {outside: [{name: instances}]}", 7, "by which lost readiness is said"),
        ("      - weight: 100", "      - weight: 100\n    gate: {outside: [{name: a}, {name: a}]}", 7, "a judge stands here twice"),
        ("      staging: {}", "      stagin: {}", 15, "no environment 'stagin'"),
        ("      - weight: 100", "      - weight: 100\n    gate: {limits: [{metric: lost_calls, maximum: 1}]}", 7, "lost_calls cannot have"),
        ("      - weight: 100", "      - weight: 100\n    gate: {limits: [{metric: error_ratio, maximum: 5}]}", 7, "is a share"),
        ("      - weight: 100", "      - weight: 100\n    gate: {proof: [calls_per_request]}", 7, "calls_per_request cannot be proven"),
        ("      - weight: 100", "      - weight: 100\n    gate: {proof: [sample_ratio]}", 7, "sample_ratio cannot be proven"),
        ("      - weight: 100", "      - weight: 100\n    gate: {metrics: [sample_ratio]}", 7, "sample_ratio cannot fail a step"),
        ("images: [registry.example/shop/cart]", "images: []", 12, "at least one image"),
        ('{limit: "10"}', '{limit: "10", page-size: "1", Page.Size: "2"}', 13, "Page.Size and page-size are both the environment variable"),
        ('{limit: "20"}', '{LIMIT: "20"}', 17, "LIMIT and limit are both the environment variable CONFIG_LIMIT: rename one"),
        ("policies:", "policies: [", 3, "cannot be read as YAML"),
    ],
)
def test_a_mistake_is_reported_with_its_line(old: str, new: str, line: int, said: str) -> None:
    """The line is the one to edit, the text says what is wrong there."""
    assert old in GOOD
    problems = read_catalog_file(GOOD.replace(old, new))
    assert isinstance(problems, tuple)
    assert any(p.line == line and said in p.text for p in problems), [str(p) for p in problems]


def test_a_catalog_in_the_log_is_read_though_two_keys_make_one_variable() -> None:
    """It was taken by a build that did not look at that, and nothing stops by a newer one."""
    catalog = _catalog()
    service = catalog.services["shop/cart"]
    both = msgspec.structs.replace(service, configuration={"page-size": "1", "page.size": "2"})
    taken = msgspec.structs.replace(catalog, services={"shop/cart": both})
    record = CatalogRecord(taken, catalog_hash(taken), None, "ops")
    assert read_catalog_record(msgspec.json.encode(record)) == record


def test_mistakes_of_every_kind_are_said_in_one_go() -> None:
    """A key that nobody knows, a weight out of range and names of what is not there: the last were hidden behind the first."""
    mistakes = (("weight: 100", "weight: 110"), ("policy: quick", "policy: quik"), ("min_seconds: 2", "min_second: 2"))
    text = GOOD
    for old, new in mistakes:
        text = text.replace(old, new)
    problems = read_catalog_file(text)
    assert isinstance(problems, tuple)
    for said in ("110 is greater than the maximum of 100", "there is no policy 'quik'", "min_second is not known here"):
        assert any(said in problem.text for problem in problems), problems


MISSING = """\
environments:
  staging:
  production: {promote_from: stagin}
services:
  shop/cart: {environments: {staging: {}, test: {policy: quick}}}
  shop/web: {images: []}
"""


def test_names_of_what_is_not_there_are_said_also_where_something_is_missing() -> None:
    """They were hidden until that was there, and an environment that has nothing written under it was said not to be there."""
    problems = read_catalog_file(MISSING)
    assert isinstance(problems, tuple)
    assert [str(problem) for problem in problems] == [
        "line 2: environments.staging: None is not of type 'object'",
        "line 3: environment production: there is no environment 'stagin'",
        "line 5: service shop/cart: there is no environment 'test'",
        "line 5: service shop/cart: there is no policy 'quick'",
        "line 5: services.shop/cart: 'images' is a required property",
        "line 6: service shop/web: name at least one image repository",
        "line 6: services.shop/web: 'environments' is a required property",
    ]


def test_where_no_environment_is_described_each_that_is_named_is_missed() -> None:
    """All in one go, so that one round tells which to write."""
    problems = read_catalog_file("services:\n  shop/cart: {images: [a/b], environments: {staging: {}, production: {}}}\n")
    assert isinstance(problems, tuple)
    assert [str(problem) for problem in problems] == [
        "line 1: 'environments' is a required property",
        "line 2: service shop/cart: there is no environment 'production'",
        "line 2: service shop/cart: there is no environment 'staging'",
    ]


def test_nothing_is_said_of_what_was_found_wrong_already() -> None:
    """An image that is no text is left out, and is not missed besides."""
    problems = read_catalog_file("environments: {production: {}}\nservices: {shop/cart: {images: 7, environments: {production: {}}}}\n")
    assert isinstance(problems, tuple)
    assert ["images" in problem.text for problem in problems] == [True]


def test_a_catalog_that_does_not_say_when_edges_fade_has_the_hash_that_it_always_had() -> None:
    """Records on the topic carry their hash: a field that came later must not make them unreadable."""
    entry = EnvironmentEntry()
    assert entry.days_until_an_edge_fades == 7.0
    assert b"edges_fade_days" not in msgspec.json.encode(Catalog({"production": entry}, {}))
    told = msgspec.structs.replace(entry, edges_fade_days=35.0)
    assert told.days_until_an_edge_fades == 35.0
    assert catalog_hash(Catalog({"production": told}, {})) != catalog_hash(Catalog({"production": entry}, {}))


@pytest.mark.parametrize("text", [GOOD, _EXAMPLE.read_text()])
def test_a_catalog_that_is_written_out_reads_as_the_same(text: str) -> None:
    """Shorter than everything that it says, since what is so by default is left out; its hash stays what it was."""
    catalog = read_catalog_file(text)
    assert isinstance(catalog, Catalog)
    written = write_catalog_file(catalog)
    again = read_catalog_file(written)
    assert isinstance(again, Catalog), again
    assert catalog_hash(again) == catalog_hash(catalog)
    assert len(written) < 3 * len(text)


def test_a_catalog_made_from_another_than_is_in_force_overwrites_unawares() -> None:
    """The first does not, nor what is in force already."""
    catalog = read_catalog_file(GOOD)
    assert isinstance(catalog, Catalog)
    first, second = CatalogRecord(catalog, "a", None, "ada"), CatalogRecord(catalog, "b", "a", "bob")
    assert [overwrites_unawares(first, None), overwrites_unawares(second, first), overwrites_unawares(first, first)] == [False] * 3
    assert overwrites_unawares(CatalogRecord(catalog, "c", "a", "eve"), second)


def test_an_environment_that_is_none_is_answered_with_those_that_there_are() -> None:
    """The same words from whoever is asked."""
    catalog = read_catalog_file(GOOD)
    assert isinstance(catalog, Catalog)
    assert no_such_environment("production", catalog) is None
    assert no_such_environment("prod", catalog) == "there is no environment 'prod'; the catalog has production, staging"
    assert "no catalog is applied yet" in (no_such_environment("prod", None) or "")


def test_a_record_whose_hash_is_not_its_content_is_unreadable() -> None:
    """A catalog edited on its way is not applied."""
    catalog = _catalog()
    record = CatalogRecord(catalog, catalog_hash(catalog), None, "ops")
    assert read_catalog_record(msgspec.json.encode(record)) == record
    edited = msgspec.structs.replace(record, hash="0" * 64)
    assert isinstance(read_catalog_record(msgspec.json.encode(edited)), Unreadable)


def test_the_example_that_users_begin_with_is_valid() -> None:
    """Nobody should have to mend it first."""
    example = Path(__file__).parents[3] / "examples" / "catalog.yaml"
    assert isinstance(read_catalog_file(example.read_text()), Catalog)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- shop/cart\n"])
def test_a_file_without_keys_is_told_what_belongs_into_it(text: str) -> None:
    """One sentence, and not that None is no object."""
    problems = read_catalog_file(text)
    assert isinstance(problems, tuple)
    (problem,) = problems
    assert "a catalog has `environments` and `services`" in problem.text


def test_a_policy_file_is_a_policy_of_a_catalog_by_itself() -> None:
    """As under `policies`, with the same mistakes on their lines."""
    policy = read_policy_file("steps:\n  - weight: 25\n  - weight: 100\nbake_seconds: 30\n")
    assert isinstance(policy, Policy)
    assert (policy.bake_seconds, [step.weight for step in policy.steps]) == (30, [25, 100])
    assert read_policy_file("bake_second: 30\n") == (Problem(1, "bake_second is not known here; did you mean bake_seconds?"),)
    assert read_policy_file("steps: [{weight: 50}]\n") == (Problem(1, "steps must end with weight 100"),)


@pytest.mark.parametrize(
    "wrong",
    [
        "alpha: 0",
        "alpha: .nan",
        "false_pass: -1",
        "error_margin: -0.1",
        "error_margin: 1.0e+300",
        "latency_margin: .inf",
        "latency_slack_ms: -1",
        "baseline_margin_factor: .nan",
        "sample_ratio_tolerance: 0.5",
        "silent_windows: 0",
        "warm_up_windows: -1",
        "warm_up_windows: 60",
        "minimum_windows: -1",
        "limits: [{metric: error_ratio, maximum: -1}]",
    ],
)
def test_a_number_that_no_judge_can_work_with_is_told_at_its_line(wrong: str) -> None:
    """It was taken, and the judge of that environment raised an error at every window."""
    field = wrong.partition(":")[0]
    problems = read_policy_file(f"gate:\n  minimum_samples: 10\n  {wrong}\n")
    assert isinstance(problems, tuple)
    assert [(p.line, field in p.text) for p in problems] == [(3, True)]


def test_the_numbers_at_the_ends_of_their_ranges_are_taken() -> None:
    ends = "alpha: 1, error_margin: 0, lost_margin: 1, latency_margin: 0, soak_windows: 0, silent_windows: 1, sample_ratio_tolerance: 1"
    assert isinstance(read_policy_file(f"gate: {{{ends}}}\n"), Policy)


NONSENSE = """\
policies:
  p:
    steps:
      - weight: 0
      - weight: 100
        min_seconds: -5
        max_seconds: -1
        min_windows: -3
    bake_seconds: -1
    bake_windows: -1
    ready_timeout_seconds: 0
    drain_seconds: -1
    drain_limit_seconds: -2
    retention_seconds: -1
    surge_percent: -1
    exposure_budget_requests: -1
    blind_limit_seconds: -5
    lost_actuator_seconds: 0
    lease_seconds: 0
    hold_deadline_seconds: 0
    hold_after_revert_seconds: .inf
    maintenance:
      - weekdays: [0, 7]
        from_minute: -1
        to_minute: 1500
environments:
  production: {policy: q}
services: {}
"""


def test_every_number_that_a_policy_cannot_have_is_told_once_and_at_its_line() -> None:
    """They were taken, and a budget of -1 or a lease of 0 brought every release back; what else is wrong is said besides."""
    problems = read_catalog_file(NONSENSE)
    assert isinstance(problems, tuple)
    found = {problem.line: problem.text for problem in problems}
    assert [problem.line for problem in problems] == [4, *range(6, 22), *range(23, 26), 27]
    assert found[4] == "policies.p.steps.0.weight: 0 is less than the minimum of 1"
    assert found[16] == "policies.p.exposure_budget_requests: -1 is less than the minimum of 0"
    assert found[19] == "policies.p.lease_seconds: 0 is less than or equal to the minimum of 0"
    assert found[21] == "policies.p.hold_after_revert_seconds: inf is no finite number"
    assert found[27] == "environment production: there is no policy 'q'"


def test_nothing_is_said_of_how_a_number_that_is_wrong_goes_with_another() -> None:
    """What is left out holds its default meanwhile, of which nobody wrote."""
    problems = read_policy_file("steps: [{weight: 100, min_seconds: -5, max_seconds: 30}]\ndrain_seconds: -1\ndrain_limit_seconds: 10\n")
    assert isinstance(problems, tuple)
    assert ["less than the minimum" in problem.text for problem in problems] == [True, True]


def test_the_least_that_a_policy_may_say_is_taken() -> None:
    """No bake, no drain, nothing kept, and an abort at the first request that is harmed."""
    nothing = ("bake_seconds", "bake_windows", "drain_seconds", "drain_limit_seconds", "retention_seconds", "exposure_budget_requests")
    text = "".join(f"{field}: 0\n" for field in nothing) + "steps: [{weight: 100, min_seconds: 0, max_seconds: 0, min_windows: 0}]\n"
    assert isinstance(read_policy_file(text), Policy)


def test_a_catalog_in_the_log_is_read_whatever_range_its_numbers_have() -> None:
    """It was taken once: a build that looks closer must not leave an environment without one."""
    policy = Policy(blind_limit_seconds=-5.0, exposure_budget_requests=-1, lease_seconds=0.0)
    catalog = Catalog({"production": EnvironmentEntry(policy="p")}, {}, {"p": policy})
    record = CatalogRecord(catalog, catalog_hash(catalog), None, "ops")
    assert read_catalog_record(msgspec.json.encode(record)) == record
    fact = CatalogApplied(catalog.view("production"), "1", "ops")
    assert msgspec.json.decode(msgspec.json.encode(fact), type=CatalogApplied) == fact


WITH_TEMPLATE = GOOD.replace('    configuration: {limit: "10"}\n', "    template: cart.yaml\n")
DIGEST = "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f"
"""What ``printf 'a\\n' | sha256sum`` prints is another; this is of the bytes ``old``."""


def _beside(name: str) -> bytes | None:
    return {"cart.yaml": b"old"}.get(name)


def _template(found: Catalog | tuple[Problem, ...]) -> str | None:
    assert isinstance(found, Catalog), found
    return found.services["shop/cart"].template


def test_a_template_is_named_by_the_digest_of_its_file_and_so_is_one_of_an_environment() -> None:
    named = f"cart.yaml@sha256:{hashlib.sha256(b'old').hexdigest()}"
    assert _template(read_catalog_file(WITH_TEMPLATE, _beside)) == named
    there = read_catalog_file(GOOD.replace("      staging: {}", "      staging: {template: cart.yaml}"), _beside)
    assert isinstance(there, Catalog)
    assert [there.view(e).services[0].template for e in ("staging", "production")] == [named, None]


def test_what_is_shown_of_a_catalog_with_a_template_is_taken_again_where_the_file_is_gone() -> None:
    catalog = read_catalog_file(WITH_TEMPLATE, _beside)
    assert isinstance(catalog, Catalog)
    assert read_catalog_file(write_catalog_file(catalog)) == catalog


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("till.yaml", "there is no file 'till.yaml' beside the catalog: put the template there, or name it by its digest"),
        (f"cart.yaml@sha256:{'0' * 64}", f"the file cart.yaml is sha256:{hashlib.sha256(b'old').hexdigest()}, and the catalog names"),
        ("cart.yaml@sha256:0263", "is no NAME@sha256: with 64 hexadecimal digits"),
    ],
)
def test_a_template_that_cannot_be_named_by_its_digest_is_told_with_its_line_and_what_to_do(template: str, said: str) -> None:
    problems = read_catalog_file(WITH_TEMPLATE.replace("cart.yaml", template), _beside)
    assert isinstance(problems, tuple)
    ((line, text),) = ((problem.line, problem.text) for problem in problems)
    assert line == WITH_TEMPLATE.splitlines().index("    template: cart.yaml") + 1
    assert text.startswith("service shop/cart: ")
    assert said in text


def test_a_record_names_templates_by_their_digests_alone() -> None:
    """Whoever else sends one has no file beside it: nobody could say what a version would be made from."""
    catalog = read_catalog_file(WITH_TEMPLATE, _beside)
    assert isinstance(catalog, Catalog)
    record = CatalogRecord(catalog, catalog_hash(catalog), None, "ada")
    assert read_catalog_record(msgspec.json.encode(record)) == record
    cart = msgspec.structs.replace(catalog.services["shop/cart"], template="cart.yaml")
    loose = msgspec.structs.replace(catalog, services={"shop/cart": cart})
    refused = read_catalog_record(msgspec.json.encode(CatalogRecord(loose, catalog_hash(loose), None, "ada")))
    assert isinstance(refused, Unreadable)
    assert "the template 'cart.yaml' is not named by its digest" in refused.reason
