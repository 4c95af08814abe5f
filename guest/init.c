#include "guest/init.h"

#include <fcntl.h>
#include <linux/reboot.h>
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <time.h>

/* The kernel starts programs with their arguments on the stack, at a multiple of 16; we have none. */
__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	call init_main\n");

void init_main(void) __attribute__((noreturn));

void init_end(void)
{
	SYS0(sync);
	SYS4(reboot, (int)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART, 0);
	for (;;)
		SYS0(pause);
}

void init_sleep(unsigned int ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	SYS2(nanosleep, &time, 0);
}

/* The kernel has opened the console as the standard descriptors. */
static void init_complain(const char *text, uint32_t error)
{
	char line[512];
	size_t len = text_append(line, sizeof(line), 0, "vmm: the guest's init: cannot ");

	len = text_append(line, sizeof(line), len, text);
	if (error) {
		len = text_append(line, sizeof(line), len, ": error ");
		len = text_append_number(line, sizeof(line), len, error);
	}
	len = text_append(line, sizeof(line), len, "\n");
	SYS3(write, 2, line, len);
	SYS3(ioctl, 2, TCSBRK, 1); /* what is not sent when the machine ends is lost */
}

void init_fail(const char *doing, const char *what, long error)
{
	char text[GUEST_MESSAGE_MAX - sizeof(struct guest_failed)];
	size_t len = text_append(text, sizeof(text), 0, doing);

	if (*what) {
		len = text_append(text, sizeof(text), len, " ");
		text_append(text, sizeof(text), len, what);
	}
	if (channel.control > 0)
		channel_fail(text, (uint32_t)-error, GUEST_FAILED_ITSELF);
	else
		init_complain(text, (uint32_t)-error);
	/* The host ends the machine when it has heard. */
	init_sleep(channel.control > 0 ? 2000 : 0);
	init_end();
}

void init_refuse(const char *text)
{
	channel_fail(text, 0, GUEST_FAILED_WISH);
	init_sleep(2000);
	init_end();
}

static uint64_t init_uptime(void)
{
	struct timespec time = {0};

	SYS2(clock_gettime, CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Returns when that was. */
static uint64_t init_be_ready(void)
{
	struct guest_ready ready = {.version = GUEST_VERSION, .uptime = init_uptime()};

	channel_say(GUEST_READY, &ready, sizeof(ready));
	return ready.uptime;
}

static void init_set_time(const struct guest_start *what, uint64_t ready)
{
	uint64_t ns = what->nanoseconds + guest_start_age(ready, init_uptime());
	struct timespec time = {.tv_sec = (time_t)(what->seconds + ns / 1000000000),
				.tv_nsec = (long)(ns % 1000000000)};

	SYS2(clock_settime, CLOCK_REALTIME, &time);
}

void init_main(void)
{
	static struct init_start start;
	uint64_t ready;

	mounts_begin();
	while ((unsigned long)SYS3(open, "/dev/null", O_RDWR | O_CLOEXEC, 0) < 2)
		; /* a kernel without a console has opened none of the standard descriptors */
	modules_load();
	channel_open();
	ready = init_be_ready();
	channel_receive(&start);
	init_set_time(&start.what, ready);
	SYS2(sethostname, start.host_name, text_len(start.host_name));
	mounts_root(&start);
	mounts_finish(&start);
	net_hosts(&start);
	mounts_share(&start);
	user_find(&start);
	net_begin(&start);
	command_run(&start);
	mounts_end(&start);
	channel_say(GUEST_DONE, NULL, 0);
	for (;;)
		SYS0(pause);
}
