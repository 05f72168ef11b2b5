/* Counts by name: calls and errors by weight, roots, and sketches of durations. A name is two words. */
#ifndef CTRLPLANE_COUNTS_H
#define CTRLPLANE_COUNTS_H

#include "wire.h"

typedef struct { uint64_t a, b; } Name;

/* Names, numbered in order of appearance; open addressing over 1 + number. */
typedef struct {
  int64_t count, room;
  Name *name;
  uint32_t *table;
  uint64_t mask;
} Names;

/* The number of a name, or DECLINED where there is no memory. */
int64_t number_of(Names *names, uint64_t a, uint64_t b);
/* The numbers of names among others, which they are added to; 0, or DECLINED where there is no memory. */
int64_t number_names(const Names *names, Names *kept, uint32_t *number);
void free_names(Names *names);

enum { FEW = 7, BLOCK = 32 };

/* The first few values as they came, then a count for each bucket from the block ``base`` on. */
typedef struct {
  uint32_t *dense;
  uint32_t zero;
  uint16_t base, blocks, few, value[FEW];
} Sketch;

typedef struct { int64_t calls, errors; uint32_t weight, next; } Tally; /* next: 1 + number of another of the same name; 0: none */

typedef struct {
  Names names;
  int64_t width;                       /* sketches a name */
  int64_t room, tallies, tally_room;
  uint32_t *tally_of, *roots;          /* by name: 1 + number of its first tally; 0: none */
  Tally *tally;
  Sketch *sketch;                      /* ``width`` a name */
  const int64_t *bounds;               /* the least value of each bucket, ascending, */
  int64_t most;                        /* how many there are, */
  const int32_t *guess;                /* and how many are not above the least value of each highest bit and six bits below it */
  int64_t buckets;                     /* what ``lay_out`` makes: bucket and count one after the other, sketch by sketch, */
  int32_t *index;
  uint32_t *found, *end, *zero;        /* where each ends, and what it has of zero and less */
} Counts;

/* The number of a name, with room for what is counted under it; DECLINED where there is no memory. */
int64_t slot_of(Counts *c, uint64_t a, uint64_t b);
/* Counts a span under a name; 0, or DECLINED where there is no memory. */
int64_t tally(Counts *c, int64_t slot, uint32_t weight, uint32_t flags);
int64_t observe(Counts *c, int64_t slot, int64_t which, int64_t value);
int64_t lay_out(Counts *c);
void free_counts(Counts *c);

#endif
