/* SPDX-License-Identifier: BSD-3-Clause */

/* What the frontend says of the whole device, passed on; and said again to a backend that comes back. */

#include <errno.h>
#include <string.h>

#include "software_parts.h"

#define BIT(n) (1ull << (n))

static bool
is_negotiated(const struct rp_port *port, int protocol_feature_bit)
{
	return (rp_vhu_frontend_protocol_features(port->software->frontend) & BIT(protocol_feature_bit)) != 0;
}

/* What the backend knows nothing of is the port's own doing (GUEST_ANNOUNCE). */
static uint64_t
its_features(const struct port_software *software, uint64_t features)
{
	uint64_t offered = rp_vhu_frontend_features_offered(software->frontend);

	return (features & offered) | (offered & BIT(RP_VHU_F_PROTOCOL_FEATURES_BIT));
}

static int
tell_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	struct port_software *software = port->software;
	uint64_t told = its_features(software, features);
	bool other = ((software->features_told ^ told) & ~BIT(RP_VHU_F_LOG_ALL_BIT)) != 0;
	int rc = 0;

	if (software->features_known && software->features_told == told)
		return 0;
	/* librte_vhost refuses them while the device runs, if only with parked rings. */
	if (software->features_known && other && port_software_parks(port))
		rc = port_software_stop_device(port, why);
	if (rc == 0)
		rc = port_software_checked(port, rp_vhu_frontend_set_features(software->frontend, told, why));
	if (rc < 0)
		return rc;
	software->features_told = told;
	software->features_known = true;
	return 0;
}

int
port_software_set_features(struct rp_port *port, uint64_t features, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	return rc < 0 ? rc : tell_features(port, features, why);
}

int
port_software_set_memory(struct rp_port *port, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	return rc < 0 ? rc : port_software_memory_tell(port, why);
}

static int
tell_log(struct rp_port *port, struct rp_wire_why *why)
{
	struct rp_vhu_frontend *frontend = port->software->frontend;
	int event_fd = rp_vhu_backend_log_fd(port->backend);
	struct rp_vhu_shared_file file;
	int rc;

	if (rp_vhu_backend_log_file(port->backend, &file) < 0)
		return 0; /* it ends with the connection */
	if (!is_negotiated(port, RP_VHU_PF_LOG_SHMFD_BIT))
		return rp_wire_why_set(why, -ENOTSUP, "log: the software backend has no LOG_SHMFD");
	rc = rp_vhu_frontend_set_log_base(frontend, file.fd, file.size_bytes, file.offset_bytes, why);
	if (rc == 0 && event_fd >= 0)
		rc = rp_vhu_frontend_set_log_fd(frontend, event_fd, why);
	return port_software_checked(port, rc);
}

int
port_software_set_log(struct rp_port *port, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	return rc < 0 ? rc : tell_log(port, why);
}

static int
tell_inflight(struct rp_port *port, struct rp_wire_why *why)
{
	struct rp_vhu_frontend_inflight inflight = {0};
	struct rp_vhu_shared_file file;

	if (!is_negotiated(port, RP_VHU_PF_INFLIGHT_SHMFD_BIT) ||
	    rp_vhu_backend_inflight_file(port->backend, &file, &inflight.queues_count, &inflight.queue_num) < 0)
		return 0;
	inflight.fd = file.fd;
	inflight.size_bytes = file.size_bytes;
	inflight.offset_bytes = file.offset_bytes;
	return port_software_checked(port, rp_vhu_frontend_set_inflight(port->software->frontend, &inflight, why));
}

int
port_software_set_inflight(struct rp_port *port, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	return rc < 0 ? rc : tell_inflight(port, why);
}

int
port_software_get_inflight(struct rp_port *port, uint16_t queues_count, uint16_t queue_num, int *ret_fd,
			   uint64_t *ret_size_bytes, uint64_t *ret_offset_bytes, struct rp_wire_why *why)
{
	struct rp_vhu_frontend_inflight inflight = {.fd = -1};
	int rc = port_software_not_there(port, why);

	if (rc == 0)
		rc = port_software_checked(port, rp_vhu_frontend_get_inflight(port->software->frontend, queues_count,
									      queue_num, &inflight, why));
	if (rc < 0)
		return rc;
	*ret_fd = inflight.fd;
	*ret_size_bytes = inflight.size_bytes;
	*ret_offset_bytes = inflight.offset_bytes;
	return 0;
}

int
port_software_get_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
			 struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	return rc < 0 ? rc :
			port_software_checked(port, rp_vhu_frontend_get_config(port->software->frontend, offset_bytes,
									       size_bytes, ret_bytes, why));
}

int
port_software_set_config(struct rp_port *port, uint32_t offset_bytes, uint32_t size_bytes, const uint8_t *bytes,
			 uint32_t flags, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	return rc < 0 ? rc :
			port_software_checked(port, rp_vhu_frontend_set_config(port->software->frontend, offset_bytes,
									       size_bytes, bytes,
									       flags == RP_VHU_CONFIG_MIGRATION, why));
}

static int
tell_mtu(struct rp_port *port, struct rp_wire_why *why)
{
	uint16_t mtu_bytes = port->software->mtu_bytes;

	if (mtu_bytes == 0 || !is_negotiated(port, RP_VHU_PF_MTU_BIT))
		return 0;
	return port_software_checked(port, rp_vhu_frontend_set_mtu(port->software->frontend, mtu_bytes, why));
}

int
port_software_set_mtu(struct rp_port *port, uint16_t mtu_bytes, struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	if (port->software == NULL)
		return rc;
	port->software->mtu_bytes = mtu_bytes;
	return rc < 0 ? rc : tell_mtu(port, why);
}

int
port_software_send_rarp(struct rp_port *port, const uint8_t mac[6], struct rp_wire_why *why)
{
	int rc = port_software_not_there(port, why);

	if (rc < 0)
		return rc;
	if (!is_negotiated(port, RP_VHU_PF_RARP_BIT))
		return rp_wire_why_set(why, -ENOTSUP, "SEND_RARP: the software backend has no RARP");
	return port_software_checked(port, rp_vhu_frontend_send_rarp(port->software->frontend, mac, why));
}

int
port_software_replay(struct rp_port *port, struct rp_wire_why *why)
{
	int rc = 0;

	/* The first time ever there is nobody who could have said anything. */
	if (port->backend == NULL)
		return 0;
	if (port->features_acked)
		rc = tell_features(port, port->features, why);
	if (rc == 0 && port->features_acked)
		rc = port_software_memory_tell(port, why);
	if (rc == 0)
		rc = tell_log(port, why);
	if (rc == 0)
		rc = tell_inflight(port, why);
	return rc < 0 ? rc : tell_mtu(port, why);
}
