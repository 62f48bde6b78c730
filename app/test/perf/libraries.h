/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LIBRARIES_H
#define LIBRARIES_H

#include "count.h"

/* The scenarios' steps, by library; what they do is said where they are. */

void count_vring_open(const struct count_scenario *scenario);
void count_vring_close(void);
void count_vring_prepare(void);
void count_vring_run(void);
void count_vring_burst(void);
void count_vring_settle(void);

void count_dma_open(const struct count_scenario *scenario);
void count_dma_close(void);
void count_dma_translate(void);
void count_dma_change(void);

#endif
