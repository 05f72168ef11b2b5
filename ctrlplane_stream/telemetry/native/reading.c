/* Reads OTLP trace requests into rows, one for each usable span. No state, no allocation.
 *
 * Only what everybody writes is read here. Whatever is unusual (groups, repeated messages, tags of three bytes, lengths
 * that do not fit, an attribute whose key does not come first, …) makes ``read_spans`` decline the whole chunk, and the
 * readers in Python decide. So there is one set of rules, in Python; this file only is a short cut where they are plain.
 */
#include "rows.h"

enum { MOST_SLICES = 32, MOST_ATTRIBUTES = 128, AHEAD = 1024, LONGEST_TEXT = 200 };

/* Distinct sequences of slices, numbered in order of appearance, with bytes of their own: numbers stay from one call to the next. */
typedef struct {
  int64_t most_items, most_slices, most_bytes, items, slices, bytes, full;
  int64_t *first;          /* of each item its first slice; one more at the end */
  uint32_t *at, *size;     /* of each slice, where it lies in ``memory`` */
  uint8_t *memory;
  uint64_t *hash;          /* of each item */
  uint32_t *table;         /* open addressing: item + 1 */
  uint64_t mask;
} Distinct;

static int same(const Distinct *d, uint32_t item, const Slice *slices, int64_t count) {
  int64_t first = d->first[item];
  if (d->first[item + 1] - first != count) return 0;
  for (int64_t i = 0; i < count; i++) {
    if (d->size[first + i] != slices[i].size) return 0;
    if (memcmp(d->memory + d->at[first + i], slices[i].at, slices[i].size) != 0) return 0;
  }
  return 1;
}

/* The number of a sequence of slices, or DECLINED where there is no more room. */
static int64_t numbered(Distinct *d, const Slice *slices, int64_t count) {
  uint64_t hash = (uint64_t)count, bytes = 0;
  for (int64_t i = 0; i < count; i++) {
    hash = hashed(hash, slices[i].at, slices[i].size);
    bytes += slices[i].size;
  }
  uint64_t place = hash & d->mask;
  for (uint32_t found; (found = d->table[place]) != 0; place = (place + 1) & d->mask)
    if (d->hash[found - 1] == hash && same(d, found - 1, slices, count)) return found - 1;
  if (d->items >= d->most_items || d->slices + count > d->most_slices || bytes > (uint64_t)(d->most_bytes - d->bytes)) {
    d->full = 1;
    return DECLINED;
  }
  for (int64_t i = 0; i < count; i++) {
    memcpy(d->memory + d->bytes, slices[i].at, slices[i].size);
    d->at[d->slices] = (uint32_t)d->bytes;
    d->size[d->slices++] = (uint32_t)slices[i].size;
    d->bytes += (int64_t)slices[i].size;
  }
  d->hash[d->items] = hash;
  d->table[place] = (uint32_t)++d->items;
  d->first[d->items] = d->slices;
  return d->items - 1;
}

/* Forgets all items. */
static void clear(Distinct *d) {
  d->items = d->slices = d->bytes = d->full = 0;
  d->first[0] = 0;
  memset(d->table, 0, (size_t)(d->mask + 1) * sizeof *d->table);
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
  Row *row;
  int64_t rows, spans, no_trace_id, no_span_id, no_end_time;
  int64_t longest_us;
  const int64_t *latest_us; /* of each record */
  Keys keys;
  Distinct resources, states, combinations;
} Reading;

static int is_ascii(Slice s) {
  uint64_t all = 0, word;
  for (; s.size >= 8; s.at += 8, s.size -= 8) {
    memcpy(&word, s.at, 8);
    all |= word;
  }
  for (; s.size; s.at++, s.size--) all |= *s.at;
  return (all & 0x8080808080808080u) == 0;
}

/* The part of a URL that names a host, as ``host_of_url`` of peers.py has it: most URLs are seen once, and lead to few hosts. False
 * where that is not plain. */
static int host_of_url(Slice value, Slice *host) {
  Cursor c = {value.at, value.at + value.size};
  Slice url;
  if (c.at == c.end || *c.at++ != 0x0A || !slice(&c, &url) || c.at != c.end || !is_ascii(url)) return 0;
  const uint8_t *at = url.at, *end = at + (url.size < LONGEST_TEXT ? url.size : LONGEST_TEXT);
  if (end - at >= 5 && memcmp(at, "http", 4) == 0) {
    at += at[4] == 's' ? 5 : 4;
    if (end - at < 3 || memcmp(at, "://", 3) != 0) return 0;
    at++;
  }
  if (at == end || *at != '/') return 0;
  at++;
  *host = (Slice){at, 0};
  if (at == end || *at != '/') return 1;
  host->at = ++at;
  for (; at < end && *at != '/' && *at != '?' && *at != '#'; at++)
    if (*at == '@') host->at = at + 1;
  host->size = (uint64_t)(at - host->at);
  return 1;
}

