#include "boot/job.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "boot/initrd.h"
#include "boot/kaslr.h"
#include "boot/kernel_cache.h"
#include "boot/steps.h"
#include "vmm/core/log.h"
#include "vmm/core/thread.h"

/* Of any address, whatever the kernel asks for: it maps itself in pages of that size. */
#define MIN_ALIGN (UINT64_C(2) << 20)

struct boot_job {
	/* immutable once the thread runs */
	const struct guest_mem *mem;
	struct bzimage_unpack unpack;
	char *cache_dir; /* NULL: none */
	bool kaslr;	 /* random virtual addresses */
	uint64_t align;	 /* of them */
	uint64_t random; /* what they are chosen by */
	pthread_t thread;
	/* any thread */
	atomic_bool stop;
	struct steps steps; /* of what is to be done with a whole kernel, for who waits for it */
	/* owned by the thread until it is joined */
	int ret;
	struct image image;
	struct vmlinux vmlinux;
};

static int boot_job_unpack(struct boot_job *job)
{
	int err = vmlinux_unpack(job->mem, &job->unpack.place, &job->unpack.payload, &job->stop,
				 &job->vmlinux);

	if (err == 0)
		log_debug("the kernel is unpacked");
	return err;
}

/* From the cache, or by unpacking, after which it is in the cache. */
static int boot_job_unpack_cached(struct boot_job *job)
{
	const struct vmlinux_place *place = &job->unpack.place;
	const struct codec_input *payload = &job->unpack.payload;
	struct kernel_cache_id id;
	int err = kernel_cache_identify(payload, place, &id);

	if (err < 0)
		return boot_job_unpack(job);
	err = kernel_cache_load(job->cache_dir, &id, job->mem, place, &job->steps, &job->vmlinux);
	if (err == 0) {
		log_debug("the kernel is in the cache, unpacked");
		return 0;
	}
	log_debug("no unpacked kernel in '%s': %s", job->cache_dir, strerror(-err));
	err = boot_job_unpack(job);
	if (err < 0 || atomic_load_explicit(&job->stop, memory_order_relaxed))
		return err;
	err = kernel_cache_store(job->cache_dir, &id, payload, job->mem, place, &job->vmlinux);
	if (err < 0)
		log_debug("the unpacked kernel is not kept in '%s': %s", job->cache_dir,
			  strerror(-err));
	return 0;
}

/* After the cache has got what is in the file. */
static void boot_job_finish(struct boot_job *job)
{
	job->image.entry = job->vmlinux.entry;
	if (job->kaslr && kaslr_relocate(job->mem, &job->unpack.place, &job->vmlinux, job->align,
					 job->random, &job->steps))
		job->image.params.hdr.loadflags |= KASLR_FLAG;
}

static void *boot_job_run(void *arg)
{
	struct boot_job *job = arg;

	job->ret = job->cache_dir ? boot_job_unpack_cached(job) : boot_job_unpack(job);
	if (job->ret == 0)
		boot_job_finish(job);
	else
		log_debug("the kernel is left to unpack itself: %s", strerror(-job->ret));
	steps_end(&job->steps);
	return NULL;
}

static void boot_job_free(struct boot_job *job)
{
	vmlinux_fini(&job->vmlinux);
	steps_fini(&job->steps);
	free(job->cache_dir);
	free(job);
}

static int boot_job_start(struct boot_job *job, const char *cache_dir)
{
	if (cache_dir) {
		job->cache_dir = strdup(cache_dir);
		if (!job->cache_dir)
			return -ENOMEM;
	}
	return thread_start(&job->thread, "vmm-unpack", boot_job_run, job, NULL);
}

static int boot_job_choose_place(struct boot_job *job, const struct boot_config *cfg)
{
	const struct setup_header *hdr = &job->image.params.hdr;
	struct vmlinux_place *place = &job->unpack.place;
	uint64_t random[2];
	uint64_t initrd = 0;
	int err = image_get_random(random, sizeof(random));

	if (err == 0)
		err = initrd_measure(cfg, &initrd);
	if (err < 0)
		return err;
	job->kaslr = true;
	job->align = hdr->kernel_alignment > MIN_ALIGN ? hdr->kernel_alignment : MIN_ALIGN;
	job->random = random[0];
	/* Else the kernel itself shall see where it can be. */
	if (place->load % job->align != 0 || (place->load - place->link) % MIN_ALIGN != 0)
		return -ENOTSUP;
	place->load = kaslr_choose_physical(cfg, place, job->align, initrd,
					    job->image.initrd_max + 1, random[1]);
	place->lowest = image_ram_start(cfg, place->load);
	job->image.start = place->load;
	job->image.end = place->load + place->size;
	return 0;
}

static int boot_job_prepare(struct boot_job *job, const struct boot_config *cfg)
{
	int err = boot_prepare_unpack(job->mem, cfg, &job->image, &job->unpack);

	if (err < 0 || !cfg->kaslr || !job->image.params.hdr.relocatable_kernel ||
	    !kaslr_is_wanted(cfg->cmdline))
		return err;
	return boot_job_choose_place(job, cfg);
}

struct boot_job *boot_begin(const struct guest_mem *mem, const struct boot_config *cfg,
			    const char *cache_dir)
{
	struct boot_job *job = calloc(1, sizeof(*job));
	struct boot_config quiet = *cfg;

	if (!job)
		return NULL;
	quiet.quiet = true;
	job->mem = mem;
	steps_init(&job->steps);
	if (boot_job_prepare(job, &quiet) == 0 && boot_job_start(job, cache_dir) == 0)
		return job;
	boot_job_free(job);
	return NULL;
}

void boot_abandon(struct boot_job *job)
{
	if (!job)
		return;
	atomic_store_explicit(&job->stop, true, memory_order_relaxed);
	pthread_join(job->thread, NULL);
	boot_job_free(job);
}

int boot_job_end(struct boot_job *job, struct image *image)
{
	int ret;

	if (!job)
		return -ENOENT;
	steps_help(&job->steps);
	pthread_join(job->thread, NULL);
	ret = job->ret;
	if (ret == 0)
		*image = job->image;
	boot_job_free(job);
	return ret;
}
