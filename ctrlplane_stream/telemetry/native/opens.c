/* Counts what is settled later: callers that nobody answered, and what traces have to do with watched versions. */
#include "traces.h"

enum { EXPOSED = 0, POSSIBLE = 1, UNEXPOSED = 2, ELSEWHERE = 3, AHEAD = 8 };

static int64_t floor_of(int64_t end, int64_t window_us) { return end / window_us - (end % window_us < 0); }

/* How many open callers spoke to each; ``of`` is by number of whom. */
void count_spoken(const Block *b, int64_t *of) {
  for (int64_t i = 0; i < b->opens; i++) of[b->open[i].who]++;
}

/* Counts the open callers that ended from ``from`` on and before ``before`` and whose ``edge`` (by whom they spoke to: 1 + its number) is
 * known, and leaves the others open. a: edge; b: window; sketch: durations. 0, or DECLINED where there is no memory. */
int64_t count_open(Block *b, const uint32_t *edge, int64_t from, int64_t before, int64_t window_us, Counts *into) {
  int64_t open = 0;
  for (int64_t i = 0; i < b->opens; i++) {
    Open one = b->open[i];
    if (i + AHEAD < b->opens) __builtin_prefetch(&half_at(b, b->open[i + AHEAD].place)->end);
    if (!edge[one.who]) { b->open[open++] = one; continue; }
    const Half *h = half_at(b, one.place);
    if (h->end < from || h->end >= before) { b->open[open++] = one; continue; }
    int64_t slot = slot_of(into, edge[one.who] - 1, (uint64_t)floor_of(h->end, window_us));
    if (slot < 0 || tally(into, slot, h->weight, h->flags) || observe(into, slot, 0, h->duration)) return DECLINED;
  }
  b->opens = open;
  return lay_out(into);
}

/* A version that is watched: its origin's number (UINT32_MAX: nobody has it), its environment's and its service's. */
typedef struct { uint32_t origin, environment, service; } Candidate;

/* Numbers by origin (environment and service that are watched) and by whom open callers spoke to (service); UINT32_MAX for others. And
 * memory to find the spans of a trace in: open addressing over 1 + half. */
typedef struct {
  const Block *b;
  const uint32_t *environment, *service, *called;
  uint32_t *table;
  uint64_t room;
} Asked;

/* What a trace has of a service: the origin that answered the call which is drawn (NOBODY: nobody did), whether it may have touched others,
 * and whether it has failed calls that nobody answered. */
typedef struct { uint64_t origin; int others, lost; } Draw;

static inline int is_of(const Asked *a, const Half *h, const Candidate *c) {
  return a->service[h->origin] == c->service && a->environment[h->origin] == c->environment;
}

static inline int is_lost(const Asked *a, const Open *open, const Candidate *c) {
  return a->called[open->who] == c->service && half_at(a->b, open->place)->flags & ERROR;
}

/* The lot of a span, as drawing.py has it. */
static inline uint64_t lot_of(const Block *b, int64_t trace, uint64_t span) { return spread(b->key[trace] ^ span); }

/* Makes the spans of a trace to be found; returns the mask of the table, or DECLINED where there is no memory. */
static int64_t name_spans(Asked *a, int64_t begin, int64_t end) {
  uint64_t slots = 4;
  while (slots < 2 * (uint64_t)(end - begin)) slots *= 2;
  if (slots > a->room) {
    uint32_t *grown = realloc(a->table, slots * sizeof *grown);
    if (!grown) return DECLINED;
    a->table = grown;
    a->room = slots;
  }
  memset(a->table, 0, slots * sizeof *a->table);
  for (int64_t i = begin; i < end; i++) *span_at(a->b, a->table, slots - 1, begin, half_at(a->b, i)->span) = (uint32_t)(i - begin + 1);
  return (int64_t)slots - 1;
}

/* Draws among a service's calls that were answered: callees whose parent is of another service. Leaves ``*least`` where there is none. */
static int64_t draw_call(Asked *a, int64_t trace, const Candidate *c, uint64_t *origin, uint64_t *least) {
  const Block *b = a->b;
  int64_t begin = b->first[trace], end = b->first[trace + 1], mask = name_spans(a, begin, end);
  if (mask < 0) return DECLINED;
  for (int64_t i = begin; i < end; i++) {
    const Half *h = half_at(b, i);
    if (!is_of(a, h, c) || !callee(h->flags)) continue;
    uint32_t up = h->parent ? *span_at(b, a->table, (uint64_t)mask, begin, h->parent) : 0;
    if ((up && is_of(a, half_at(b, begin + up - 1), c)) || lot_of(b, trace, h->span) >= *least) continue;
    *least = lot_of(b, trace, h->span);
    *origin = h->origin;
  }
  return 0;
}

