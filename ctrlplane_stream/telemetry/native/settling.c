/* Settles the traces of the usual shape: who called whom, and what that adds up to. The rules are in columnar_pairing.py. */
#include "traces.h"

/* What the settling of one close needs besides: memory for links, sums at hand, and the window of the last half. */
typedef struct {
  Closing *c;
  int64_t window_us, origins;
  uint32_t *table;               /* open addressing over 1 + half of a trace */
  uint32_t *above;               /* of each half of a trace 1 + the one above it; 0: none */
  uint8_t *answered;
  struct { int64_t window, slot; } *arrival, *call; /* the slot last used: by origin, by pair */
  int64_t calls_known;
  int64_t begin, window;         /* of the window last asked for */
  int64_t open_room;
} Settling;

static int64_t window_of(Settling *s, int64_t end) {
  uint64_t into = (uint64_t)end - (uint64_t)s->begin;
  if (into < (uint64_t)s->window_us && s->window != INT64_MIN) return s->window;
  s->window = end / s->window_us - (end % s->window_us < 0);
  s->begin = s->window * s->window_us;
  return s->window;
}

/* Makes a block of what was seen: the order of its halves trace by trace. ``*largest`` gets the most halves of one trace. */
static int64_t group(Closing *c, int64_t *largest) {
  const Traces *t = &c->traces;
  Block *b = &c->block;
  uint32_t sum = 0;
  b->pool = c->seen;
  c->seen = (Pool){0};
  b->first = malloc((size_t)(t->traces + 1) * sizeof *b->first);
  b->order = malloc((size_t)(b->pool.count + 1) * sizeof *b->order);
  if (!b->first || !b->order) return DECLINED;
  *largest = 0;
  for (int64_t k = 0; k < t->traces; k++) {
    b->first[k] = sum;
    sum += t->size[k];
    if (t->size[k] > *largest) *largest = t->size[k];
  }
  for (int64_t i = 0; i < b->pool.count; i++) b->order[b->first[t->trace[i]]++] = (uint32_t)i;
  for (int64_t k = t->traces; k > 0; k--) b->first[k] = b->first[k - 1];
  b->first[0] = 0;
  return 0;
}

/* Finds for each half of a trace the one above it; returns whether the trace is odd: an id comes twice, there are several roots, a
 * callee's caller is not there, something lies below a caller that no callee answered, or it has links or callees that only fetched. */
static int link_trace(Settling *s, int64_t begin, int64_t size) {
  const Block *b = &s->c->block;
  uint64_t slots = 4;
  int roots = 0, odd = 0;
  while (slots < 2 * (uint64_t)size) slots *= 2;
  memset(s->table, 0, slots * sizeof *s->table);
  memset(s->answered, 0, (size_t)size);
  for (int64_t i = 0; i < size; i++) {
    const Half *h = half_at(b, begin + i);
    uint32_t *at = span_at(b, s->table, slots - 1, begin, h->span);
    odd |= *at != 0 || h->flags & (LINK | LINKED) || (h->flags & RECEIVE && callee(h->flags));
    if (!*at) *at = (uint32_t)(i + 1);
    roots += h->parent == 0;
  }
  if (odd || roots > 1) return 1;
  for (int64_t i = 0; i < size; i++) {
    const Half *h = half_at(b, begin + i);
    uint32_t up = h->parent ? *span_at(b, s->table, slots - 1, begin, h->parent) : 0;
    s->above[i] = up;
    if (!h->parent || !callee(h->flags)) continue;
    if (!up || !caller(half_at(b, begin + up - 1)->flags)) return 1;
    s->answered[up - 1] = 1;
  }
  for (int64_t i = 0; i < size; i++) {
    uint32_t up = s->above[i];
    if (!callee(half_at(b, begin + i)->flags) && up && caller(half_at(b, begin + up - 1)->flags) && !s->answered[up - 1]) return 1;
  }
  return 0;
}

