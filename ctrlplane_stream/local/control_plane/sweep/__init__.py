"""The fault sweep: one rollout, played again and again with a fault between two API calls, watched by somebody independent.

``plans`` says what goes wrong and when, ``faults`` does it at the HTTP layer, ``script`` is the rollout, ``history``
holds every moment against the invariants, ``trial`` plays one plan. Each must end where the undisturbed run ends.
"""
