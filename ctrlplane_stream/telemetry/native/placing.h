/* Rows as they are published: what each is called, and where it stands. Python knows the layouts by structures.py. */
#ifndef CTRLPLANE_PLACING_H
#define CTRLPLANE_PLACING_H

#include "counts.h"

enum { TEXTS = 5 };

/* The texts that an origin is made of, by number. */
typedef struct { uint32_t environment, service, version; } Who;

/* Texts by number: the place of each among all in their order, ``rank``; and by that place their JSON, from ``start[rank]`` to
 * ``start[rank + 1]``. Origins by number. */
typedef struct {
  const uint32_t *rank;
  const uint8_t *json;
  const int64_t *start;
  const Who *who;
} Texts;

/* An edge to somebody who did not answer: the caller's origin, and texts by number. */
typedef struct { uint32_t origin, callee, kind, version; } OpenEdge;

/* A row: in which window and environment (a text), whose counts, and the ranks of the texts that name it. */
typedef struct {
  int64_t window;
  uint32_t environment, slot, open; /* open: of the counts of what nobody answered */
  uint32_t name[TEXTS];
} Place;

#endif
