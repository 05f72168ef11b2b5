"""Manifests to be judged: those in a repository."""

from dulwich.objects import ObjectID

from ctrlplane_stream.actuators.gitops.clone import Clone
from ctrlplane_stream.actuators.gitops.owned import Document
from ctrlplane_stream.actuators.gitops.yaml_text import FieldTrouble
from ctrlplane_stream.wire.yaml_documents import NotReadable, yaml_documents

_LONGEST = 1_000_000


def documents_in(clone: Clone, head: ObjectID) -> tuple[Document, ...]:
    """Every manifest in the YAML files of a commit; what is no plain YAML (a chart's template, an encrypted file) is passed over."""
    found: list[Document] = []
    for file in clone.files(head):
        if not file.endswith((".yaml", ".yml")):
            continue
        try:
            text = clone.text(head, file)
            documents = yaml_documents(text) if len(text) <= _LONGEST else []
        except (FieldTrouble, NotReadable):
            continue
        found += [Document(file, each) for each in documents if _is_manifest(each)]
    return tuple(found)


def _is_manifest(document: object) -> bool:
    return isinstance(document, dict) and isinstance(document.get("kind"), str) and isinstance(document.get("metadata"), dict)
