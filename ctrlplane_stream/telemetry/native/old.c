/* to go */
#include "wire.h"
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
