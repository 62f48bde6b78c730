/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_ACCEL_INFO_H
#define RP_ACCEL_INFO_H

/**
 * @file
 * What a driver claims, in the program that it is built into: a JSON object in a
 * section of the ELF file, for `usertools/ringpass-pmdinfo`. Nothing reads it at run time.
 *
 *     #define NAME "vfio-user"
 *     #define USAGE NAME ",socket=PATH[,timeout_ms=N]"
 *     RP_ACCEL_DRIVER_INFO(vfio_user, NAME, USAGE, RP_ACCEL_PCI_ID(0x1af4, DEVICE_NET));
 *     const struct rp_accel_driver driver = {.name = NAME, .usage = USAGE, ...};
 *
 * The texts are those of the driver's own table, written once. Keys are taken from the
 * usage: those in brackets may be left out. The section holds any number of objects, each ended
 * by a NUL.
 *
 * Threads: constant data; any thread.
 */

#define RP_ACCEL_INFO_SECTION ".ringpass.drivers"

/** A number as the source has it: a literal, or a sum of some. */
#define RP_ACCEL_INFO_NUMBER(number) RP_ACCEL_INFO_NUMBER_(number)
#define RP_ACCEL_INFO_NUMBER_(number) #number

/** A PCI function that the driver takes. Several are joined by a comma: RP_ACCEL_PCI_ID(a, b) "," RP_ACCEL_PCI_ID(a, c). */
#define RP_ACCEL_PCI_ID(vendor, device)                                                                                \
	"{\"vendor\":\"" RP_ACCEL_INFO_NUMBER(vendor) "\",\"device\":\"" RP_ACCEL_INFO_NUMBER(device) "\"}"

/**
 * Put it into the file.
 * @param symbol one C identifier for each driver of a program.
 * @param name @param usage string literals without quotation marks, as in struct rp_accel_driver.
 * @param pci_ids RP_ACCEL_PCI_ID()s joined by ","; "" when it does not go by them.
 */
#define RP_ACCEL_DRIVER_INFO(symbol, name, usage, pci_ids)                                                             \
	static const char rp_accel_info_##symbol[]                                                                     \
		__attribute__((used, retain, aligned(1), section(RP_ACCEL_INFO_SECTION))) =                            \
			"{\"name\":\"" name "\",\"usage\":\"" usage "\",\"pci_ids\":[" pci_ids "]}"

#endif
