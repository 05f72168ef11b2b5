/* Takes batches of span-halves in, and keeps their halves in order of arrival. No rule of pairing is in here. */
#include "counts.h"
#include "pool.h"

enum { MOST_RUNS = 4096, HIGH = 0, LOW, SPAN, PARENT, END, DURATION, FLAGS, ORIGIN, PEER, WEIGHT, COLUMNS };

/* What ``read_batch`` finds: ``start`` says where each column lies in the value, -1 for a missing one of weights. */
typedef struct {
  int64_t source, through, rows, runs, tables, tables_size;
  int64_t start[COLUMNS];
  uint32_t origins, peers, weights;                     /* how many of each the tables must have */
  int64_t offset[MOST_RUNS], length[MOST_RUNS];
} Batch;

static int numbers(Slice packed, uint64_t most, int64_t *into, int64_t *count) {
  Cursor c = {packed.at, packed.at + packed.size};
  uint64_t value;
  for (*count = 0; c.at < c.end; into[(*count)++] = (int64_t)value)
    if (*count >= MOST_RUNS || !varint(&c, &value) || value > most) return 0;
  return 1;
}

static uint32_t beyond(const uint8_t *column, int64_t rows) {
  uint32_t most = 0, value;
  for (int64_t i = 0; i < rows; i++) {
    memcpy(&value, column + 4 * i, 4);
    most = value > most ? value : most;
  }
  return rows ? most + 1 : 0;
}

static const struct { int column, width; } FIELDS[] = {
  [9] = {HIGH, 8}, [10] = {SPAN, 8}, [11] = {PARENT, 8}, [12] = {END, 8}, [13] = {DURATION, 8},
  [14] = {FLAGS, 1}, [15] = {ORIGIN, 4}, [16] = {PEER, 4}, [17] = {WEIGHT, 4}, [18] = {LOW, 8}};

static int field(Batch *b, unsigned number, Slice raw, const uint8_t *value, int64_t *rows) {
  int64_t lengths;
  switch (number) {
    case 3: return numbers(raw, INT64_MAX, b->offset, &b->runs);
    case 4: return numbers(raw, UINT32_MAX, b->length, &lengths) && lengths == b->runs;
    case 5: b->tables = raw.at - value; b->tables_size = (int64_t)raw.size; return 1;
    default:
      if (number < 9 || number > 18) return 0;
      uint64_t width = (uint64_t)FIELDS[number].width;
      if (raw.size == 0 || raw.size % width != 0 || (*rows >= 0 && raw.size / width != (uint64_t)*rows)) return 0;
      *rows = (int64_t)(raw.size / width);
      b->start[FIELDS[number].column] = raw.at - value;
      return 1;
  }
}

/* Reads a HalfRecord that holds a batch, written as everybody writes it: fields in ascending order, each once. DECLINED for all else. */
int64_t read_batch(const uint8_t *value, int64_t size, Batch *b) {
  Cursor c = {value, value + size};
  unsigned number, wire, last = 0;
  uint64_t scalar;
  Slice raw;
  int64_t rows = -1, sum = 0;
  if (size < 2 || size > INT32_MAX || *c.at++ != 0x0A || !slice(&c, &raw) || c.at != c.end) return DECLINED;
  c.at = raw.at;
  b->source = b->through = b->runs = b->tables = b->tables_size = 0;
  for (int i = 0; i < COLUMNS; i++) b->start[i] = -1;
  for (int seen = 0; c.at < c.end; last = number, seen++) {
    if (!tag(&c, &number, &wire) || number <= last) return DECLINED;
    if (number <= 2) {
      if (wire != VARINT || !varint(&c, &scalar) || scalar > (number == 1 ? UINT32_MAX : (uint64_t)INT64_MAX)) return DECLINED;
      *(number == 1 ? &b->source : &b->through) = (int64_t)scalar;
    } else if (wire != BYTES || !slice(&c, &raw) || !field(b, number, raw, value, &rows)) {
      return DECLINED;
    }
  }
  for (int i = 0; i < WEIGHT; i++)
    if (b->start[i] < 0) return DECLINED;
  for (int64_t i = 0; i < b->runs; i++) sum += b->length[i];
  if (sum != rows) return DECLINED;
  for (int64_t i = 0; i < rows; i++)
    if ((value[b->start[FLAGS] + i] & KIND) > CONSUMER) return DECLINED;
  b->rows = rows;
  b->origins = beyond(value + b->start[ORIGIN], rows);
  b->peers = beyond(value + b->start[PEER], rows);
  b->weights = b->start[WEIGHT] < 0 ? 1 : beyond(value + b->start[WEIGHT], rows);
  return 0;
}

