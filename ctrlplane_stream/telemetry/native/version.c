/* Says of which sources the library was compiled. */
#ifndef SOURCE_HASH
#define SOURCE_HASH ""
#endif

/* The first sixteen digits of the SHA-256 of all sources as they were: a library of other ones is not used. */
const char *source_hash(void) { return SOURCE_HASH; }
