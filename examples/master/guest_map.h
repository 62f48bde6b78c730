/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GUEST_MAP_H
#define GUEST_MAP_H

/* Where things are in the guest: what guest.c and guest_code.S agree on. All of it is below 1 MiB: real mode. */

#define GUEST_QUEUES_MAX 64

#define GUEST_RAM_BYTES 0x4000
#define GUEST_CODE 0x1000
#define GUEST_STACK_END 0x4000

/* The desk, which the guest and its host share: how many queues, then three counts of each. */
#define GUEST_DESK 0x2000
#define GUEST_QUEUES_BYTES GUEST_DESK /* of one count: 4 for each queue */
#define GUEST_AWAKE (GUEST_DESK + 4) /* not 0: interrupts are counted from now on */
#define GUEST_ASKED (GUEST_DESK + 0x100) /* kicks: written by the host, read by the guest */
#define GUEST_STORED (GUEST_DESK + 0x300) /* kicks: written by the guest, as are all below */
#define GUEST_TAKEN (GUEST_DESK + 0x500) /* interrupts */

/* A page for each queue: its notify area, where one is mapped; else nothing, and an ioeventfd. */
#define GUEST_DOORBELLS 0x10000
#define GUEST_DOORBELL_BYTES 0x1000

/* The host's own interrupt, "look at the desk", comes behind those of the queues. */
#define GUEST_VECTORS 0x20
#define GUEST_VECTOR_SPURIOUS 0xff
#define GUEST_ASK GUEST_QUEUES_MAX
#define GUEST_HANDLER_BYTES 8

/* A write there says: something was done, look. */
#define GUEST_PORT_DONE 0x10

/* The local APIC; virtio's guests know it from ACPI, this one finds it behind %fs. */
#define GUEST_APIC 0xfee00000
#define GUEST_APIC_EOI 0xb0
#define GUEST_APIC_SPURIOUS 0xf0

#endif
