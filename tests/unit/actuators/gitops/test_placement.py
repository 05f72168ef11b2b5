"""The placement file: what it maps to what, and what it is refused for."""

from pathlib import Path

import pytest

from ctrlplane_stream.actuators.gitops.composition import placed_gitops
from ctrlplane_stream.actuators.gitops.placement import GitPlacementError, Weights, Writes, read_git_placements
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.named import UnknownActuator, actuator_named
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.settings import Settings

HEAD = """
repositories: {shop: {url: /srv/shop.git}}
environments: {production: {repository: shop, weights: cluster}, staging: {repository: shop}}
"""


def read(tmp_path: Path, text: str):
    file = tmp_path / "gitops.yaml"
    file.write_text(text)
    return read_git_placements(file)


def test_fields_of_every_kind_are_found_for_each_environment(tmp_path: Path) -> None:
    text = (
        HEAD
        + """
services:
  shop/cart:
    fields:
      - {file: "./{environment}/kustomization.yaml", image: cart}
      - {file: values.yaml, value: image.release, write: label}
    environments:
      staging: {fields: [{file: s.yaml, kind: Deployment, name: cart, field: "spec.template.spec.containers[name=cart].image"}]}
  shop/pay: {environments: {staging: {fields: [{file: values.yaml, value: pay.digest}]}}}
"""
    )
    placements = read(tmp_path, text)
    production, staging = (placements.place(Target(name, "shop/cart")) for name in ("production", "staging"))
    assert production is not None
    assert [(field.file, field.where.path, field.write) for field in production.fields] == [
        ("production/kustomization.yaml", "images[name=cart].digest", Writes.DIGEST),
        ("values.yaml", "image.release", Writes.LABEL),
    ]
    assert staging is not None
    assert [(f.where, f.write) for f in staging.fields] == [
        (Locator("spec.template.spec.containers[name=cart].image", "Deployment", "cart"), Writes.IMAGE)
    ]
    assert (production.weights, staging.weights) == (Weights.CLUSTER, Weights.COMMIT)
    assert placements.place(Target("production", "shop/pay")) is None
    assert [str(target) for target, _ in placements.all()] == ["production:shop/cart", "staging:shop/cart", "staging:shop/pay"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace("/srv/shop.git", "https://me:secret@git.example/shop.git") + "services: {}", "CTRLPLANE_GITOPS_TOKEN"),
        (HEAD.replace("/srv/shop.git", "git://git.example/shop.git") + "services: {}", "cannot be pushed to"),
        (HEAD.replace("/srv/shop.git", "shop.git") + "services: {}", "is no URL"),
        (HEAD.replace("shop.git}", "shop.git, author: nobody}") + "services: {}", "Name <address>"),
        (HEAD + "services: {s: {fields: [{file: a.yaml}]}}", "exactly one of image, value and field"),
        (HEAD + "services: {s: {fields: [{file: a.yaml, field: b}]}}", "needs the kind"),
        (HEAD + "services: {s: {fields: [{file: a.yaml, value: b..c}]}}", "is no path"),
        (HEAD + "services: {s: {fields: [{file: ../a.yaml, value: b}]}}", "inside the repository"),
        (HEAD + "services: {s: {fields: [{file: a.yaml, value: b}]}}", "would write the same field"),
        (HEAD + "services: {s: {environments: {test: {fields: []}}}}", "test is not listed"),
        (HEAD + "services: {s: {field: b}}", "unknown field"),
        ("[]", "gitops.yaml"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words_and_no_secret_is_repeated(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(GitPlacementError, match=words) as refused:
        read(tmp_path, text)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_not_there_is_said_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(GitPlacementError, match="No such file or directory; CTRLPLANE_GITOPS_PLACEMENT must name a file"):
        read_git_placements(tmp_path / "absent.yaml")


def test_the_actuator_is_found_by_name_and_says_what_it_misses(tmp_path: Path) -> None:
    file = tmp_path / "gitops.yaml"
    file.write_text(HEAD + "services: {s: {environments: {staging: {fields: [{file: a.yaml, value: b}]}}}}")
    assert actuator_named("gitops", Settings(gitops_placement=str(file))).name == "gitops"
    with pytest.raises(UnknownActuator, match="set CTRLPLANE_GITOPS_PLACEMENT"):
        actuator_named("gitops", Settings())
    file.write_text(HEAD + 'services: {s: {fields: [{file: "{environment}.yaml", value: b}]}}')
    with pytest.raises(UnknownActuator, match="production:s has weights: cluster, so set CTRLPLANE_KUBERNETES_PLACEMENT"):
        actuator_named("gitops", Settings(gitops_placement=str(file)))
    (tmp_path / "kubernetes.yaml").write_text("environments: {}\nservices: {}\n")
    with pytest.raises(GitPlacementError, match=r"production:s has weights: cluster, but .* does not place it"):
        placed_gitops(Settings(gitops_placement=str(file), kubernetes_placement=str(tmp_path / "kubernetes.yaml")))
