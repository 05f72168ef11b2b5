/* Writes rows as telemetry-windows has them, in JSON: the very bytes that Python's encoder makes of an EdgeWindow or a ServiceWindow. */
#include <stdio.h>

#include "placing.h"

enum { MOST_TALLIES = 16, NUMBER = 32, FRAME = 512 };
#define NO_SKETCH "{\"indices\":[],\"counts\":[],\"zero\":0}"

static inline uint8_t *text(uint8_t *at, const char *from, size_t size) {
  memcpy(at, from, size);
  return at + size;
}
#define TEXT(at, from) text(at, from, sizeof(from) - 1)

static uint8_t *whole(uint8_t *at, int64_t number) {
  uint8_t digits[20];
  int many = 0;
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  if (number < 0) *at++ = '-';
  do digits[many++] = (uint8_t)('0' + left % 10); while (left /= 10);
  while (many) *at++ = digits[--many];
  return at;
}

/* A number that is not negative, in the fewest digits that give it back; NULL where they would need an exponent. */
static uint8_t *real(uint8_t *at, double number) {
  if (!(number < 1e15)) return NULL;
  if (number == (double)(int64_t)number) return TEXT(whole(at, (int64_t)number), ".0");
  if (number < 1e-3) return NULL;
  for (int digits = 1; digits <= 17; digits++) {
    int size = snprintf((char *)at, NUMBER, "%.*g", digits, number);
    if (size >= NUMBER || strchr((char *)at, 'e')) continue;
    if (strtod((char *)at, NULL) == number) return at + size;
  }
  return NULL;
}

static uint8_t *sketch(uint8_t *at, const Counts *c, int64_t number) {
  uint32_t begin = number ? c->end[number - 1] : 0, end = c->end[number];
  at = TEXT(at, "{\"indices\":[");
  for (uint32_t i = begin; i < end; i++) {
    at = whole(at, c->index[i]);
    if (i + 1 < end) *at++ = ',';
  }
  at = TEXT(at, "],\"counts\":[");
  for (uint32_t i = begin; i < end; i++) {
    at = whole(at, c->found[i]);
    if (i + 1 < end) *at++ = ',';
  }
  at = TEXT(at, "],\"zero\":");
  at = whole(at, c->zero[number]);
  *at++ = '}';
  return at;
}

/* What the tallies of a name add up to. */
typedef struct { int64_t calls, errors; double estimated_calls, estimated_errors; } Sums;

/* Adds up in ascending order of weight as folding.py does; 0 where there are more weights than that. */
static int add_up(const Counts *c, uint32_t slot, const double *weights, Sums *sums) {
  const Tally *by_weight[MOST_TALLIES];
  int many = 0;
  for (uint32_t next = c->tally_of[slot]; next; next = c->tally[next - 1].next) {
    const Tally *t = &c->tally[next - 1];
    int place = many++;
    if (many > MOST_TALLIES) return 0;
    for (; place && weights[by_weight[place - 1]->weight] > weights[t->weight]; place--) by_weight[place] = by_weight[place - 1];
    by_weight[place] = t;
  }
  *sums = (Sums){0};
  for (int i = 0; i < many; i++) {
    double weight = weights[by_weight[i]->weight];
    sums->calls += by_weight[i]->calls;
    sums->errors += by_weight[i]->errors;
    sums->estimated_calls += weight * (double)by_weight[i]->calls;
    sums->estimated_errors += weight * (double)by_weight[i]->errors;
  }
  return 1;
}

/* What is written besides the rows' own counts. */
typedef struct { const Counts *counts, *open; const Texts *texts; const double *weights; } Writing;

static inline const Counts *counts_of(const Writing *w, const Place *p) { return p->open ? w->open : w->counts; }