/* Which attributes of a caller matter; false where one is written in an unusual way. Of a URL its key and its host are found. */
static int attribute(const Keys *keys, Slice raw, Slice *found, int64_t *count) {
  Cursor c = {raw.at, raw.at + raw.size};
  Slice key, value = {raw.at, 0}, host;
  if (raw.size == 0) return 1;
  if (*c.at++ != 0x0A || !slice(&c, &key)) return 0;
  if (c.at < c.end && (*c.at++ != 0x12 || !slice(&c, &value) || c.at != c.end)) return 0;
  if (key.size == 0) return 1;
  for (int32_t i = keys->chain[bucket(key.at, key.size)]; i != 0; i = keys->chain[256 + i - 1]) {
    if (keys->size[i - 1] != key.size || memcmp(keys->key[i - 1], key.at, key.size) != 0) continue;
    if (*count + 2 > MOST_SLICES) return 0;
    int shortened = keys->url[i - 1] && host_of_url(value, &host);
    found[(*count)++] = shortened ? key : raw;
    if (shortened) found[(*count)++] = host;
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
      case 9:
        ok = wire == BYTES && f->attributes < MOST_ATTRIBUTES && slice(&c, &attributes[f->attributes++]);
        while (ok && c.at < c.end && *c.at == (9 << 3 | BYTES)) { /* they come in a row */
          c.at++;
          ok = f->attributes < MOST_ATTRIBUTES && slice(&c, &attributes[f->attributes++]);
        }
        break;
      case 13: ok = wire == BYTES && slice(&c, &ignored); f->links = 1; break;
      case 15: ok = wire == BYTES && f->status.at == NULL && slice(&c, &f->status); break;
      default: ok = skip(&c, wire);
    }
    if (!ok) return 0;
  }
  return 1;
}

/* The number of what a caller's attributes say, as far as it matters. */
static int64_t combination(Reading *r, const Slice *all, int64_t count) {
  Slice found[MOST_SLICES];
  int64_t matter = 0;
  for (int64_t i = 0; i < count; i++)
    if (!attribute(&r->keys, all[i], found, &matter)) return DECLINED;
  return numbered(&r->combinations, found, matter);
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
  int64_t end = (int64_t)(f.end / 1000), duration = f.start ? end - (int64_t)(f.start / 1000) : 0;
  int32_t kind = (int32_t)f.kind;
  uint8_t marks = f.links ? MARK_LINKS : 0;
  if (kind < 0 || kind > CONSUMER) kind = 0;
  if (kind >= CLIENT && (combined = combination(r, attributes, f.attributes) + 1) <= 0) return DECLINED;
  if (f.state.size && (state = numbered(&r->states, &f.state, 1) + 1) <= 0) return DECLINED;
  Row *made = &r->row[row];
  memcpy(&made->high, f.trace.at, 8);
  memcpy(&made->low, f.trace.at + 8, 8);
  memcpy(&made->span, f.span.at, 8);
  made->parent = 0;
  if (f.parent.size == 8) memcpy(&made->parent, f.parent.at, 8);
  made->end = end < r->latest_us[record] ? end : r->latest_us[record];
  made->duration = duration < 0 ? 0 : duration > r->longest_us ? r->longest_us : duration;
  made->record = record;
  made->at = (uint32_t)(raw.at - values[record]);
  made->size = (uint32_t)raw.size;
  made->resource = resource;
  made->state = (uint32_t)state;
  made->combination = (uint32_t)combined;
  made->peer = 0;
  made->flags = (uint8_t)(kind | ((int32_t)code == 2 ? ERROR : 0));
  made->marks = marks;
  made->to = 0;
  r->rows++;
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
    for (int64_t ahead = AHEAD; ahead < AHEAD + (int64_t)span.size && ahead < c.end - c.at; ahead += 64) __builtin_prefetch(c.at + ahead);
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
      if (index < 0 && (index = numbered(&r->resources, &resource, 1)) < 0) return DECLINED;
      int64_t failed = scope(r, values, record, (uint32_t)index, scoped);
      if (failed) return failed;
    } else if (!skip(&c, wire)) {
      return DECLINED;
    }
  }
  if (named && index < 0 && numbered(&r->resources, &resource, 1) < 0) return DECLINED;
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

/* Gives numbers anew from here on. */
void forget_distinct(Reading *r) {
  link_keys(&r->keys);
  clear(&r->resources);
  clear(&r->states);
  clear(&r->combinations);
}

/* Fills ``r`` from serialized ExportTraceServiceRequests. 0, DECLINED, or TOO_SMALL where there are more rows than room. */
int64_t read_spans(Reading *r, const uint8_t *const *values, const int64_t *sizes, int64_t count) {
  r->rows = r->spans = r->no_trace_id = r->no_span_id = r->no_end_time = 0;
  clear(&r->states); /* few: those of a chunk are numbered as they come */
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
