/* The traces of the halves that become visible together, and those that were settled before. */
#ifndef CTRLPLANE_TRACES_H
#define CTRLPLANE_TRACES_H

#include "counts.h"
#include "pool.h"

#define NOBODY ((uint64_t)UINT32_MAX) /* no origin's number */

/* Traces by number, in order of appearance; open addressing over 1 + number. */
typedef struct {
  int64_t traces;
  uint64_t *key;        /* of each its id folded into a word; different ones may rarely share one */
  uint8_t *odd;         /* of each whether its shape is unusual, so that the reference has to settle it */
  uint32_t *size;       /* of each how many halves it has */
  uint32_t *trace;      /* of each half its trace */
  uint32_t *table;
  uint64_t mask;
} Traces;

/* A caller that nobody answered: its place in the order of its block, and the number of whom it spoke to. */
typedef struct { uint32_t place, who; } Open;

/* Traces that were settled together. Their halves stay where they were seen, among those of other traces; ``order`` names them trace by
 * trace, in order of arrival within one. */
typedef struct {
  Pool pool;
  uint32_t *order;
  int64_t halves, traces;
  uint64_t *key;
  uint32_t *first;      /* of each trace its first place in the order; one more at the end */
  int64_t opens;
  Open *open;           /* by place, ascending */
} Block;

static inline const Half *half_at(const Block *b, int64_t place) { return &b->pool.half[b->order[place]]; }

/* A word whose every bit depends on every bit of another: SplitMix64's finalizer. Of ids that are counted the last bytes only differ, which are
 * the highest of a word. */
static inline uint64_t spread(uint64_t word) {
  word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9ull;
  word = (word ^ (word >> 27)) * 0x94D049BB133111EBull;
  return word ^ (word >> 31);
}

/* Where a span of the trace that begins at a place stands in a table, or would: open addressing over 1 + half of the trace. */
static inline uint32_t *span_at(const Block *b, uint32_t *table, uint64_t mask, int64_t begin, uint64_t span) {
  uint64_t at = spread(span) & mask;
  while (table[at] && half_at(b, begin + table[at] - 1)->span != span) at = (at + 1) & mask;
  return &table[at];
}

/* What is done when a window closes. */
typedef struct {
  Pool seen, odd;       /* what became visible, and what of it the reference has to settle; both in order of arrival */
  Traces traces;
  Block block;          /* what was settled here */
  int64_t local, received, roots; /* halves that make no edge, by reason */
  int64_t least_offset; /* of what was settled here */
  Counts arrivals;      /* a: origin; b: window; sketch: durations */
  Counts calls;         /* a: callers' origin << 32 | callees'; b: window << 1 | whether a message; sketches: client, server, gap */
  Names pairs;          /* of the calls. a: callers' origin << 32 | callees'; b: callers' peer. And consumers: NOBODY << 32 | origin; peer */
  Names spoken;         /* of the open callers. a: origin; b: peer */
} Closing;

#endif
