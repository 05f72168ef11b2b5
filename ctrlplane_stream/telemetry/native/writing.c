/* Writes rows of edges as telemetry-windows has them, in JSON: the very bytes that Python's encoder makes of an EdgeWindow. */
#include <stdio.h>

#include "counts.h"

enum { MOST_TALLIES = 16, NUMBER = 32, FRAME = 256 };

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

/* Calls, errors and their estimates, added up in ascending order of weight as folding.py does; NULL where that cannot be written here. */
static uint8_t *sums(uint8_t *at, const Counts *c, uint32_t slot, const double *weights, int64_t *calls) {
  const Tally *by_weight[MOST_TALLIES];
  int many = 0;
  for (uint32_t next = c->tally_of[slot]; next; next = c->tally[next - 1].next) {
    const Tally *t = &c->tally[next - 1];
    int place = many++;
    if (many > MOST_TALLIES) return NULL;
    for (; place && weights[by_weight[place - 1]->weight] > weights[t->weight]; place--) by_weight[place] = by_weight[place - 1];
    by_weight[place] = t;
  }
  int64_t errors = 0, all = 0;
  double estimated_calls = 0, estimated_errors = 0;
  for (int i = 0; i < many; i++) {
    double weight = weights[by_weight[i]->weight];
    all += by_weight[i]->calls;
    errors += by_weight[i]->errors;
    estimated_calls += weight * (double)by_weight[i]->calls;
    estimated_errors += weight * (double)by_weight[i]->errors;
  }
  *calls += all;
  at = whole(TEXT(at, "\"calls\":"), all);
  at = whole(TEXT(at, ",\"errors\":"), errors);
  at = real(TEXT(at, ",\"estimated_calls\":"), estimated_calls);
  return at ? real(TEXT(at, ",\"estimated_errors\":"), estimated_errors) : NULL;
}

/* What is written of each row before its numbers: of ``name[i]`` the bytes from ``start[name[i]]`` to ``start[name[i] + 1]``. */
typedef struct {
  const uint32_t *slot, *name; /* by row */
  int64_t rows;
  const uint8_t *prefix;
  const int64_t *start;
  const double *weights;
} Order;

/* Bytes that ``write_rows`` needs at most. */
int64_t room_for_rows(const Counts *c, const Order *o) {
  int64_t room = 0;
  for (int64_t i = 0; i < o->rows; i++) {
    int64_t first = (int64_t)o->slot[i] * c->width, last = first + c->width - 1;
    uint32_t buckets = c->end[last] - (first ? c->end[first - 1] : 0);
    room += o->start[o->name[i] + 1] - o->start[o->name[i]] + FRAME + 4 * NUMBER + buckets * 20;
  }
  return room;
}

/* Rows with three sketches each, in the given order, with a comma after each; ``ends`` says where each ends. Returns their calls, or
 * DECLINED where a number cannot be written here. */
int64_t write_rows(const Counts *c, const Order *o, uint8_t *into, int64_t *ends) {
  uint8_t *at = into;
  int64_t calls = 0;
  for (int64_t i = 0; i < o->rows; i++) {
    const int64_t *start = &o->start[o->name[i]];
    int64_t first = (int64_t)o->slot[i] * c->width;
    at = text(at, (const char *)o->prefix + start[0], (size_t)(start[1] - start[0]));
    at = sums(at, c, o->slot[i], o->weights, &calls);
    if (!at) return DECLINED;
    at = sketch(TEXT(at, ",\"client\":"), c, first);
    at = sketch(TEXT(at, ",\"server\":"), c, first + 1);
    at = sketch(TEXT(at, ",\"gap\":"), c, first + 2);
    at = TEXT(at, "},");
    ends[i] = at - into;
  }
  return calls;
}
