/* Counts what is settled later: callers that nobody answered, and whether traces touched a candidate. */
#include "traces.h"

enum { EXPOSED = 0, POSSIBLE = 1, UNEXPOSED = 2, AHEAD = 8 };

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

static uint64_t exposure(const Block *b, int64_t trace, int64_t open, const Candidate *candidate, const uint32_t *called) {
  for (uint32_t i = b->first[trace]; i < b->first[trace + 1]; i++)
    if (half_at(b, i)->origin == candidate->origin) return EXPOSED;
  for (; open < b->opens && b->open[open].place < b->first[trace + 1]; open++)
    if (called[b->open[open].who] == candidate->service && half_at(b, b->open[open].place)->flags & ERROR) return POSSIBLE;
  return UNEXPOSED;
}

/* Counts the traces that entered here, by candidate. ``environment`` is by origin; ``called`` by whom open callers spoke to: the number
 * of the service that is, else UINT32_MAX. a: candidate << 32 | entry's origin; b: window << 2 | exposure; sketch: durations. */
int64_t count_exposures(
    const Block *b, const Candidate *candidates, int64_t many, const uint32_t *environment, const uint32_t *called, int64_t window_us,
    Counts *into) {
  int64_t open = 0;
  for (int64_t k = 0; k < b->traces; k++) {
    const Half *root = NULL;
    for (uint32_t i = b->first[k]; i < b->first[k + 1] && !root; i++)
      if (half_at(b, i)->parent == 0) root = half_at(b, i);
    while (open < b->opens && b->open[open].place < b->first[k]) open++;
    for (int64_t i = 0; root && i < many; i++) {
      if (environment[root->origin] != candidates[i].environment) continue;
      uint64_t found = exposure(b, k, open, &candidates[i], called);
      int64_t slot = slot_of(into, (uint64_t)i << 32 | root->origin, (uint64_t)floor_of(root->end, window_us) << 2 | found);
      if (slot < 0 || tally(into, slot, 0, root->flags) || observe(into, slot, 0, root->duration)) return DECLINED;
    }
  }
  return lay_out(into);
}
