"""The fault sweep: one rollout, played again and again with a fault between two API calls, watched by somebody independent.

| module | what it is |
|---|---|
| ``ways`` | the kinds of places in which it is played: by a route, by shares of Pods, beside a repository, by runs |
| ``script``, ``ending`` | the rollout, and by what its end is compared |
| ``runs`` | what runs of a job begin and end meanwhile |
| ``writes`` | what a request writes, so that a fault can name the one at which it strikes |
| ``plans`` | what goes wrong, and where |
| ``faults`` | does it, at the HTTP layer |
| ``workers``, ``repository`` | one worker's actuator, with its watches and its clone |
| ``moments``, ``history`` | what an observer hears, and all of it |
| ``memories``, ``replay``, ``replay_runs`` | the invariants at every moment, of weights and of runs |
| ``trial``, ``sweeping`` | plays one plan; plays many, and holds each against the undisturbed run |
"""
