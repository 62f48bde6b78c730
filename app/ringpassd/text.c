/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "text.h"

static bool
is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Bytes of the well-formed, printable character at `at`, 0 when there is none (RFC 3629, section 4). */
static size_t
character_bytes(const unsigned char *at)
{
	if (at[0] < 0x80)
		return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
	if (at[0] >= 0xc2 && at[0] <= 0xdf) {
		/* U+0080 to U+009F are control characters too. */
		return is_continuation(at[1]) && (at[0] != 0xc2 || at[1] >= 0xa0) ? 2 : 0;
	}
	if (!(at[0] >= 0xe0 && at[0] <= 0xf4) || !is_continuation(at[1]) || !is_continuation(at[2]))
		return 0;
	if (at[0] <= 0xef) {
		if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f))
			return 0;
		return 3;
	}
	if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f) || !is_continuation(at[3]))
		return 0;
	return 4;
}

void
rpd_text_clean(const char *text, char *ret_text, size_t size)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t used = 0;

	while (*at != '\0') {
		size_t bytes = character_bytes(at);
		size_t room = size - 1 - used;

		if (room == 0 || bytes > room)
			break;
		if (bytes == 0) {
			ret_text[used++] = '?';
			at++;
			continue;
		}
		memcpy(ret_text + used, at, bytes);
		used += bytes;
		at += bytes;
	}
	ret_text[used] = '\0';
}
