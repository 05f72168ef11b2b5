/* Reads OTLP trace requests into columns, and brings columns into order. No state, no allocation that outlives a call.
 *
 * Only what everybody writes is read here. Whatever is unusual (groups, repeated messages, tags of three bytes, lengths
 * that do not fit, an attribute whose key does not come first, …) makes ``read_spans`` decline the whole chunk, and the
 * readers in Python decide. So there is one set of rules, in Python; this file only is a short cut where they are plain.
 * Compiled as C11 by scripts/compile_native.py; called by native/__init__.py. Little-endian machines only.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef SOURCE_HASH
#define SOURCE_HASH ""
#endif

/* The first sixteen digits of this file's SHA-256, as it was when it was compiled: a library of another version is not used. */
const char *source_hash(void) { return SOURCE_HASH; }

enum { DECLINED = -1, TOO_SMALL = -2 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
enum { CLIENT = 3, CONSUMER = 5, ERROR = 8, MOST_SLICES = 32, MOST_ATTRIBUTES = 128, MARK_URL = 1, MARK_LINKS = 2 };

typedef struct { const uint8_t *at, *end; } Cursor;
typedef struct { const uint8_t *at; uint64_t size; } Slice;

/* A varint, or false at the end of the bytes or beyond ten of them. */
static inline int varint(Cursor *c, uint64_t *value) {
  if (c->at < c->end && *c->at < 128) { *value = *c->at++; return 1; }
  uint64_t found = 0;
  for (int shift = 0; shift < 70 && c->at < c->end; shift += 7) {
    uint8_t byte = *c->at++;
    found |= shift < 64 ? (uint64_t)(byte & 127) << shift : 0;
    if (byte < 128) { *value = found; return 1; }
  }
  return 0;
}

/* A field's number and wire type; false where it is none or of a number above 2047. */
static inline int tag(Cursor *c, unsigned *number, unsigned *wire) {
  unsigned first = *c->at++;
  if (first >= 128) {
    if (c->at >= c->end || *c->at >= 128) return 0;
    first = (first & 127) | (unsigned)*c->at++ << 7;
  }
  *number = first >> 3;
  *wire = first & 7;
  return *number != 0;
}

static inline int slice(Cursor *c, Slice *found) {
  uint64_t size;
  if (!varint(c, &size) || size > (uint64_t)(c->end - c->at)) return 0;
  found->at = c->at;
  found->size = size;
  c->at += size;
  return 1;
}

static inline int fixed64(Cursor *c, uint64_t *value) {
  if (c->end - c->at < 8) return 0;
  memcpy(value, c->at, 8);
  c->at += 8;
  return 1;
}

static int skip(Cursor *c, unsigned wire) {
  uint64_t number;
  Slice bytes;
  switch (wire) {
    case VARINT: return varint(c, &number);
    case FIXED64: return fixed64(c, &number);
    case BYTES: return slice(c, &bytes);
    case FIXED32: if (c->end - c->at < 4) return 0; c->at += 4; return 1;
    default: return 0;
  }
}

/* Distinct sequences of slices, numbered in order of appearance. */
typedef struct {
  int64_t most_items, most_slices, items, slices;
  int64_t *first;          /* of each item its first slice; one more at the end */
  uint32_t *record, *at, *size; /* of each slice, where it lies */
  uint64_t *hash;          /* of each item */
  uint32_t *table;         /* open addressing: item + 1 */
  uint64_t mask;
} Distinct;

static inline uint64_t mixed(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15ull;
  return hash ^ (hash >> 29);
}

static inline uint64_t hashed(uint64_t hash, const uint8_t *at, uint64_t size) {
  uint64_t word;
  hash = mixed(hash, size);
  for (; size >= 8; at += 8, size -= 8) {
    memcpy(&word, at, 8);
    hash = mixed(hash, word);
  }
  word = 0;
  memcpy(&word, at, size);
  return mixed(hash, word);
}

static int same(const Distinct *d, uint32_t item, const uint8_t *const *values, const Slice *slices, int64_t count) {
  int64_t first = d->first[item];
  if (d->first[item + 1] - first != count) return 0;
  for (int64_t i = 0; i < count; i++) {
    if (d->size[first + i] != slices[i].size) return 0;
    if (memcmp(values[d->record[first + i]] + d->at[first + i], slices[i].at, slices[i].size) != 0) return 0;
  }
  return 1;
}

/* The number of a sequence of slices of values[record], or DECLINED where there is no more room. */
static int64_t numbered(Distinct *d, const uint8_t *const *values, uint32_t record, const Slice *slices, int64_t count) {
  uint64_t hash = (uint64_t)count;
  for (int64_t i = 0; i < count; i++) hash = hashed(hash, slices[i].at, slices[i].size);
  uint64_t place = hash & d->mask;
  for (uint32_t found; (found = d->table[place]) != 0; place = (place + 1) & d->mask)
    if (d->hash[found - 1] == hash && same(d, found - 1, values, slices, count)) return found - 1;
  if (d->items >= d->most_items || d->slices + count > d->most_slices) return DECLINED;
  for (int64_t i = 0; i < count; i++) {
    d->record[d->slices] = record;
    d->at[d->slices] = (uint32_t)(slices[i].at - values[record]);
    d->size[d->slices++] = (uint32_t)slices[i].size;
  }
  d->hash[d->items] = hash;
  d->table[place] = (uint32_t)++d->items;
  d->first[d->items] = d->slices;
  return d->items - 1;
}

/* The keys that matter: a chain for each hash of length, first and last letter. */
typedef struct {
  int32_t count;
  const uint8_t *const *key;
  const uint32_t *size;
  const uint8_t *url;      /* whether the key holds a URL */
  int32_t *chain;          /* 256 heads, then one a key; key + 1 */
} Keys;

static inline unsigned bucket(const uint8_t *key, uint64_t size) {
  return (unsigned)(size * 31 + key[size - 1] * 7 + key[0]) & 255;
}

/* What a reader is given and fills: a row a usable span. */
typedef struct {
  int64_t capacity;
  uint64_t *high, *low, *span, *parent;
  int64_t *end, *duration;
  uint8_t *flags, *marks;
  uint32_t *record, *resource, *state, *combination; /* state and combination: 1 + number, 0 for none */
  uint32_t *at, *size;     /* where the span lies in its record */
  int64_t rows, spans, no_trace_id, no_span_id, no_end_time;
  int64_t longest_us;
  const int64_t *latest_us; /* of each record */
  Keys keys;
  Distinct resources, states, combinations;
} Reading;

/* Which attributes of a caller matter; false where one is written in an unusual way. */
static int attribute(const Keys *keys, Slice raw, Slice *found, int64_t *count, uint8_t *marks) {
  Cursor c = {raw.at, raw.at + raw.size};
  Slice key, value;
  if (raw.size == 0) return 1;
  if (*c.at++ != 0x0A || !slice(&c, &key)) return 0;
  if (c.at < c.end && (*c.at++ != 0x12 || !slice(&c, &value) || c.at != c.end)) return 0;
  if (key.size == 0) return 1;
  for (int32_t i = keys->chain[bucket(key.at, key.size)]; i != 0; i = keys->chain[256 + i - 1]) {
    if (keys->size[i - 1] != key.size || memcmp(keys->key[i - 1], key.at, key.size) != 0) continue;
    if (keys->url[i - 1]) { *marks |= MARK_URL; return 1; }
    if (*count >= MOST_SLICES) return 0;
    found[(*count)++] = raw;
    return 1;
  }
  return 1;
}

static int status_code(Slice raw, uint64_t *code) {
  Cursor c = {raw.at, raw.at + raw.size};
  unsigned number, wire;
  while (c.at < c.end) {
    if (!tag(&c, &number, &wire)) return 0;
    if (number == 3) {
      if (wire != VARINT || !varint(&c, code)) return 0;
    } else if (!skip(&c, wire)) {
      return 0;
    }
  }
  return 1;
}

typedef struct {
  Slice trace, span, state, parent, status;
  uint64_t kind, start, end;
  int64_t attributes;
  int links;
} Fields;

static int fields(Slice raw, Fields *f, Slice *attributes) {
  Cursor c = {raw.at, raw.at + raw.size};
  unsigned number, wire;
  Slice ignored;
  while (c.at < c.end) {
    if (!tag(&c, &number, &wire)) return 0;
    int ok;
    switch (number) {
      case 1: ok = wire == BYTES && slice(&c, &f->trace); break;
      case 2: ok = wire == BYTES && slice(&c, &f->span); break;
      case 3: ok = wire == BYTES && slice(&c, &f->state); break;
      case 4: ok = wire == BYTES && slice(&c, &f->parent); break;
      case 6: ok = wire == VARINT && varint(&c, &f->kind); break;
      case 7: ok = wire == FIXED64 && fixed64(&c, &f->start); break;
      case 8: ok = wire == FIXED64 && fixed64(&c, &f->end); break;
      case 9: ok = wire == BYTES && f->attributes < MOST_ATTRIBUTES && slice(&c, &attributes[f->attributes++]); break;
      case 13: ok = wire == BYTES && slice(&c, &ignored); f->links = 1; break;
      case 15: ok = wire == BYTES && f->status.at == NULL && slice(&c, &f->status); break;
      default: ok = skip(&c, wire);
    }
    if (!ok) return 0;
  }
  return 1;
}

/* The number of what a caller's attributes say, as far as it matters. */
static int64_t combination(Reading *r, const uint8_t *const *values, uint32_t record, const Slice *all, int64_t count, uint8_t *marks) {
  Slice found[MOST_SLICES];
  int64_t matter = 0;
  for (int64_t i = 0; i < count; i++)
    if (!attribute(&r->keys, all[i], found, &matter, marks)) return DECLINED;
  return numbered(&r->combinations, values, record, found, matter);
}

static inline int zero(Slice s) {
  uint64_t low = 0, high = 0;
  memcpy(&high, s.at, 8);
  if (s.size == 16) memcpy(&low, s.at + 8, 8);
  return (high | low) == 0;
}

static int64_t one_span(Reading *r, const uint8_t *const *values, uint32_t record, uint32_t resource, Slice raw) {
  Fields f = {0};
  Slice attributes[MOST_ATTRIBUTES];
  uint64_t code = 0;
  r->spans++;
  if (!fields(raw, &f, attributes) || (f.status.at && !status_code(f.status, &code))) return DECLINED;
  if (f.trace.size != 16 || zero(f.trace)) { r->no_trace_id++; return 0; }
  if (f.span.size != 8 || zero(f.span)) { r->no_span_id++; return 0; }
  if (f.end == 0) { r->no_end_time++; return 0; }
  int64_t row = r->rows, state = 0, combined = 0;
  if (row >= r->capacity) return TOO_SMALL;
  int64_t end = (int64_t)(f.end / 1000), duration = end - (int64_t)(f.start / 1000);
  int32_t kind = (int32_t)f.kind;
  uint8_t marks = f.links ? MARK_LINKS : 0;
  if (kind < 0 || kind > CONSUMER) kind = 0;
  if (kind >= CLIENT && (combined = combination(r, values, record, attributes, f.attributes, &marks) + 1) <= 0) return DECLINED;
  if (f.state.size && (state = numbered(&r->states, values, record, &f.state, 1) + 1) <= 0) return DECLINED;
  memcpy(&r->high[row], f.trace.at, 8);
  memcpy(&r->low[row], f.trace.at + 8, 8);
  memcpy(&r->span[row], f.span.at, 8);
  r->parent[row] = 0;
  if (f.parent.size == 8) memcpy(&r->parent[row], f.parent.at, 8);
  r->end[row] = end < r->latest_us[record] ? end : r->latest_us[record];
  r->duration[row] = duration < 0 ? 0 : duration > r->longest_us ? r->longest_us : duration;
  r->flags[row] = (uint8_t)(kind | ((int32_t)code == 2 ? ERROR : 0));
  r->marks[row] = marks;
  r->record[row] = record;
  r->resource[row] = resource;
  r->state[row] = (uint32_t)state;
  r->combination[row] = (uint32_t)combined;
  r->at[row] = (uint32_t)(raw.at - values[record]);
  r->size[row] = (uint32_t)raw.size;
  r->rows = row + 1;
  return 0;
}

static int64_t scope(Reading *r, const uint8_t *const *values, uint32_t record, uint32_t resource, Slice raw) {
  Cursor c = {raw.at, raw.at + raw.size};
  unsigned number, wire;
  Slice span;
  while (c.at < c.end) {
    if (!tag(&c, &number, &wire)) return DECLINED;
    if (number != 2) {
      if (!skip(&c, wire)) return DECLINED;
      continue;
    }
    if (wire != BYTES || !slice(&c, &span)) return DECLINED;
    int64_t failed = one_span(r, values, record, resource, span);
    if (failed) return failed;
  }
  return 0;
}

static int64_t resource_spans(Reading *r, const uint8_t *const *values, uint32_t record, Slice raw) {
  static const uint8_t nothing;
  Cursor c = {raw.at, raw.at + raw.size};
  unsigned number, wire;
  Slice resource = {&nothing, 0}, scoped;
  int64_t index = -1;
  int named = 0;
  while (c.at < c.end) {
    if (!tag(&c, &number, &wire)) return DECLINED;
    if (number == 1) {
      if (wire != BYTES || named++ || index >= 0 || !slice(&c, &resource)) return DECLINED;
    } else if (number == 2) {
      if (wire != BYTES || !slice(&c, &scoped)) return DECLINED;
      if (!named) return DECLINED;
      if (index < 0 && (index = numbered(&r->resources, values, record, &resource, 1)) < 0) return DECLINED;
      int64_t failed = scope(r, values, record, (uint32_t)index, scoped);
      if (failed) return failed;
    } else if (!skip(&c, wire)) {
      return DECLINED;
    }
  }
  if (named && index < 0 && numbered(&r->resources, values, record, &resource, 1) < 0) return DECLINED;
  return 0;
}

static void link_keys(Keys *keys) {
  memset(keys->chain, 0, (size_t)(256 + keys->count) * sizeof *keys->chain);
  for (int32_t i = 0; i < keys->count; i++) {
    unsigned head = bucket(keys->key[i], keys->size[i]);
    keys->chain[256 + i] = keys->chain[head];
    keys->chain[head] = i + 1;
  }
}

static void clear(Distinct *d) {
  d->items = d->slices = 0;
  d->first[0] = 0;
  memset(d->table, 0, (size_t)(d->mask + 1) * sizeof *d->table);
}

/* Fills ``r`` from serialized ExportTraceServiceRequests. 0, DECLINED, or TOO_SMALL where there are more rows than room. */
int64_t read_spans(Reading *r, const uint8_t *const *values, const int64_t *sizes, int64_t count) {
  r->rows = r->spans = r->no_trace_id = r->no_span_id = r->no_end_time = 0;
  link_keys(&r->keys);
  clear(&r->resources);
  clear(&r->states);
  clear(&r->combinations);
  for (int64_t i = 0; i < count; i++) {
    if (sizes[i] > INT32_MAX) return DECLINED;
    Cursor c = {values[i], values[i] + sizes[i]};
    int64_t before = r->spans;
    unsigned number, wire;
    Slice found;
    while (c.at < c.end) {
      if (!tag(&c, &number, &wire)) return DECLINED;
      if (number != 1) {
        if (!skip(&c, wire)) return DECLINED;
        continue;
      }
      if (wire != BYTES || !slice(&c, &found)) return DECLINED;
      int64_t failed = resource_spans(r, values, (uint32_t)i, found);
      if (failed) return failed;
    }
    if (r->spans == before) return DECLINED; /* a record without spans is told of by itself */
  }
  return 0;
}

/* Where a half goes: its trace's partition, then its record. */
void partition_keys(const uint64_t *high, const uint64_t *low, const uint32_t *record, int64_t rows, uint64_t partitions, uint32_t records, uint32_t *key) {
  for (int64_t i = 0; i < rows; i++) key[i] = (uint32_t)((high[i] ^ low[i]) % partitions) * records + record[i];
}

/* Each of ``runs`` numbers as often as ``counts`` says. */
void fill_runs(const int64_t *counts, int64_t runs, uint32_t *number) {
  for (int64_t i = 0; i < runs; i++)
    for (int64_t k = 0; k < counts[i]; k++) *number++ = (uint32_t)i;
}

/* The order of rows by key, stable: ``order`` is filled with row numbers, ``counts`` with the rows of each of ``keys`` keys. */
void order_by_key(const uint32_t *key, int64_t rows, int64_t keys, int64_t *next, uint32_t *order, int64_t *counts) {
  int64_t sum = 0;
  memset(counts, 0, (size_t)keys * sizeof *counts);
  for (int64_t i = 0; i < rows; i++) counts[key[i]]++;
  for (int64_t k = 0; k < keys; k++) { next[k] = sum; sum += counts[k]; }
  for (int64_t i = 0; i < rows; i++) order[next[key[i]]++] = (uint32_t)i;
}

/* The chosen rows of a column of ``width`` bytes (1, 4 or 8), one after the other. */
void gather(const void *from, const uint32_t *order, int64_t rows, int64_t width, void *into) {
  if (width == 8)
    for (int64_t i = 0; i < rows; i++) ((uint64_t *)into)[i] = ((const uint64_t *)from)[order[i]];
  else if (width == 4)
    for (int64_t i = 0; i < rows; i++) ((uint32_t *)into)[i] = ((const uint32_t *)from)[order[i]];
  else
    for (int64_t i = 0; i < rows; i++) ((uint8_t *)into)[i] = ((const uint8_t *)from)[order[i]];
}

/* Open addressing over 1 + row numbers in ``table``, of a power of two of slots that is at least twice the rows. */
typedef struct {
  int64_t rows;
  const uint64_t *high, *low, *span, *parent;
  const uint8_t *flags;
  uint32_t *table;
  uint64_t mask;
} Halves;

static inline uint64_t spread(uint64_t one, uint64_t other) { return mixed(mixed(0, one), other); }

/* Numbers the traces of halves in order of appearance; ``first`` gets a row of each, ``key`` its id folded into a word.
 * Returns how many there are. */
int64_t number_traces(const Halves *h, uint64_t factor, uint32_t *trace, uint32_t *first, uint64_t *key) {
  int64_t count = 0;
  memset(h->table, 0, (size_t)(h->mask + 1) * sizeof *h->table);
  for (int64_t i = 0; i < h->rows; i++) {
    uint64_t place = spread(h->high[i], h->low[i]) & h->mask;
    uint32_t found;
    for (; (found = h->table[place]) != 0; place = (place + 1) & h->mask)
      if (h->high[first[found - 1]] == h->high[i] && h->low[first[found - 1]] == h->low[i]) break;
    if (found == 0) {
      key[count] = h->low[i] ^ (h->high[i] * factor);
      first[count++] = (uint32_t)i;
      found = h->table[place] = (uint32_t)count;
    }
    trace[i] = found - 1;
  }
  return count;
}

enum { SERVER = 2, PRODUCER = 4, KIND = 7 };

static inline int caller(uint8_t flags) { return (flags & KIND) == CLIENT || (flags & KIND) == PRODUCER; }
static inline int callee(uint8_t flags) { return (flags & KIND) == SERVER || (flags & KIND) == CONSUMER; }

static inline uint64_t slot_of(const Halves *h, const uint32_t *trace, uint32_t of, uint64_t span) {
  uint64_t place = spread(span, of) & h->mask;
  for (uint32_t found; (found = h->table[place]) != 0; place = (place + 1) & h->mask)
    if (trace[found - 1] == of && h->span[found - 1] == span) break;
  return place;
}

/* Finds for each half the one above it, and which traces are unusual: ``odd`` (by trace number) is set where an id comes
 * twice, there are several roots, a callee's caller is not there, or something lies below a caller that no callee answered.
 * ``above`` is 1 + row of a callee's caller, else 0; ``answered`` (by row) is set for a caller with a callee below it. */
void link_halves(const Halves *h, const uint32_t *trace, uint8_t *odd, uint8_t *rooted, uint32_t *above, uint8_t *answered) {
  memset(h->table, 0, (size_t)(h->mask + 1) * sizeof *h->table);
  for (int64_t i = 0; i < h->rows; i++) {
    uint64_t place = slot_of(h, trace, trace[i], h->span[i]);
    if (h->table[place]) odd[trace[i]] = 1;
    else h->table[place] = (uint32_t)(i + 1);
    if (h->parent[i] == 0) {
      odd[trace[i]] |= rooted[trace[i]];
      rooted[trace[i]] = 1;
    }
  }
  for (int64_t i = 0; i < h->rows; i++) {
    above[i] = 0;
    if (h->parent[i] == 0) continue;
    uint32_t found = h->table[slot_of(h, trace, trace[i], h->parent[i])];
    above[i] = found;
    if (!callee(h->flags[i])) continue;
    if (found && caller(h->flags[found - 1])) answered[found - 1] = 1;
    else odd[trace[i]] = 1;
  }
  for (int64_t i = 0; i < h->rows; i++) {
    if (callee(h->flags[i])) continue;
    if (above[i] && caller(h->flags[above[i] - 1]) && !answered[above[i] - 1]) odd[trace[i]] = 1;
    above[i] = 0;
  }
}

typedef struct { uint64_t key; int64_t count; } Counted;

static int by_key(const void *one, const void *other) {
  uint64_t a = ((const Counted *)one)->key, b = ((const Counted *)other)->key;
  return (a > b) - (a < b);
}

/* Brings distinct keys and their counts into ascending order; 0, or DECLINED where there is no memory for it. */
int64_t sort_counts(uint64_t *key, int64_t *count, int64_t many) {
  Counted *found = malloc((size_t)(many ? many : 1) * sizeof *found);
  if (!found) return DECLINED;
  for (int64_t i = 0; i < many; i++) found[i] = (Counted){key[i], count[i]};
  qsort(found, (size_t)many, sizeof *found, by_key);
  for (int64_t i = 0; i < many; i++) { key[i] = found[i].key; count[i] = found[i].count; }
  free(found);
  return 0;
}

/* Numbers keys in order of appearance and counts them; ``number`` may be NULL. Returns how many distinct ones there are. */
int64_t number_keys(const uint64_t *key, int64_t rows, uint32_t *table, uint64_t mask, uint32_t *number, uint64_t *distinct, int64_t *counts) {
  int64_t found = 0;
  memset(table, 0, (size_t)(mask + 1) * sizeof *table);
  for (int64_t i = 0; i < rows; i++) {
    uint64_t place = mixed(0, key[i]) & mask;
    while (table[place] != 0 && distinct[table[place] - 1] != key[i]) place = (place + 1) & mask;
    if (table[place] == 0) {
      distinct[found] = key[i];
      counts[found++] = 0;
      table[place] = (uint32_t)found;
    }
    counts[table[place] - 1]++;
    if (number) number[i] = table[place] - 1;
  }
  return found;
}

/* ``number * codes`` plus the sketch bucket of each duration plus one: how many of the ``most`` ascending ``bounds`` are not above
 * it; ``codes - 1`` for 0 and less. ``guess`` has the answer for the smallest value of each highest bit and six bits below it. */
void bucket_keys(const uint32_t *number, const int64_t *duration, int64_t rows, const int64_t *bounds, int64_t most, const int32_t *guess, int64_t codes, uint64_t *key) {
  for (int64_t i = 0; i < rows; i++) {
    int64_t found = codes - 1, value = duration[i];
    if (value > 0) {
      int bit = 63 - __builtin_clzll((uint64_t)value);
      uint64_t below = bit >= 6 ? (uint64_t)value >> (bit - 6) : (uint64_t)value << (6 - bit);
      found = guess[bit * 64 + (int)(below & 63)];
      while (found < most && bounds[found] <= value) found++;
    }
    key[i] = (uint64_t)number[i] * (uint64_t)codes + (uint64_t)found;
  }
}
