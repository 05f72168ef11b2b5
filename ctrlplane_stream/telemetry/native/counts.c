/* See counts.h. */
#include "counts.h"

static int64_t rehash(Names *n, uint64_t slots) {
  uint32_t *table = calloc((size_t)slots, sizeof *table);
  if (!table) return DECLINED;
  free(n->table);
  n->table = table;
  n->mask = slots - 1;
  for (int64_t i = 0; i < n->count; i++) {
    uint64_t place = mixed(mixed(0, n->name[i].a), n->name[i].b) & n->mask;
    while (table[place]) place = (place + 1) & n->mask;
    table[place] = (uint32_t)(i + 1);
  }
  return 0;
}

static int64_t grow(Names *n) {
  int64_t room = n->room ? 2 * n->room : 64;
  Name *name = realloc(n->name, (size_t)room * sizeof *name);
  if (!name) return DECLINED;
  n->name = name;
  n->room = room;
  return rehash(n, 2 * (uint64_t)room);
}

int64_t number_of(Names *n, uint64_t a, uint64_t b) {
  if (n->count >= n->room && grow(n)) return DECLINED;
  uint64_t place = mixed(mixed(0, a), b) & n->mask;
  for (uint32_t found; (found = n->table[place]) != 0; place = (place + 1) & n->mask)
    if (n->name[found - 1].a == a && n->name[found - 1].b == b) return found - 1;
  n->name[n->count] = (Name){a, b};
  n->table[place] = (uint32_t)++n->count;
  return n->count - 1;
}

int64_t number_names(const Names *names, Names *kept, uint32_t *number) {
  for (int64_t i = 0; i < names->count; i++) {
    int64_t found = number_of(kept, names->name[i].a, names->name[i].b);
    if (found < 0) return DECLINED;
    number[i] = (uint32_t)found;
  }
  return 0;
}

void free_names(Names *n) {
  free(n->name);
  free(n->table);
  *n = (Names){0};
}

static int64_t widen(Counts *c) {
  int64_t before = c->room, room = c->names.room;
  uint32_t *tally_of = realloc(c->tally_of, (size_t)room * sizeof *tally_of);
  if (tally_of) c->tally_of = tally_of;
  uint32_t *roots = realloc(c->roots, (size_t)room * sizeof *roots);
  if (roots) c->roots = roots;
  Sketch *sketch = realloc(c->sketch, (size_t)(room * c->width) * sizeof *sketch);
  if (sketch) c->sketch = sketch;
  if (!tally_of || !roots || !sketch) return DECLINED;
  memset(tally_of + before, 0, (size_t)(room - before) * sizeof *tally_of);
  memset(roots + before, 0, (size_t)(room - before) * sizeof *roots);
  memset(sketch + before * c->width, 0, (size_t)((room - before) * c->width) * sizeof *sketch);
  c->room = room;
  return 0;
}

int64_t slot_of(Counts *c, uint64_t a, uint64_t b) {
  int64_t slot = number_of(&c->names, a, b);
  if (slot >= c->room && widen(c)) return DECLINED;
  return slot;
}

int64_t tally(Counts *c, int64_t slot, uint32_t weight, uint32_t flags) {
  uint32_t at = c->tally_of[slot];
  while (at && c->tally[at - 1].weight != weight) at = c->tally[at - 1].next;
  if (!at) {
    if (c->tallies >= c->tally_room) {
      int64_t room = c->tally_room ? 2 * c->tally_room : 64;
      Tally *grown = realloc(c->tally, (size_t)room * sizeof *grown);
      if (!grown) return DECLINED;
      c->tally = grown;
      c->tally_room = room;
    }
    c->tally[c->tallies] = (Tally){0, 0, weight, c->tally_of[slot]};
    at = c->tally_of[slot] = (uint32_t)++c->tallies;
  }
  c->tally[at - 1].calls++;
  c->tally[at - 1].errors += (flags & ERROR) != 0;
  return 0;
}

/* How many bounds are not above a positive value. */
static inline int64_t bucket(const Counts *c, int64_t value) {
  int bit = 63 - __builtin_clzll((uint64_t)value);
  uint64_t below = bit >= 6 ? (uint64_t)value >> (bit - 6) : (uint64_t)value << (6 - bit);
  int64_t found = c->guess[bit * 64 + (int)(below & 63)];
  while (found < c->most && c->bounds[found] <= value) found++;
  return found;
}

