"""Whether a recorded candidate has anything beside it that it could be compared with."""

from collections.abc import Iterator

from ctrlplane_stream.model.windows import ServiceWindow, WindowPart


def alone_in_recording(parts: tuple[WindowPart, ...], version: str) -> str | None:
    """Why a version cannot be compared with another one of its services, with the versions that there are; None where it can."""
    found: dict[str, set[str]] = {}
    for row in service_rows(parts):
        found.setdefault(row.version, set()).add(row.service)
    services = found.get(version)
    if services is None:
        there = "; ".join(f"{label} (of {', '.join(sorted(of))})" for label, of in sorted(found.items()))
        return f"No span is of version {version}. Versions found: {there}."
    if any(services & of for label, of in found.items() if label != version):
        return None
    return (
        f"All of {', '.join(sorted(services))} is of version {version}: there is no other to compare it with. "
        "Record both, or give a recording of each (--stable, --candidate)."
    )


def alone_of_recordings(stable: tuple[WindowPart, ...], candidate: tuple[WindowPart, ...]) -> str | None:
    """Why two recordings cannot be compared, with the services of each; None where they have one in common."""
    old, new = ({row.service for row in service_rows(parts)} for parts in (stable, candidate))
    if old & new:
        return None
    return (
        f"No service is in both recordings: stable has {', '.join(sorted(old)) or 'none'}; "
        f"candidate has {', '.join(sorted(new)) or 'none'}. Give recordings of the same services."
    )


def service_rows(parts: tuple[WindowPart, ...]) -> Iterator[ServiceWindow]:
    """A service's requests by version and window."""
    return (row for part in parts for row in part.services)
