/* What is read of spans, a row each. Python knows the layout by ``ROW`` of reading.py. */
#ifndef CTRLPLANE_ROWS_H
#define CTRLPLANE_ROWS_H

#include "wire.h"

enum { MARK_LINKS = 1 };

typedef struct {
  uint64_t high, low, span, parent;  /* ids as on the wire; parent 0: none */
  int64_t end, duration;             /* microseconds */
  uint32_t record, at, size;         /* where the span lies: its record, and where in it */
  uint32_t resource;                 /* number of its resource */
  uint32_t state, combination;       /* 1 + number of its trace state and of its attributes, as far as they matter; 0: none */
  uint32_t peer;                     /* 1 + number of its peer; 0: none */
  uint8_t flags, marks;              /* flags as in half.py; marks of what Python has to look at */
  uint16_t to;                       /* destination partition */
} Row;

#endif