/* Draws where a trace may have touched several versions, by the rules of exposures.py; 0, or DECLINED where there is no memory. */
static int64_t draw_one(Asked *a, int64_t trace, int64_t open, const Candidate *c, Draw *found) {
  const Block *b = a->b;
  uint64_t least = UINT64_MAX;
  if (draw_call(a, trace, c, &found->origin, &least)) return DECLINED;
  if (least < UINT64_MAX) {
    for (; open < b->opens && b->open[open].place < b->first[trace + 1]; open++)
      if (is_lost(a, &b->open[open], c) && lot_of(b, trace, half_at(b, b->open[open].place)->span) < least) found->origin = NOBODY;
    return 0;
  }
  for (uint32_t i = b->first[trace]; i < b->first[trace + 1]; i++) {
    const Half *h = half_at(b, i);
    if (!is_of(a, h, c) || lot_of(b, trace, h->span) >= least) continue;
    least = lot_of(b, trace, h->span);
    found->origin = h->origin;
  }
  return 0;
}

static int64_t draw(Asked *a, int64_t trace, int64_t open, const Candidate *c, Draw *found) {
  const Block *b = a->b;
  *found = (Draw){NOBODY, 0, 0};
  for (uint32_t i = b->first[trace]; i < b->first[trace + 1]; i++) {
    const Half *h = half_at(b, i);
    if (!is_of(a, h, c)) continue;
    found->others |= found->origin != NOBODY && found->origin != h->origin;
    found->origin = h->origin;
  }
  for (int64_t i = open; i < b->opens && b->open[i].place < b->first[trace + 1]; i++) found->lost |= is_lost(a, &b->open[i], c);
  if (found->origin == NOBODY || !(found->others |= found->lost)) return 0;
  return draw_one(a, trace, open, c, found);
}

static uint64_t exposure(const Block *b, int64_t trace, const Candidate *candidate, const Draw *drawn) {
  if (candidate->origin != UINT32_MAX && drawn->origin == candidate->origin) return EXPOSED;
  for (uint32_t i = b->first[trace]; drawn->others && i < b->first[trace + 1]; i++)
    if (half_at(b, i)->origin == candidate->origin) return ELSEWHERE;
  return drawn->lost ? POSSIBLE : UNEXPOSED;
}

static int64_t count_each(Asked *a, const Candidate *candidates, int64_t many, int64_t window_us, Counts *into) {
  const Block *b = a->b;
  int64_t open = 0;
  for (int64_t k = 0; k < b->traces; k++) {
    const Half *root = NULL;
    for (uint32_t i = b->first[k]; i < b->first[k + 1] && !root; i++)
      if (half_at(b, i)->parent == 0) root = half_at(b, i);
    while (open < b->opens && b->open[open].place < b->first[k]) open++;
    const Candidate *of = NULL;
    Draw drawn;
    for (int64_t i = 0; root && i < many; i++) {
      const Candidate *c = &candidates[i];
      if (a->environment[root->origin] != c->environment) continue;
      if ((!of || of->service != c->service) && draw(a, k, open, c, &drawn)) return DECLINED;
      of = c;
      int64_t slot = slot_of(into, (uint64_t)i << 32 | root->origin, (uint64_t)floor_of(root->end, window_us) << 2 | exposure(b, k, c, &drawn));
      if (slot < 0 || tally(into, slot, 0, root->flags) || observe(into, slot, 0, root->duration)) return DECLINED;
    }
  }
  return lay_out(into);
}

/* Counts the traces that entered here, by candidate, of which those of a service follow each other. ``environment`` and ``service`` are by
 * origin; ``called`` by whom open callers spoke to: the number of the service that is; each else UINT32_MAX. a: candidate << 32 | entry's
 * origin; b: window << 2 | exposure; sketch: durations. */
int64_t count_exposures(
    const Block *b, const Candidate *candidates, int64_t many, const uint32_t *environment, const uint32_t *service, const uint32_t *called,
    int64_t window_us, Counts *into) {
  Asked a = {b, environment, service, called, NULL, 0};
  int64_t failed = count_each(&a, candidates, many, window_us, into);
  free(a.table);
  return failed;
}
