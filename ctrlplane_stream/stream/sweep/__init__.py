"""The crash sweep: the engine role killed at every boundary of its protocol on a real broker, and the log checked afterwards.

A plan (``plans``) says what happens to which worker when; a trial (``trial``) plays it on topics of its own and checks that
nothing was lost, doubled in effect, divergent from the replay, or stuck. ``make sweep`` plays hundreds, ``make test`` a dozen.
"""
