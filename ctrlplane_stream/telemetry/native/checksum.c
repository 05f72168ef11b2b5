/* CRC-32C, which Kafka's batches carry, by the processor's own instruction: a byte a table costs ten times as much. */
#include "wire.h"

#if defined(__x86_64__)
#include <nmmintrin.h>

int64_t counts_crc32c(void) { return __builtin_cpu_supports("sse4.2") ? 1 : 0; }

#define TARGET __attribute__((target("sse4.2")))
#define WORD(crc, word) ((uint32_t)_mm_crc32_u64(crc, word))
#define BYTE(crc, byte) _mm_crc32_u8(crc, byte)
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

int64_t counts_crc32c(void) { return 1; }

#define TARGET
#define WORD(crc, word) __crc32cd(crc, word)
#define BYTE(crc, byte) __crc32cb(crc, byte)
#endif

#ifdef TARGET
/* The checksum of what ``crc`` is that of (0: nothing) with so many bytes after it. */
TARGET uint32_t crc32c(uint32_t crc, const uint8_t *bytes, int64_t from, int64_t to) {
  const uint8_t *at = bytes + from, *end = bytes + to;
  uint64_t word;
  crc = ~crc;
  for (; end - at >= 8; at += 8) {
    memcpy(&word, at, 8);
    crc = WORD(crc, word);
  }
  for (; at < end; at++) crc = BYTE(crc, *at);
  return ~crc;
}
#else
int64_t counts_crc32c(void) { return 0; }

uint32_t crc32c(uint32_t crc, const uint8_t *bytes, int64_t from, int64_t to) { (void)bytes; (void)from; (void)to; return crc; }
#endif
