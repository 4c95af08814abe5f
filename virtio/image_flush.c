#include "virtio/image_flush.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/core/assert.h"

void image_flush_init(struct image_flush *flush)
{
	*flush = (struct image_flush){.running = false};
	pthread_mutex_init(&flush->lock, NULL);
	pthread_cond_init(&flush->done, NULL);
}

/* The lock is held, but not while the file is waited for. */
static void image_flush_once(struct image_flush *flush, image_flush_fn *fn, void *arg)
{
	bool lost = false;
	int ret;

	flush->running = true;
	flush->n_begun++;
	pthread_mutex_unlock(&flush->lock);
	ret = fn(arg, &lost);
	pthread_mutex_lock(&flush->lock);
	flush->running = false;
	flush->lost |= lost;
	flush->result = ret;
	flush->n_done = flush->n_begun;
	pthread_cond_broadcast(&flush->done);
}

int image_flush_run(struct image_flush *flush, image_flush_fn *fn, void *arg, bool *lost)
{
	uint64_t mine;
	int ret;

	pthread_mutex_lock(&flush->lock);
	mine = flush->n_begun + 1;
	while (flush->n_done < mine && !flush->lost) {
		if (flush->running)
			pthread_cond_wait(&flush->done, &flush->lock);
		else
			image_flush_once(flush, fn, arg);
	}
	/* a later one than mine that failed without loss makes mine fail too, which is no lie: it is asked again */
	*lost = flush->lost;
	ret = flush->n_done < mine ? -EIO : flush->result;
	pthread_mutex_unlock(&flush->lock);
	return ret;
}

int image_flush_file(int fd, bool *lost)
{
	int ret;

	do {
		ret = fdatasync(fd);
	} while (ret < 0 && errno == EINTR);
	*lost |= ret < 0;
	return ret < 0 ? -errno : 0;
}

void image_flush_fini(struct image_flush *flush)
{
	assert(!flush->running);
	pthread_cond_destroy(&flush->done);
	pthread_mutex_destroy(&flush->lock);
}
