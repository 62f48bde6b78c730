/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "mailbox.h"
#include "rp_wire_fd.h"

struct vs_mailbox {
	struct vs_loop *loop;
	struct vs_source source; /* an eventfd: there is something */
	pthread_mutex_t senders; /* one at a time */
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	void (*call)(void *ctx); /* NULL: nothing to do */
	void *ctx;
	bool ended;
};

static void
on_call(void *ctx)
{
	struct vs_mailbox *mailbox = ctx;
	eventfd_t ignored;

	eventfd_read(mailbox->source.fd, &ignored);
	pthread_mutex_lock(&mailbox->lock);
	if (mailbox->call != NULL) {
		mailbox->call(mailbox->ctx);
		mailbox->call = NULL;
		pthread_cond_broadcast(&mailbox->changed);
	}
	pthread_mutex_unlock(&mailbox->lock);
}

int
vs_mailbox_create(struct vs_loop *loop, struct vs_mailbox **ret_mailbox)
{
	struct vs_mailbox *mailbox = calloc(1, sizeof(*mailbox));
	int rc;

	if (mailbox == NULL)
		return -ENOMEM;
	mailbox->loop = loop;
	mailbox->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	mailbox->source.ready = on_call;
	mailbox->source.ctx = mailbox;
	pthread_mutex_init(&mailbox->senders, NULL);
	pthread_mutex_init(&mailbox->lock, NULL);
	pthread_cond_init(&mailbox->changed, NULL);
	rc = mailbox->source.fd < 0 ? -errno : vs_loop_add(loop, &mailbox->source);
	if (rc < 0) {
		vs_mailbox_destroy(mailbox);
		return rc;
	}
	*ret_mailbox = mailbox;
	return 0;
}

struct vs_mailbox *
vs_mailbox_destroy(struct vs_mailbox *mailbox)
{
	if (mailbox == NULL)
		return NULL;
	vs_loop_remove(mailbox->loop, &mailbox->source);
	rp_wire_fd_close(&mailbox->source.fd);
	pthread_cond_destroy(&mailbox->changed);
	pthread_mutex_destroy(&mailbox->lock);
	pthread_mutex_destroy(&mailbox->senders);
	free(mailbox);
	return NULL;
}

void
vs_mailbox_end(struct vs_mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->ended = true;
	pthread_cond_broadcast(&mailbox->changed);
	pthread_mutex_unlock(&mailbox->lock);
}

int
vs_mailbox_call(struct vs_mailbox *mailbox, void (*call)(void *ctx), void *ctx)
{
	int rc;

	pthread_mutex_lock(&mailbox->senders);
	pthread_mutex_lock(&mailbox->lock);
	mailbox->call = call;
	mailbox->ctx = ctx;
	eventfd_write(mailbox->source.fd, 1);
	while (mailbox->call != NULL && !mailbox->ended)
		pthread_cond_wait(&mailbox->changed, &mailbox->lock);
	rc = mailbox->call == NULL ? 0 : -ECANCELED;
	mailbox->call = NULL;
	pthread_mutex_unlock(&mailbox->lock);
	pthread_mutex_unlock(&mailbox->senders);
	return rc;
}