/* Bytes that rows need at most. */
int64_t room_for_rows(const Writing *w, const Place *place, int64_t rows) {
  int64_t room = 0;
  for (int64_t i = 0; i < rows; i++) {
    const Counts *c = counts_of(w, &place[i]);
    int64_t first = (int64_t)place[i].slot * c->width, last = first + c->width - 1;
    int64_t buckets = c->end[last] - (first ? c->end[first - 1] : 0);
    room += FRAME + 4 * NUMBER + buckets * 20;
    for (int k = 0; k < TEXTS; k++) room += w->texts->start[place[i].name[k] + 1] - w->texts->start[place[i].name[k]];
  }
  return room;
}

static uint8_t *word(uint8_t *at, const Texts *t, uint32_t rank) {
  return text(at, (const char *)t->json + t->start[rank], (size_t)(t->start[rank + 1] - t->start[rank]));
}

/* An EdgeWindow; NULL where a number cannot be written here. */
static uint8_t *edge(uint8_t *at, const Writing *w, const Place *p, const Sums *sums) {
  int64_t first = (int64_t)p->slot * counts_of(w, p)->width;
  at = word(TEXT(at, "{\"caller\":"), w->texts, p->name[0]);
  at = word(TEXT(at, ",\"callee\":"), w->texts, p->name[1]);
  at = word(TEXT(at, ",\"kind\":"), w->texts, p->name[2]);
  at = word(TEXT(at, ",\"caller_version\":"), w->texts, p->name[3]);
  at = word(TEXT(at, ",\"callee_version\":"), w->texts, p->name[4]);
  at = whole(TEXT(at, ",\"calls\":"), sums->calls);
  at = whole(TEXT(at, ",\"errors\":"), sums->errors);
  at = real(TEXT(at, ",\"estimated_calls\":"), sums->estimated_calls);
  at = at ? real(TEXT(at, ",\"estimated_errors\":"), sums->estimated_errors) : NULL;
  if (!at) return NULL;
  at = sketch(TEXT(at, ",\"client\":"), counts_of(w, p), first);
  if (p->open) return TEXT(at, ",\"server\":" NO_SKETCH ",\"gap\":" NO_SKETCH "},");
  at = sketch(TEXT(at, ",\"server\":"), w->counts, first + 1);
  at = sketch(TEXT(at, ",\"gap\":"), w->counts, first + 2);
  return TEXT(at, "},");
}

/* A ServiceWindow; NULL where a number cannot be written here. */
static uint8_t *service(uint8_t *at, const Writing *w, const Place *p, const Sums *sums) {
  at = word(TEXT(at, "{\"service\":"), w->texts, p->name[0]);
  at = word(TEXT(at, ",\"version\":"), w->texts, p->name[1]);
  at = whole(TEXT(at, ",\"requests\":"), sums->calls);
  at = whole(TEXT(at, ",\"errors\":"), sums->errors);
  at = real(TEXT(at, ",\"estimated_requests\":"), sums->estimated_calls);
  if (!at) return NULL;
  at = whole(TEXT(at, ",\"roots\":"), w->counts->roots[p->slot]);
  at = sketch(TEXT(at, ",\"latency\":"), w->counts, p->slot);
  at = real(TEXT(at, ",\"estimated_errors\":"), sums->estimated_errors);
  return at ? TEXT(at, "},") : NULL;
}

/* Rows in the given order, a comma after each; ``ends`` says where each ends. Returns how many calls they count that were answered, or
 * DECLINED where a number cannot be written here, or two rows have one name: of callers in two environments that call into one. */
int64_t write_rows(const Writing *w, const Place *place, int64_t rows, int64_t edges, uint8_t *into, int64_t *ends) {
  uint8_t *at = into;
  int64_t calls = 0;
  for (int64_t i = 0; i < rows; i++) {
    Sums sums;
    if (i && !memcmp(place[i].name, place[i - 1].name, sizeof place[i].name)) return DECLINED;
    if (!add_up(counts_of(w, &place[i]), place[i].slot, w->weights, &sums)) return DECLINED;
    at = edges ? edge(at, w, &place[i], &sums) : service(at, w, &place[i], &sums);
    if (!at) return DECLINED;
    calls += place[i].open ? 0 : sums.calls;
    ends[i] = at - into;
  }
  return calls;
}