int64_t make_room(Pool *pool, int64_t more) { return reserve(pool, more); }

/* Appends the rows of a batch from ``first`` on; ``origins``, ``peers`` and ``weights`` are the partition's numbers for the batch's. */
int64_t append_halves(
    Pool *pool, const uint8_t *value, const int64_t *start, int64_t rows, int64_t first, int64_t offset,
    const uint32_t *origins, const uint32_t *peers, const uint32_t *weights) {
  if (reserve(pool, rows - first)) return DECLINED;
  Half *h = pool->half + pool->count;
  uint32_t number;
  for (int64_t i = first; i < rows; i++, h++) {
    memcpy(&h->high, value + start[HIGH] + 8 * i, 8);
    memcpy(&h->low, value + start[LOW] + 8 * i, 8);
    memcpy(&h->span, value + start[SPAN] + 8 * i, 8);
    memcpy(&h->parent, value + start[PARENT] + 8 * i, 8);
    memcpy(&h->end, value + start[END] + 8 * i, 8);
    memcpy(&h->duration, value + start[DURATION] + 8 * i, 8);
    h->offset = offset;
    h->flags = value[start[FLAGS] + i];
    memcpy(&number, value + start[ORIGIN] + 4 * i, 4);
    h->origin = origins[number];
    memcpy(&number, value + start[PEER] + 4 * i, 4);
    h->peer = peers[number];
    number = 0;
    if (start[WEIGHT] >= 0) memcpy(&number, value + start[WEIGHT] + 4 * i, 4);
    h->weight = weights[number];
  }
  pool->count += rows - first;
  return 0;
}

/* Moves the halves that end before ``before`` from one pool to another, in order; the rest stay in order. */
int64_t move_ended(Pool *from, int64_t before, Pool *to) {
  int64_t kept = 0, at = 0;
  while (at < from->count && from->half[at].end < before) at++;
  if (at == from->count && to->count == 0) {
    Pool all = *from;
    *from = *to;
    *to = all;
    return 0;
  }
  if (reserve(to, from->count)) return DECLINED;
  memcpy(to->half + to->count, from->half, (size_t)at * sizeof(Half));
  to->count += at;
  for (; at < from->count; at++) {
    if (from->half[at].end < before) to->half[to->count++] = from->half[at];
    else from->half[kept++] = from->half[at];
  }
  from->count = kept;
  return 0;
}

/* Drops the first ``many`` halves. */
void drop_first(Pool *pool, int64_t many) {
  pool->count -= many;
  memmove(pool->half, pool->half + many, (size_t)pool->count * sizeof *pool->half);
}

void free_pool(Pool *pool) {
  free(pool->half);
  *pool = (Pool){0};
}

/* Which numbers the halves have: sets a byte for each. */
void mark_numbers(const Pool *pool, uint8_t *origins, uint8_t *peers, uint8_t *weights) {
  for (int64_t i = 0; i < pool->count; i++) {
    origins[pool->half[i].origin] = 1;
    peers[pool->half[i].peer] = 1;
    weights[pool->half[i].weight] = 1;
  }
}

/* Gives the halves other numbers. */
void renumber(Pool *pool, const uint32_t *origins, const uint32_t *peers, const uint32_t *weights) {
  for (int64_t i = 0; i < pool->count; i++) {
    Half *h = &pool->half[i];
    h->origin = origins[h->origin];
    h->peer = peers[h->peer];
    h->weight = weights[h->weight];
  }
}

/* Numbers the windows, of so many microseconds, that halves end in: a: the window. */
int64_t find_windows(const Pool *pool, int64_t window_us, Names *into) {
  int64_t last = INT64_MIN;
  for (int64_t i = 0; i < pool->count; i++) {
    int64_t window = pool->half[i].end / window_us - (pool->half[i].end % window_us < 0);
    if (window != last && number_of(into, (uint64_t)window, 0) < 0) return DECLINED;
    last = window;
  }
  return 0;
}