static int64_t count_arrival(Settling *s, const Half *h) {
  int64_t window = window_of(s, h->end);
  Counts *c = &s->c->arrivals;
  if (s->arrival[h->origin].window != window) {
    s->arrival[h->origin].slot = slot_of(c, h->origin, (uint64_t)window);
    s->arrival[h->origin].window = window;
  }
  int64_t slot = s->arrival[h->origin].slot;
  if (slot < 0 || tally(c, slot, h->weight, h->flags)) return DECLINED;
  c->roots[slot] += h->parent == 0;
  s->c->roots += h->parent == 0;
  return observe(c, slot, 0, h->duration);
}

static int64_t count_call(Settling *s, const Half *above, const Half *h) {
  Counts *c = &s->c->calls;
  uint64_t both = (uint64_t)above->origin << 32 | h->origin;
  int message = (h->flags & KIND) == CONSUMER;
  int64_t own = window_of(s, h->end), other = window_of(s, above->end);
  int64_t window = (int64_t)((uint64_t)(own > other ? own : other) << 1) | message;
  int64_t pair = number_of(&s->c->pairs, both, above->peer);
  if (pair < 0) return DECLINED;
  if (pair >= s->calls_known) {
    void *grown = realloc(s->call, (size_t)s->c->pairs.room * sizeof *s->call);
    if (!grown) return DECLINED;
    s->call = grown;
    for (; s->calls_known < s->c->pairs.room; s->calls_known++) s->call[s->calls_known].window = INT64_MIN;
  }
  if (s->call[pair].window != window) {
    s->call[pair].slot = slot_of(c, both, (uint64_t)window);
    s->call[pair].window = window;
  }
  int64_t slot = s->call[pair].slot;
  __int128 gap = message ? (__int128)h->end - h->duration - above->end : (__int128)above->duration - h->duration;
  if (gap > INT64_MAX) gap = INT64_MAX;
  if (slot < 0 || tally(c, slot, h->weight, h->flags)) return DECLINED;
  return observe(c, slot, 0, above->duration) || observe(c, slot, 1, h->duration) || observe(c, slot, 2, gap < 0 ? 0 : (int64_t)gap) ? DECLINED : 0;
}

static int64_t leave_open(Settling *s, const Half *h, int64_t at) {
  Block *b = &s->c->block;
  if (b->opens >= s->open_room) {
    int64_t room = s->open_room ? 2 * s->open_room : 256;
    Open *grown = realloc(b->open, (size_t)room * sizeof *grown);
    if (!grown) return DECLINED;
    b->open = grown;
    s->open_room = room;
  }
  int64_t who = number_of(&s->c->spoken, h->origin, h->peer);
  b->open[b->opens++] = (Open){(uint32_t)at, (uint32_t)who};
  return who < 0 ? DECLINED : 0;
}

/* Counts a trace that was linked; it keeps its places from ``begin`` to ``kept``, where its halves will be. */
static int64_t count_trace(Settling *s, int64_t begin, int64_t size, int64_t kept) {
  const Block *b = &s->c->block;
  for (int64_t i = 0; i < size; i++) {
    const Half *h = half_at(b, begin + i);
    uint32_t kind = h->flags & KIND;
    s->c->local += kind < SERVER && !(h->flags & RECEIVE);
    s->c->received += (h->flags & RECEIVE) != 0;
    if (callee(kind)) {
      if (count_arrival(s, h)) return DECLINED;
      if (kind == CONSUMER && number_of(&s->c->pairs, NOBODY << 32 | h->origin, h->peer) < 0) return DECLINED;
      if (s->above[i] && count_call(s, half_at(b, begin + s->above[i] - 1), h)) return DECLINED;
    } else if (caller(kind) && !s->answered[i] && leave_open(s, h, kept + i)) {
      return DECLINED;
    }
  }
  return 0;
}

static inline void fetch_ahead(const Block *b, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; i++) {
    __builtin_prefetch(half_at(b, i));
    __builtin_prefetch((const uint8_t *)half_at(b, i) + sizeof(Half) - 1);
  }
}

