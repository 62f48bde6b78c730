/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vfu_pci.h"

#define CLASS_CODE_MAX 0xffffffu

int
vfu_pci_describe(struct rp_vfu_pci *pci, int rc, const struct rp_wire_why *reason, struct rp_wire_why *why)
{
	if (rc == 0)
		return 0;
	if (pci->failed.error == 0 && pci->server == NULL) {
		pci->failed = *reason;
		pci->failed.error = rc;
	}
	return rp_wire_why_set(why, rc, "%s", reason->text);
}

int
vfu_pci_check_open(const struct rp_vfu_pci *pci, struct rp_wire_why *why)
{
	if (pci->server == NULL)
		return 0;
	return rp_wire_why_set(why, -EBUSY, "the function listens already: its description is complete");
}

static void
put_header(struct rp_vfu_pci *pci, const struct rp_vfu_pci_config *config)
{
	vfu_pci_config_put(pci, PCI_VENDOR_ID, 2, config->vendor_id, 0);
	vfu_pci_config_put(pci, PCI_DEVICE_ID, 2, config->device_id, 0);
	vfu_pci_config_put(pci, PCI_COMMAND, 2, 0, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	vfu_pci_config_put(pci, PCI_CLASS_REVISION, 4, config->class_code << 8 | config->revision, 0);
	vfu_pci_config_put(pci, PCI_CACHE_LINE_SIZE, 1, 0, 0xff);
	/* PCIe 3.0, 7.5.1.3: hardwired there. */
	vfu_pci_config_put(pci, PCI_LATENCY_TIMER, 1, 0, config->express ? 0 : 0xff);
	vfu_pci_config_put(pci, PCI_SUBSYSTEM_VENDOR_ID, 2, config->subsystem_vendor_id, 0);
	vfu_pci_config_put(pci, PCI_SUBSYSTEM_ID, 2, config->subsystem_id, 0);
	vfu_pci_config_put(pci, PCI_INTERRUPT_LINE, 1, 0, 0xff);
	vfu_pci_config_put(pci, PCI_INTERRUPT_PIN, 1, config->intx, 0);
}

int
rp_vfu_pci_create(const struct rp_vfu_pci_config *config, const struct rp_vfu_pci_ops *ops, void *ctx,
		  struct rp_vfu_pci **ret_pci, struct rp_wire_why *why)
{
	struct rp_vfu_pci *pci;

	if (config->class_code > CLASS_CODE_MAX)
		return rp_wire_why_set(why, -EINVAL, "class_code: 0x%x, expected 24 bits", config->class_code);
	pci = calloc(1, sizeof(*pci));
	if (pci == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a PCI function");
	pci->ops = *ops;
	pci->ctx = ctx;
	pci->server_config = config->server;
	pci->size_bytes = config->express ? VFU_PCIE_CONFIG_BYTES : VFU_PCI_CONFIG_BYTES;
	pci->intx = config->intx;
	put_header(pci, config);
	*ret_pci = pci;
	return 0;
}

struct rp_vfu_pci *
rp_vfu_pci_destroy(struct rp_vfu_pci *pci)
{
	uint32_t i;

	if (pci == NULL)
		return NULL;
	rp_vfu_server_destroy(pci->server);
	for (i = 0; i < RP_VFU_PCI_IRQS_COUNT; i++)
		vfu_pci_vectors_fini(&pci->irqs[i]);
	vfu_pci_msix_fini(pci);
	free(pci);
	return NULL;
}

int
vfu_pci_reset(struct rp_vfu_pci *pci, enum rp_vfu_pci_reset kind)
{
	int rc = 0;

	if (rp_vfu_pci_is_bus_master(pci)) {
		pci->bytes[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MASTER;
		if (pci->ops.bus_master != NULL)
			pci->ops.bus_master(pci->ctx, false);
	}
	if (pci->ops.reset != NULL)
		rc = pci->ops.reset(pci->ctx, kind);
	pci->intx_asserted = false;
	pci->intx_disabled = false;
	memcpy(pci->bytes, pci->initial, pci->size_bytes);
	vfu_pci_msix_reset(pci);
	vfu_pci_vectors_reset(pci);
	return rc;
}

static int
on_reset(void *ctx)
{
	return vfu_pci_reset(ctx, RP_VFU_PCI_RESET_DEVICE);
}

static int
on_quiesce(void *ctx, uint64_t token)
{
	struct rp_vfu_pci *pci = ctx;

	return pci->ops.quiesce(pci->ctx, token);
}

static int
on_change_state(void *ctx, enum rp_vfu_mig_state from, enum rp_vfu_mig_state to)
{
	struct rp_vfu_pci *pci = ctx;

	return pci->server_config.migration.change_state(pci->ctx, from, to);
}

static int
on_data_out(void *ctx, uint8_t *ret_bytes, uint32_t room_bytes, uint32_t *ret_count_bytes)
{
	struct rp_vfu_pci *pci = ctx;

	return pci->server_config.migration.data_out(pci->ctx, ret_bytes, room_bytes, ret_count_bytes);
}

static int
on_data_in(void *ctx, const uint8_t *bytes, uint32_t count_bytes)
{
	struct rp_vfu_pci *pci = ctx;

	return pci->server_config.migration.data_in(pci->ctx, bytes, count_bytes);
}

static void
on_irq_changed(void *ctx, uint32_t irq_index, uint32_t vector, int eventfd)
{
	vfu_pci_irq_changed(ctx, irq_index, vector, eventfd);
}

static void
on_dma_changed(void *ctx)
{
	struct rp_vfu_pci *pci = ctx;

	if (pci->ops.dma_changed != NULL)
		pci->ops.dma_changed(pci->ctx);
}

static void
on_connected(void *ctx)
{
	struct rp_vfu_pci *pci = ctx;

	if (pci->ops.connected != NULL)
		pci->ops.connected(pci->ctx);
}

static void
on_leaving(void *ctx)
{
	struct rp_vfu_pci *pci = ctx;

	if (pci->ops.leaving != NULL)
		pci->ops.leaving(pci->ctx);
}

static void
on_disconnected(void *ctx, const struct rp_wire_why *why)
{
	struct rp_vfu_pci *pci = ctx;

	if (pci->ops.disconnected != NULL)
		pci->ops.disconnected(pci->ctx, why);
}

static void
on_refused(void *ctx, const struct rp_wire_why *why)
{
	struct rp_vfu_pci *pci = ctx;

	if (pci->ops.refused != NULL)
		pci->ops.refused(pci->ctx, why);
}

static void
describe_irqs(const struct rp_vfu_pci *pci, struct rp_vfu_irq_type *ret_irqs)
{
	static const uint32_t messages[] = {RP_VFU_PCI_MSI_IRQ, RP_VFU_PCI_MSIX_IRQ};
	uint32_t i;

	memset(ret_irqs, 0, RP_VFU_PCI_IRQS_COUNT * sizeof(*ret_irqs));
	/* A level: its eventfd says that it rose, and the client masks it until the guest is done. */
	if (pci->intx)
		ret_irqs[RP_VFU_PCI_INTX_IRQ] =
			(struct rp_vfu_irq_type){1, RP_VFU_IRQ_FLAG_EVENTFD_MASK | RP_VFU_IRQ_FLAG_MASKABLE_MASK |
							    RP_VFU_IRQ_FLAG_AUTOMASKED_MASK};
	for (i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		uint32_t count = pci->irqs[messages[i]].count;

		if (count > 0)
			ret_irqs[messages[i]] = (struct rp_vfu_irq_type){count, RP_VFU_IRQ_FLAG_EVENTFD_MASK |
											RP_VFU_IRQ_FLAG_NORESIZE_MASK};
	}
}

/* Ours in the place of the author's; what is missing stays missing. */
static void
wrap_migration(struct rp_vfu_migration *migration)
{
	if (migration->change_state != NULL)
		migration->change_state = on_change_state;
	if (migration->data_out != NULL)
		migration->data_out = on_data_out;
	if (migration->data_in != NULL)
		migration->data_in = on_data_in;
}

int
rp_vfu_pci_listen(struct rp_vfu_pci *pci, const char *socket_path, struct rp_wire_why *why)
{
	struct rp_vfu_region regions[RP_VFU_PCI_REGIONS_COUNT];
	struct rp_vfu_irq_type irqs[RP_VFU_PCI_IRQS_COUNT];
	struct rp_vfu_server_config config = pci->server_config;
	const struct rp_vfu_server_ops ops = {
		.reset = on_reset,
		.quiesce = pci->ops.quiesce != NULL ? on_quiesce : NULL,
		.irq_changed = on_irq_changed,
		.dma_changed = on_dma_changed,
		.connected = on_connected,
		.leaving = on_leaving,
		.disconnected = on_disconnected,
		.refused = on_refused,
	};
	uint32_t i;
	int rc = vfu_pci_check_open(pci, why);

	if (rc < 0)
		return rc;
	if (pci->failed.error != 0)
		return rp_wire_why_set(why, pci->failed.error, "%s", pci->failed.text);
	for (i = 0; i < RP_VFU_PCI_REGIONS_COUNT; i++)
		regions[i] = (struct rp_vfu_region){.fd = -1};
	for (i = 0; i < RP_VFU_PCI_BARS_COUNT; i++)
		vfu_pci_bar_region(pci, i, &regions[i]);
	regions[RP_VFU_PCI_CONFIG_REGION] = (struct rp_vfu_region){.size_bytes = pci->size_bytes,
								   .readable = true,
								   .writable = true,
								   .fd = -1,
								   .read = vfu_pci_config_read,
								   .write = vfu_pci_config_write};
	describe_irqs(pci, irqs);
	config.socket_path = socket_path;
	config.regions_count = RP_VFU_PCI_REGIONS_COUNT;
	config.regions = regions;
	config.irqs_count = RP_VFU_PCI_IRQS_COUNT;
	config.irqs = irqs;
	config.pci = true;
	config.resettable = pci->ops.reset != NULL;
	wrap_migration(&config.migration);
	/* The first values are complete. */
	memcpy(pci->initial, pci->bytes, sizeof(pci->initial));
	return rp_vfu_server_create(&config, &ops, pci, &pci->server, why);
}

struct rp_vfu_server *
rp_vfu_pci_server(const struct rp_vfu_pci *pci)
{
	return pci->server;
}
