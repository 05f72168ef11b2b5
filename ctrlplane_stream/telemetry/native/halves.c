/* From rows to the columns of ``span-halves``, by destination: halves.proto says what the columns are. No state, no allocation. */
#include "rows.h"

enum { FAILED = 128, HEADER = 8 };

/* Completes rows by what their attributes mean. ``meaning`` and ``peer`` are by combination (0: none): the lower seven bits are the
 * flags of a span that fetched or settled messages, else 0; FAILED as ``Described`` in describing.py. Returns
 * how many rows Python has to look at, and puts their numbers into ``special``. */
int64_t understand(Row *row, int64_t rows, const uint16_t *meaning, const uint32_t *peer, uint64_t partitions, uint32_t *special) {
  int64_t found = 0;
  uint64_t mask = partitions & (partitions - 1) ? 0 : partitions - 1;
  for (int64_t i = 0; i < rows; i++) {
    Row *r = &row[i];
    uint32_t said = meaning[r->combination], fetch = said & (FAILED - 1);
    if (said & FAILED && (r->flags & KIND) != CONSUMER) r->flags |= ERROR;
    if (fetch) r->flags = (uint8_t)((r->flags & ERROR) | fetch);
    r->peer = peer[r->combination];
    uint64_t folded = r->high ^ r->low;
    r->to = (uint16_t)(mask || partitions == 1 ? folded & mask : folded % partitions);
    r->marks &= (uint8_t)((r->flags & KIND) == CONSUMER ? MARK_LINKS : 0);
    if (r->marks) special[found++] = (uint32_t)i;
  }
  return found;
}

/* Which resources and peers rows have: sets a byte for each. */
void mark_used(const Row *row, int64_t rows, uint8_t *resources, uint8_t *peers) {
  for (int64_t i = 0; i < rows; i++) {
    resources[row[i].resource] = 1;
    peers[row[i].peer] = 1;
  }
}

/* Where the columns of one destination go on. */
typedef struct { uint8_t *high, *low, *span, *parent, *end, *duration, *flags, *origin, *peer, *weight; } Columns;

static uint8_t *header(uint8_t *at, unsigned number, int64_t size) {
  unsigned key = number << 3 | BYTES;
  if (key >= 128) *at++ = (uint8_t)(key | 128), key >>= 7;
  *at++ = (uint8_t)key;
  for (; size >= 128; size >>= 7) *at++ = (uint8_t)(size | 128);
  *at++ = (uint8_t)size;
  return at;
}

static uint8_t *column(uint8_t **start, uint8_t *at, unsigned number, int64_t size) {
  *start = header(at, number, size);
  return *start + size;
}

/* Makes room for so many rows in the order of the fields' numbers; returns where it ends. */
static uint8_t *columns(Columns *c, uint8_t *at, int64_t rows, int weights) {
  at = column(&c->high, at, 9, 8 * rows);
  at = column(&c->span, at, 10, 8 * rows);
  at = column(&c->parent, at, 11, 8 * rows);
  at = column(&c->end, at, 12, 8 * rows);
  at = column(&c->duration, at, 13, 8 * rows);
  at = column(&c->flags, at, 14, rows);
  at = column(&c->origin, at, 15, 4 * rows);
  at = column(&c->peer, at, 16, 4 * rows);
  if (weights) at = column(&c->weight, at, 17, 4 * rows);
  return column(&c->low, at, 18, 8 * rows);
}

/* How many rows each destination gets of each record: ``counts[destination * records + record]``. */
void count_rows(const Row *row, int64_t rows, int64_t records, int64_t *counts) {
  for (int64_t i = 0; i < rows; i++) counts[row[i].to * records + row[i].record]++;
}

/* What ``write_halves`` is given: numbers of origin (by resource), peer and weight (by state) as the tables of the batches have them,
 * and the rows of each destination and record. ``next`` and ``columns`` are room for as many numbers, and for as many destinations. */
typedef struct {
  int64_t partitions, records;
  const uint32_t *origin, *peer, *weight; /* weight NULL: all alike */
  const int64_t *counts;
  int64_t *next;
  Columns *columns;
} Writing;

/* Bytes that ``write_halves`` needs at most. */
int64_t room_for_halves(int64_t rows, int64_t partitions) { return rows * 65 + partitions * 10 * HEADER; }

/* The fields 9 to 18 of a HalfBatch for each destination, rows by record, one after the other into ``into``; ``ends`` says where each
 * ends. A destination without rows gets nothing. */
void write_halves(const Writing *w, const Row *row, int64_t rows, uint8_t *into, int64_t *ends) {
  uint8_t *at = into;
  for (int64_t p = 0; p < w->partitions; p++) {
    int64_t sum = 0;
    for (int64_t i = p * w->records; i < (p + 1) * w->records; i++) { w->next[i] = sum; sum += w->counts[i]; }
    if (sum) at = columns(&w->columns[p], at, sum, w->weight != NULL);
    ends[p] = at - into;
  }
  for (int64_t i = 0; i < rows; i++) {
    const Row *r = &row[i];
    const Columns *c = &w->columns[r->to];
    int64_t k = w->next[r->to * w->records + r->record]++;
    memcpy(c->high + 8 * k, &r->high, 8);
    memcpy(c->low + 8 * k, &r->low, 8);
    memcpy(c->span + 8 * k, &r->span, 8);
    memcpy(c->parent + 8 * k, &r->parent, 8);
    memcpy(c->end + 8 * k, &r->end, 8);
    memcpy(c->duration + 8 * k, &r->duration, 8);
    c->flags[k] = r->flags;
    memcpy(c->origin + 4 * k, &w->origin[r->resource], 4);
    memcpy(c->peer + 4 * k, &w->peer[r->peer], 4);
    if (w->weight) memcpy(c->weight + 4 * k, &w->weight[r->state], 4);
  }
}
