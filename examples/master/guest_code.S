/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The guest: real mode, every segment at 0, but %fs, which is at the local APIC, and %es.
 * It sleeps; an interrupt wakes it; it counts it, rings the doorbells that its host has
 * asked for, says so, and sleeps again. A handler saves nothing and does not return: it
 * begins anew, so that no interrupt between the look at the desk and the hlt is slept over.
 * guest.c copies this to GUEST_CODE; jumps are relative.
 */

#include "guest_map.h"

	.section .rodata
	.code16
	.globl guest_code, guest_code_handlers, guest_code_end

guest_code:
	movl $(0x100 | GUEST_VECTOR_SPURIOUS), %fs:GUEST_APIC_SPURIOUS /* 0x100: on */
	incl GUEST_AWAKE

awake:
	xorw %bx, %bx /* of the queue: its count's place */
each_queue:
	movl GUEST_ASKED(%bx), %eax
	cmpl GUEST_STORED(%bx), %eax
	je next_queue
	movw %bx, %ax
	shrw $2, %ax
	movw %ax, %dx
	shlw $8, %dx
	addw $(GUEST_DOORBELLS >> 4), %dx
	movw %dx, %es
	movw %ax, %es:0 /* the kick: the queue's index, 16 bits (virtio 1.2, 4.1.5.2) */
	incl GUEST_STORED(%bx)
	jmp each_queue
next_queue:
	addw $4, %bx
	cmpw GUEST_QUEUES_BYTES, %bx
	jb each_queue
	outb %al, $GUEST_PORT_DONE
	sti
asleep:
	hlt
	jmp asleep

count:
	popw %bx
	shlw $2, %bx
	incl GUEST_TAKEN(%bx)
	movl $0, %fs:GUEST_APIC_EOI
	movw $GUEST_STACK_END, %sp /* nobody returns */
	jmp awake

/* One for each vector, GUEST_HANDLER_BYTES long: the number of its queue. */
	.balign GUEST_HANDLER_BYTES
guest_code_handlers:
	.set number, 0
	.rept GUEST_QUEUES_MAX + 1
	pushw $number
	jmp count
	.balign GUEST_HANDLER_BYTES
	.set number, number + 1
	.endr
guest_code_end:

	.section .note.GNU-stack, "", @progbits
