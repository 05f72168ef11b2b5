/* Names rows as they are published, and puts them in order. */
#include "placing.h"

static void name_edge(const Texts *t, Place *p, uint32_t caller, uint32_t callee, uint32_t kind, uint32_t caller_version, uint32_t callee_version) {
  p->name[0] = t->rank[caller];
  p->name[1] = t->rank[callee];
  p->name[2] = t->rank[kind];
  p->name[3] = t->rank[caller_version];
  p->name[4] = t->rank[callee_version];
}

/* Places of calls: a: callers' origin << 32 | callees'; b: window << 1 | whether a message. ``kinds`` are the texts of call and message. */
void place_calls(const Counts *c, const Texts *t, const uint32_t *kinds, Place *into) {
  for (int64_t i = 0; i < c->names.count; i++, into++) {
    Name n = c->names.name[i];
    const Who *above = &t->who[n.a >> 32], *below = &t->who[n.a & UINT32_MAX];
    *into = (Place){.window = (int64_t)n.b >> 1, .environment = below->environment, .slot = (uint32_t)i};
    name_edge(t, into, above->service, below->service, kinds[n.b & 1], above->version, below->version);
  }
}

/* Places of what nobody answered: a: edge; b: window. */
void place_open(const Counts *c, const Texts *t, const OpenEdge *edges, Place *into) {
  for (int64_t i = 0; i < c->names.count; i++, into++) {
    Name n = c->names.name[i];
    const OpenEdge *e = &edges[n.a];
    const Who *above = &t->who[e->origin];
    *into = (Place){.window = (int64_t)n.b, .environment = above->environment, .slot = (uint32_t)i, .open = 1};
    name_edge(t, into, above->service, e->callee, e->kind, above->version, e->version);
  }
}

/* Places of arrivals: a: origin; b: window. */
void place_arrivals(const Counts *c, const Texts *t, Place *into) {
  for (int64_t i = 0; i < c->names.count; i++, into++) {
    Name n = c->names.name[i];
    const Who *who = &t->who[n.a];
    *into = (Place){.window = (int64_t)n.b, .environment = who->environment, .slot = (uint32_t)i};
    into->name[0] = t->rank[who->service];
    into->name[1] = t->rank[who->version];
  }
}

static int compare(const void *left, const void *right) {
  const Place *a = left, *b = right;
  if (a->window != b->window) return a->window < b->window ? -1 : 1;
  if (a->environment != b->environment) return a->environment < b->environment ? -1 : 1;
  for (int i = 0; i < TEXTS; i++)
    if (a->name[i] != b->name[i]) return a->name[i] < b->name[i] ? -1 : 1;
  return 0;
}

/* Sorts places by window, environment and name; ``group`` gets where each window of an environment begins. Returns how many there are. */
int64_t sort_places(Place *place, int64_t many, int64_t *group) {
  int64_t groups = 0;
  qsort(place, (size_t)many, sizeof *place, compare);
  for (int64_t i = 0; i < many; i++)
    if (!i || place[i].window != place[i - 1].window || place[i].environment != place[i - 1].environment) group[groups++] = i;
  return groups;
}
