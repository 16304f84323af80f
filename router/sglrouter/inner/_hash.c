/* The chain of hashes over a prompt's blocks (blocks.py has the twin and says where blocks end).
 *
 * The hash is XXH3 of 64 bits, with a seed, of more than 240 bytes: written after the
 * specification that comes with xxHash (doc/xxhash_spec.md, 0.2.0), held against its library. */

#include "_hash.h"

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are read as they lie in memory"
#endif

enum { STRIPE = 64, LANES = 8, SECRET = 192, STRIPES = (SECRET - STRIPE) / 8 };
enum { FIRST_SIZE = 512, LAST_SIZE = 4 << 20, PER_SIZE = 16, MOST = 14 * PER_SIZE };
#define PRIME32_1 0x9E3779B1U
#define PRIME32_2 0x85EBCA77U
#define PRIME32_3 0xC2B2AE3DU
#define PRIME64_1 0x9E3779B185EBCA87ULL
#define PRIME64_2 0xC2B2AE3D27D4EB4FULL
#define PRIME64_3 0x165667B19E3779F9ULL
#define PRIME64_4 0x85EBCA77C2B2AE63ULL
#define PRIME64_5 0x27D4EB2F165667C5ULL
#define PRIME_MX1 0x165667919E3779F9ULL

static const uint64_t default_secret[SECRET / 8] = {
    0xbe4ba423396cfeb8, 0x1cad21f72c81017c, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072,
    0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82, 0x8e2443f7744608b8, 0x4c263a81e69035e0,
    0xcb00c391bb52283c, 0xa32e531b8b65d088, 0x4ef90da297486471, 0xd8acdea946ef1938,
    0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8,
    0xc3ebd33483acc5ea, 0xeb6313faffa081c5, 0x49daf0b751dd0d17, 0x9e68d429265516d3,
    0xfca1477d58be162b, 0xce31d07ad1b8f88f, 0x280416958f3acb45, 0x7e404bbbcafbd7af,
};

static uint64_t word(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

static void accumulate(uint64_t *lanes, const uint8_t *data, const uint8_t *secret, size_t stripes)
{
#ifdef __SSE2__ /* the same, four times as fast */
    __m128i sums[LANES / 2];
    memcpy(sums, lanes, STRIPE);
    for (; stripes > 0; stripes--, data += STRIPE, secret += 8)
#pragma GCC unroll 4
        for (int n = 0; n < LANES / 2; n++) {
            __m128i value = _mm_loadu_si128((const __m128i *)data + n);
            __m128i keyed = value ^ _mm_loadu_si128((const __m128i *)secret + n);
            __m128i product = _mm_mul_epu32(keyed, _mm_srli_epi64(keyed, 32));
            __m128i swapped = _mm_shuffle_epi32(value, _MM_SHUFFLE(1, 0, 3, 2));
            sums[n] = _mm_add_epi64(sums[n], _mm_add_epi64(product, swapped));
        }
    memcpy(lanes, sums, STRIPE);
#else
    for (; stripes > 0; stripes--, data += STRIPE, secret += 8)
        for (int n = 0; n < LANES; n++) {
            uint64_t value = word(data + 8 * n), keyed = value ^ word(secret + 8 * n);
            lanes[n ^ 1] += value;
            lanes[n] += (keyed & 0xffffffff) * (keyed >> 32);
        }
#endif
}

static void scramble(uint64_t *lanes, const uint8_t *secret)
{
    for (int n = 0; n < LANES; n++)
        lanes[n] = (lanes[n] ^ lanes[n] >> 47 ^ word(secret + 8 * n)) * PRIME32_1;
}

static uint64_t merge(const uint64_t *lanes, const uint8_t *secret, uint64_t hash)
{
    for (int n = 0; n < LANES; n += 2) {
        uint64_t one = lanes[n] ^ word(secret + 8 * n);
        __uint128_t product = (__uint128_t)one * (lanes[n + 1] ^ word(secret + 8 * n + 8));
        hash += (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    hash = (hash ^ hash >> 37) * PRIME_MX1;
    return hash ^ hash >> 32;
}

/* `size` is more than 240. */
static uint64_t hash_long(const uint8_t *data, size_t size, uint64_t seed)
{
    uint64_t words[SECRET / 8];
    for (int n = 0; n < SECRET / 8; n++)
        words[n] = n % 2 ? default_secret[n] - seed : default_secret[n] + seed;
    const uint8_t *secret = (const uint8_t *)words, *last = secret + SECRET - STRIPE;
    uint64_t lanes[LANES] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3,
                             PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};
    size_t stripes = (size - 1) / STRIPE; /* the last one is taken from the end */
    for (size_t n = 0; n < stripes; n += STRIPES) {
        accumulate(lanes, data + n * STRIPE, secret, stripes - n < STRIPES ? stripes - n : STRIPES);
        if (stripes - n >= STRIPES)
            scramble(lanes, last);
    }
    accumulate(lanes, data + size - STRIPE, last - 7, 1);
    return merge(lanes, secret + 11, size * PRIME64_1);
}

/* (data, start, size, seed) → the hash of each full block in data[start:start + size] and of all
 * before it, packed. */
PyObject *inner_hash_blocks(PyObject *module, PyObject *const *args, Py_ssize_t given)
{
    (void)module;
    char *data;
    Py_ssize_t length;
    if (given != 4) {
        PyErr_SetString(PyExc_TypeError, "hash_blocks takes 4 arguments");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(args[0], &data, &length) < 0)
        return NULL;
    Py_ssize_t start = PyLong_AsSsize_t(args[1]);
    Py_ssize_t size = PyErr_Occurred() ? -1 : PyLong_AsSsize_t(args[2]);
    uint64_t seed = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (start < 0 || start > length || size > length - start) {
        PyErr_SetString(PyExc_ValueError, "the prompt is not inside the data");
        return NULL;
    }
    data += start;
    uint64_t hashes[MOST];
    Py_ssize_t at = 0, count = 0;
    for (Py_ssize_t step = FIRST_SIZE; step <= LAST_SIZE; step *= 2)
        for (int n = 0; n < PER_SIZE && at + step <= size; n++, at += step) {
            seed = hash_long((const uint8_t *)data + at, (size_t)step, seed);
            hashes[count++] = seed;
        }
    return PyBytes_FromStringAndSize((const char *)hashes, 8 * count);
}
