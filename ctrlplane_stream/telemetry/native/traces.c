/* Tells the traces of halves apart, and which were met before. */
#include "traces.h"

enum { AHEAD = 8 };
static const uint64_t FACTOR = 0x9E3779B97F4A7C15ull;

static inline uint64_t key_of(const Half *h) { return h->low ^ (h->high * FACTOR); }

static inline uint64_t place_of(const Traces *t, uint64_t key) { return spread(key) & t->mask; }

/* Numbers the traces of ``c->seen``; 0, or DECLINED where there is no memory or there are too many halves. */
int64_t find_traces(Closing *c) {
  const Pool *seen = &c->seen;
  Traces *t = &c->traces;
  uint64_t slots = 16;
  size_t rows = (size_t)seen->count + 1;
  if (seen->count >= INT32_MAX) return DECLINED;
  while (slots < 2 * (uint64_t)seen->count) slots *= 2;
  t->mask = slots - 1;
  t->table = calloc((size_t)slots, sizeof *t->table);
  t->key = malloc(rows * sizeof *t->key);
  t->odd = calloc(rows, 1);
  t->size = malloc(rows * sizeof *t->size);
  t->trace = malloc(rows * sizeof *t->trace);
  uint32_t *first = malloc(rows * sizeof *first);
  if (!t->table || !t->key || !t->odd || !t->size || !t->trace || !first) { free(first); return DECLINED; }
  for (int64_t i = 0; i < seen->count; i++) {
    const Half *h = &seen->half[i];
    if (i + AHEAD < seen->count) __builtin_prefetch(&t->table[place_of(t, key_of(h + AHEAD))]);
    uint64_t key = key_of(h), place = place_of(t, key);
    uint32_t found;
    for (; (found = t->table[place]) != 0; place = (place + 1) & t->mask)
      if (t->key[found - 1] == key && seen->half[first[found - 1]].high == h->high) break;
    if (!found) {
      t->key[t->traces] = key;
      t->size[t->traces] = 0;
      first[t->traces++] = (uint32_t)i;
      found = t->table[place] = (uint32_t)t->traces;
    }
    t->size[found - 1]++;
    t->trace[i] = found - 1;
  }
  free(first);
  return 0;
}

/* Marks every trace of that key as odd; returns whether there was one. */
static int mark(Traces *t, uint64_t key) {
  int met = 0;
  uint64_t place = place_of(t, key);
  for (uint32_t found; (found = t->table[place]) != 0; place = (place + 1) & t->mask)
    if (t->key[found - 1] == key) { t->odd[found - 1] = 1; met = 1; }
  return met;
}

/* Traces that are held elsewhere are odd. */
void mark_held(Closing *c, const uint64_t *keys, int64_t many) {
  for (int64_t i = 0; i < many; i++) mark(&c->traces, keys[i]);
}

/* Moves the traces of a block of which something has come since into ``into``, and marks them odd; returns how many halves moved, or
 * DECLINED where there is no memory. */
int64_t take_met(Closing *c, Block *b, Pool *into) {
  int64_t halves = 0, traces = 0, opens = 0, open = 0, before = into->count;
  for (int64_t k = 0; k < b->traces; k++) {
    if (k + AHEAD < b->traces) __builtin_prefetch(&c->traces.table[place_of(&c->traces, b->key[k + AHEAD])]);
    int64_t from = b->first[k], size = b->first[k + 1] - from, ended = open;
    while (ended < b->opens && b->open[ended].place < b->first[k + 1]) ended++;
    if (mark(&c->traces, b->key[k])) {
      if (reserve(into, size)) return DECLINED;
      for (int64_t i = from; i < from + size; i++) into->half[into->count++] = *half_at(b, i);
      open = ended;
      continue;
    }
    if (halves != from) memmove(b->order + halves, b->order + from, (size_t)size * sizeof *b->order);
    for (; open < ended; open++) b->open[opens++] = (Open){(uint32_t)(b->open[open].place - from + halves), b->open[open].who};
    b->key[traces] = b->key[k];
    b->first[traces++] = (uint32_t)halves;
    halves += size;
  }
  b->halves = halves;
  b->traces = traces;
  b->opens = opens;
  if (b->first) b->first[traces] = (uint32_t)halves;
  return into->count - before;
}

void free_block(Block *b) {
  free(b->pool.half);
  free(b->order);
  free(b->key);
  free(b->first);
  free(b->open);
  *b = (Block){0};
}

/* Gives back all that a close took, but what was taken over of the block. */
void end_closing(Closing *c) {
  Traces *t = &c->traces;
  void *all[] = {c->seen.half, c->odd.half, t->key, t->odd, t->size, t->trace, t->table};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  free_block(&c->block);
  free_counts(&c->arrivals);
  free_counts(&c->calls);
  free_names(&c->pairs);
  free_names(&c->spoken);
  memset(c, 0, sizeof *c);
}
