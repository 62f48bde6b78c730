/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "rp_vhu_msg.h"

/* The message table as the reference page shows it, for the comparison with it. */

static void
print_range(unsigned int least, unsigned int most)
{
	if (least == most)
		printf(" %u |", least);
	else
		printf(" %u to %u |", least, most);
}

static const char *const replies[] = {
	[RP_VHU_REPLY_ACK] = "ack",
	[RP_VHU_REPLY_PAYLOAD] = "payload",
	[RP_VHU_REPLY_STATUS] = "status",
};

static void
print_rows(const struct rp_vhu_msg_row *rows, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct rp_vhu_msg_row *row = &rows[i];

		printf("| %u | %s |", row->id, row->name);
		print_range(row->payload_min_bytes, row->payload_max_bytes);
		print_range(row->fds_min, row->fds_max);
		printf(" %s |", replies[row->reply]);
		if (row->protocol_feature_bit >= 0)
			printf(" %d |", row->protocol_feature_bit);
		else
			printf(" - |");
		printf(" %s |\n", row->implemented ? "yes" : "refused");
	}
}

int
main(void)
{
	print_rows(rp_vhu_msg_rows, rp_vhu_msg_rows_count);
	printf("\n");
	print_rows(rp_vhu_msg_backend_rows, rp_vhu_msg_backend_rows_count);
	printf("\n");
	print_rows(rp_vhu_msg_vfio_rows, RP_VHU_MSG_VFIO_ROWS_COUNT);
	return 0;
}