/* The halves that odd traces leave behind in a block are given up where they are many. */
static int64_t without_holes(Block *b) {
  int64_t kept = 0, count = b->pool.count;
  if (b->halves + count / 8 >= count) return 0;
  uint32_t *moved = calloc((size_t)count + 1, sizeof *moved);
  if (!moved) return DECLINED;
  for (int64_t i = 0; i < b->halves; i++) moved[b->order[i]] = 1;
  for (int64_t i = 0; i < count; i++) {
    if (!moved[i]) continue;
    b->pool.half[kept] = b->pool.half[i];
    moved[i] = (uint32_t)kept++;
  }
  for (int64_t i = 0; i < b->halves; i++) b->order[i] = moved[b->order[i]];
  free(moved);
  b->pool.count = kept;
  Half *shrunk = kept ? realloc(b->pool.half, (size_t)kept * sizeof *shrunk) : NULL;
  if (shrunk) {
    b->pool.half = shrunk;
    b->pool.room = kept;
  }
  return 0;
}

static int64_t settle_each(Settling *s, int64_t most) {
  Closing *c = s->c;
  Traces *t = &c->traces;
  Block *b = &c->block;
  int64_t traces = 0, odd = 0;
  c->least_offset = INT64_MAX;
  for (int64_t k = 0; k < t->traces; k++) {
    int64_t begin = b->first[k], size = b->first[k + 1] - begin;
    if (k + 2 < t->traces && t->size[k + 2] < 64) fetch_ahead(b, b->first[k + 2], b->first[k + 3]);
    if (t->odd[k] || size > most || link_trace(s, begin, size)) {
      t->odd[k] = 1;
      odd += size;
      continue;
    }
    if (count_trace(s, begin, size, b->halves)) return DECLINED;
    if (half_at(b, begin)->offset < c->least_offset) c->least_offset = half_at(b, begin)->offset;
    if (b->halves != begin) memmove(b->order + b->halves, b->order + begin, (size_t)size * sizeof *b->order);
    b->key[traces] = t->key[k];
    b->first[traces++] = (uint32_t)b->halves;
    b->halves += size;
  }
  b->first[traces] = (uint32_t)b->halves;
  b->traces = traces;
  if (reserve(&c->odd, odd)) return DECLINED;
  for (int64_t i = 0; odd && i < b->pool.count; i++)
    if (t->odd[t->trace[i]]) c->odd.half[c->odd.count++] = b->pool.half[i];
  return without_holes(b);
}

/* Settles what was seen: usual traces into ``c->block`` and the counts, the halves of all others into ``c->odd``. Origins are numbered
 * below ``origins``; a trace of more than ``most`` halves is odd. 0, or DECLINED where there is no memory. */
int64_t settle(Closing *c, int64_t window_us, int64_t most, int64_t origins) {
  int64_t largest, failed = group(c, &largest);
  uint64_t slots = 4;
  if (failed) return failed;
  if (largest > most) largest = most;
  while (slots < 2 * (uint64_t)largest) slots *= 2;
  Settling s = {.c = c, .window_us = window_us, .origins = origins, .window = INT64_MIN};
  s.table = malloc(slots * sizeof *s.table);
  s.above = malloc((size_t)(largest + 1) * sizeof *s.above);
  s.answered = malloc((size_t)largest + 1);
  s.arrival = malloc((size_t)(origins + 1) * sizeof *s.arrival);
  c->block.key = malloc((size_t)(c->traces.traces + 1) * sizeof *c->block.key);
  failed = s.table && s.above && s.answered && s.arrival && c->block.key ? 0 : DECLINED;
  for (int64_t i = 0; !failed && i < origins; i++) s.arrival[i].window = INT64_MIN;
  if (!failed) failed = settle_each(&s, most);
  if (!failed) failed = lay_out(&c->arrivals);
  if (!failed) failed = lay_out(&c->calls);
  void *all[] = {s.table, s.above, s.answered, s.arrival, s.call};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  return failed;
}
