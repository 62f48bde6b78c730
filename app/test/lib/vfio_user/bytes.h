/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BYTES_H
#define BYTES_H

/*
 * Byte vectors, written field by field from the specification's tables and not
 * from our structures, so that both cannot be wrong in the same way. Host order.
 */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define U16(x) (uint8_t)(x), (uint8_t)((x) >> 8)
#define U32(x) U16((uint32_t)(x)), U16((uint32_t)(x) >> 16)
#define U64(x) U32((uint64_t)(x)), U32((uint64_t)(x) >> 32)
#else
#define U16(x) (uint8_t)((x) >> 8), (uint8_t)(x)
#define U32(x) U16((uint32_t)(x) >> 16), U16((uint32_t)(x))
#define U64(x) U32((uint64_t)(x) >> 32), U32((uint64_t)(x))
#endif

/* Message id, command, size with header, flags, error. */
#define HEADER(id, command, size, flags, error) U16(id), U16(command), U32(size), U32(flags), U32(error)

/* Records of replies. */
#define REGION(argsz, flags, index, cap, size, offset)                                                                 \
	U32(argsz), U32(flags), U32(index), U32(cap), U64(size), U64(offset)
#define CAP(id, version, next) U16(id), U16(version), U32(next)
#define SPARSE(count) CAP(1, 1, 0), U32(count), U32(0)
#define AREA(offset, size) U64(offset), U64(size)
#define PLACES(argsz, index, count) U32(argsz), U32(0), U32(index), U32(count)
#define PLACE(offset, size, index, type, flags)                                                                        \
	U64(offset), U64(size), U32(index), U32(type), U32(flags), U32(0), U64(0)

#define COMMAND 0x0
#define REPLY 0x1
#define NO_REPLY 0x10
#define ERROR_REPLY 0x21

#endif
