/* Halves in memory. Python knows the layouts by pairing.py. */
#ifndef CTRLPLANE_POOL_H
#define CTRLPLANE_POOL_H

#include "wire.h"

typedef struct {
  uint64_t high, low, span, parent;        /* ids as on the wire; parent 0: none */
  int64_t end, duration;                   /* microseconds */
  int64_t offset;                          /* of the record of span-halves that brought it */
  uint32_t origin, peer, weight, flags;    /* numbers of the partition's tables; flags as in half.py */
} Half;

typedef struct { Half *half; int64_t count, room; } Pool;

/* Makes room for so many more; 0, or DECLINED where there is no memory. */
static inline int64_t reserve(Pool *pool, int64_t more) {
  if (pool->count + more <= pool->room) return 0;
  int64_t room = pool->count + more;
  if (room < 2 * pool->room) room = 2 * pool->room;
  Half *grown = realloc(pool->half, (size_t)room * sizeof *grown);
  if (!grown) return DECLINED;
  pool->half = grown;
  pool->room = room;
  return 0;
}

#endif
