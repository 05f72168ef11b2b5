/* Protobuf's wire format, and hashing: what reading needs. Every access is bounded by the cursor of its message. */
#ifndef CTRLPLANE_WIRE_H
#define CTRLPLANE_WIRE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DECLINED = -1, TOO_SMALL = -2 };
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* Kind and marks of a half in its byte of flags, as half.py has them. */
enum { SERVER = 2, CLIENT = 3, PRODUCER = 4, CONSUMER = 5, KIND = 7, ERROR = 8, LINK = 16, LINKED = 32, RECEIVE = 64 };

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

static inline int skip(Cursor *c, unsigned wire) {
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
  if (size) memcpy(&word, at, size);
  return mixed(hash, word);
}

static inline int caller(uint32_t flags) { return (flags & KIND) == CLIENT || (flags & KIND) == PRODUCER; }
static inline int callee(uint32_t flags) { return (flags & KIND) == SERVER || (flags & KIND) == CONSUMER; }

#endif