/* Counts for the blocks from ``first`` to ``last`` as well; 0, or DECLINED where there is no memory. */
static int64_t cover(Sketch *s, unsigned first, unsigned last) {
  if (s->dense && s->base < first) first = s->base;
  if (s->dense && s->base + s->blocks > last + 1u) last = s->base + s->blocks - 1u;
  uint32_t *dense = calloc((size_t)(last - first + 1) * BLOCK, sizeof *dense);
  if (!dense) return DECLINED;
  if (s->dense) memcpy(dense + (s->base - first) * BLOCK, s->dense, (size_t)s->blocks * BLOCK * sizeof *dense);
  free(s->dense);
  s->dense = dense;
  s->base = (uint16_t)first;
  s->blocks = (uint16_t)(last - first + 1);
  return 0;
}

static int64_t spread_out(Sketch *s, unsigned code) {
  unsigned first = code, last = code;
  for (unsigned i = 0; i < s->few; i++) {
    first = s->value[i] < first ? s->value[i] : first;
    last = s->value[i] > last ? s->value[i] : last;
  }
  if (cover(s, first / BLOCK, last / BLOCK)) return DECLINED;
  for (unsigned i = 0; i < s->few; i++) s->dense[s->value[i] - s->base * BLOCK]++;
  s->few = 0;
  return 0;
}

int64_t observe(Counts *c, int64_t slot, int64_t which, int64_t value) {
  Sketch *s = &c->sketch[slot * c->width + which];
  if (value <= 0) { s->zero++; return 0; }
  unsigned code = (unsigned)bucket(c, value), block = code / BLOCK;
  if (!s->dense) {
    if (s->few < FEW) { s->value[s->few++] = (uint16_t)code; return 0; }
    if (spread_out(s, code)) return DECLINED;
  }
  if ((block < s->base || block >= (unsigned)s->base + s->blocks) && cover(s, block, block)) return DECLINED;
  s->dense[code - s->base * BLOCK]++;
  return 0;
}

static void put(Counts *c, unsigned code, uint32_t count) {
  c->index[c->buckets] = (int32_t)code - 1;
  c->found[c->buckets++] = count;
}

static void lay_out_few(Counts *c, Sketch *s) {
  for (unsigned i = 1; i < s->few; i++) {
    uint16_t value = s->value[i];
    unsigned at = i;
    for (; at && s->value[at - 1] > value; at--) s->value[at] = s->value[at - 1];
    s->value[at] = value;
  }
  for (unsigned i = 0, same; i < s->few; i += same) {
    for (same = 1; i + same < s->few && s->value[i + same] == s->value[i]; same++);
    put(c, s->value[i], same);
  }
}

/* Writes all sketches out, buckets ascending; 0, or DECLINED where there is no memory. */
int64_t lay_out(Counts *c) {
  int64_t sketches = c->names.count * c->width, most = 0;
  for (int64_t i = 0; i < sketches; i++) most += c->sketch[i].few + c->sketch[i].blocks * BLOCK;
  c->index = malloc((size_t)(most + 1) * sizeof *c->index);
  c->found = malloc((size_t)(most + 1) * sizeof *c->found);
  c->end = malloc((size_t)(sketches + 1) * sizeof *c->end);
  c->zero = malloc((size_t)(sketches + 1) * sizeof *c->zero);
  if (!c->index || !c->found || !c->end || !c->zero) return DECLINED;
  for (int64_t i = 0; i < sketches; i++) {
    Sketch *s = &c->sketch[i];
    lay_out_few(c, s);
    for (unsigned k = 0; k < (unsigned)s->blocks * BLOCK; k++)
      if (s->dense[k]) put(c, s->base * BLOCK + k, s->dense[k]);
    c->end[i] = (uint32_t)c->buckets;
    c->zero[i] = s->zero;
  }
  return 0;
}

void free_counts(Counts *c) {
  for (int64_t i = 0; c->sketch && i < c->names.count * c->width && i < c->room * c->width; i++) free(c->sketch[i].dense);
  free_names(&c->names);
  void *all[] = {c->tally_of, c->roots, c->tally, c->sketch, c->index, c->found, c->end, c->zero};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  *c = (Counts){0};
}
