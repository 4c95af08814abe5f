/* vmm/machine/vcpu, cpuid_x86: what a vCPU is made with, on a KVM that is made up here, so that it can be of any CPU. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/machine/vcpu.h"

#define CPUID_MAX  32
#define MSR_OF_KVM 0x1880 /* MISC_ENABLE: EMON, neither BTS nor PEBS */

/* What KVM says it supports, and what was set. */
static struct kvm_cpuid_entry2 offered[CPUID_MAX], taken[CPUID_MAX];
static uint32_t n_offered, n_taken;
static uint64_t blocked; /* in KVM_RUN */
static struct kvm_msr_entry msrs[2];
static int n_readable;

static struct kvm_run next_exit; /* of KVM_RUN */
static bool interrupted, kicked; /* what KVM_RUN is at first, and whether by a kick */
static int told_stood;
static uint64_t rip;
static char lines[512]; /* of the log */

static struct vcpu_pause pause_;
static bool failed, crashed;

static void on_failed(void *arg, unsigned int index)
{
	(void)arg;
	(void)index;
	failed = true;
}

static void on_triple_fault(void *arg)
{
	(void)arg;
	crashed = true;
}

static const struct vcpu_host host = {
	.pause = &pause_, .failed = on_failed, .triple_fault = on_triple_fault};
static struct vm vm = {.kvm_fd = -1, .fd = -1};
static struct vcpu vcpu;

static int kvm_create_vcpu(void)
{
	int fd = memfd_create("vcpu", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)vm.run_size), 0);
	return fd;
}

static int offer_error; /* 0: none */

static int kvm_get_supported_cpuid(struct kvm_cpuid2 *cpuid)
{
	ck_assert_uint_ge(cpuid->nent, n_offered);
	errno = offer_error;
	if (errno)
		return -1;
	cpuid->nent = n_offered;
	memcpy(cpuid->entries, offered, sizeof(offered[0]) * n_offered);
	return 0;
}

static int kvm_set_cpuid(const struct kvm_cpuid2 *cpuid)
{
	ck_assert_uint_le(cpuid->nent, CPUID_MAX);
	n_taken = cpuid->nent;
	memcpy(taken, cpuid->entries, sizeof(taken[0]) * n_taken);
	return 0;
}

static int kvm_set_signal_mask(const struct kvm_signal_mask *mask)
{
	ck_assert_uint_eq(mask->len, sizeof(blocked)); /* the kernel takes no other */
	memcpy(&blocked, mask->sigset, sizeof(blocked));
	return 0;
}

/* It stops at the first that it refuses, as KVM does. */
static int kvm_get_msrs(struct kvm_msrs *wanted)
{
	for (int i = 0; i < (int)wanted->nmsrs; i++) {
		wanted->entries[i].data = MSR_OF_KVM;
		if (i >= n_readable)
			return i;
	}
	return (int)wanted->nmsrs;
}

static int kvm_set_msrs(const struct kvm_msrs *set)
{
	ck_assert_uint_eq(set->nmsrs, 2);
	memcpy(msrs, set->entries, sizeof(msrs));
	return 2;
}

static int kvm_run(void)
{
	if (!interrupted) {
		memcpy(vcpu.run, &next_exit, sizeof(next_exit));
		return 0;
	}
	interrupted = false;
	if (kicked)
		pthread_kill(pthread_self(), VCPU_KICK_SIGNAL);
	errno = EINTR;
	return -1;
}

/* The linker has vmm call this one. */
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	(void)fd;
	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	switch (request) {
	case KVM_CREATE_VCPU:
		return kvm_create_vcpu();
	case KVM_GET_SUPPORTED_CPUID:
		return kvm_get_supported_cpuid(arg);
	case KVM_SET_CPUID2:
		return kvm_set_cpuid(arg);
	case KVM_GET_MSRS:
		return kvm_get_msrs(arg);
	case KVM_SET_MSRS:
		return kvm_set_msrs(arg);
	case KVM_GET_TSC_KHZ:
	case KVM_CHECK_EXTENSION:
		return 0;
	case KVM_RUN:
		return kvm_run();
	case KVM_KVMCLOCK_CTRL:
		told_stood++;
		return 0;
	case KVM_GET_REGS:
		((struct kvm_regs *)arg)->rip = rip;
		return 0;
	case KVM_SET_SIGNAL_MASK:
		return kvm_set_signal_mask(arg);
	default:
		errno = ENOTTY;
		return -1;
	}
}

static void offer(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		  uint32_t edx)
{
	ck_assert_uint_lt(n_offered, CPUID_MAX);
	offered[n_offered++] = (struct kvm_cpuid_entry2){.function = function,
							 .index = index,
							 .eax = eax,
							 .ebx = ebx,
							 .ecx = ecx,
							 .edx = edx};
}

static void make(void)
{
	struct kvm_cpuid2 *cpuid;

	ck_assert_int_eq(vcpu_cpuid_supported(&vm, &cpuid), 0);
	ck_assert_int_eq(vcpu_init(&vcpu, &vm, 0, 1, cpuid, &host), 0);
	free(cpuid);
}

static void on_line(void *arg, int level, const char *line)
{
	size_t len = strlen(lines);

	(void)arg;
	(void)level;
	snprintf(lines + len, sizeof(lines) - len, "%s\n", line);
}

static void setup(void)
{
	log_set_sink(on_line, NULL);
	log_set_level(LOG_LEVEL_INFO);
	vm.run_size = (size_t)sysconf(_SC_PAGESIZE);
}

static void teardown(void)
{
	vcpu_fini(&vcpu);
}

/* ---- CPUID ---- */

/* It is listed, and with these values. */
static void must_have(uint32_t function, uint32_t index, uint32_t eax, uint32_t ebx, uint32_t ecx,
		      uint32_t edx)
{
	for (uint32_t i = 0; i < n_taken; i++) {
		const struct kvm_cpuid_entry2 *e = &taken[i];

		if (e->function != function || e->index != index)
			continue;
		ck_assert_uint_eq(e->eax, eax);
		ck_assert_uint_eq(e->ebx, ebx);
		ck_assert_uint_eq(e->ecx, ecx);
		ck_assert_uint_eq(e->edx, edx);
		return;
	}
	ck_abort_msg("leaf %#x, %u is missing", function, index);
}

/* Who makes VMs tells a host without memory from one that cannot. */
START_TEST(offers_that_fail)
{
	struct kvm_cpuid2 *cpuid;

	setup();
	offer_error = _i ? ENOMEM : E2BIG;
	ck_assert_int_eq(vcpu_cpuid_supported(&vm, &cpuid), _i ? -ENOMEM : -ENOTSUP);
	ck_assert_ptr_null(cpuid);
	ck_assert_ptr_nonnull(strstr(lines, strerror(offer_error)));
}
END_TEST

#define ALL    0xffffffffu
#define BIT(n) (1u << (n))

/* A CPU that has it, and anything else. */
static void offer_amx(uint32_t xcr0)
{
	offer(0x7, 0, 1, ALL, ALL, ALL);
	offer(0x7, 1, ALL, ALL, ALL, ALL);
	offer(0x7, 2, ALL, ALL, ALL, ALL);
	offer(0xd, 0, xcr0, 2816, 2816, 0);
	offer(0xd, 1, 0x1f, 2568, 0, 0);
	offer(0xd, 2, 256, 576, 0, 0);
	offer(0xd, 9, 8, 2688, 0, 0);
	offer(0xd, 17, 64, 2752, 2, 0);
	if (xcr0 & BIT(18))
		offer(0xd, 18, 8192, 2816, 6, 0);
	offer(0x1d, 0, 1, 0, 0, 0);
	offer(0x1d, 1, ALL, ALL, ALL, ALL);
	offer(0x1e, 0, 0, 0x4010, 0, 0);
	offer(0x1e, 1, ALL, 0, 0, 0);
}

static void must_have_the_rest(void)
{
	must_have(0x7, 2, ALL, ALL, ALL, ALL);
	must_have(0xd, 2, 256, 576, 0, 0);
	must_have(0xd, 9, 8, 2688, 0, 0);
}

static void must_have_no_amx(void)
{
	must_have(0x7, 0, 1, ALL, ALL, ALL & ~(BIT(22) | BIT(24) | BIT(25)));
	must_have(0x7, 1, ALL & ~BIT(21), ALL, ALL, ALL & ~BIT(8));
	must_have(0xd, 0, 0x2e7, 2816, 2816, 0);
	must_have(0xd, 1, 0xf, 2568, 0, 0);
	must_have(0x1d, 0, 0, 0, 0, 0);
	must_have(0x1d, 1, 0, 0, 0, 0);
	must_have(0x1e, 0, 0, 0, 0, 0);
	must_have(0x1e, 1, 0, 0, 0, 0);
	must_have_the_rest();
}

START_TEST(half_of_amx_is_none)
{
	/* what Linux 5.17 to 6.3 gives, and what later ones do */
	offer_amx(_i == 0 ? 0x2e7 | BIT(17) : 0x2e7);
	make();
	must_have_no_amx();
	must_have(0xd, 17, 0, 0, 0, 0);
}
END_TEST

START_TEST(amx_stays_where_it_is_whole)
{
	offer_amx(0x2e7 | BIT(17) | BIT(18));
	make();
	for (uint32_t i = 0; i < n_offered; i++) {
		const struct kvm_cpuid_entry2 *e = &offered[i];

		must_have(e->function, e->index, e->eax, e->ebx, e->ecx, e->edx);
	}
}
END_TEST

START_TEST(a_cpu_without_xsave_has_no_amx)
{
	offer(0x7, 0, 0, ALL, ALL, ALL);
	make();
	must_have(0x7, 0, 0, ALL, ALL, ALL & ~(BIT(22) | BIT(24) | BIT(25)));
}
END_TEST

/* ---- MSRs ---- */

START_TEST(misc_enable_keeps_what_kvm_has_put_there)
{
	n_readable = _i;
	make();
	ck_assert_uint_eq(msrs[0].index, 0x2ff);
	ck_assert_uint_eq(msrs[0].data, 0x806);
	ck_assert_uint_eq(msrs[1].index, 0x1a0);
	ck_assert_uint_eq(msrs[1].data, (_i == 2 ? MSR_OF_KVM | 1u : 1u));
}
END_TEST

/* ---- signals ---- */

/* The kick, and what must end the process or reach its handler. */
START_TEST(kicks_and_crashes_end_a_run)
{
	static const int open[] = {VCPU_KICK_SIGNAL, SIGSEGV, SIGBUS,  SIGILL,
				   SIGFPE,	     SIGTRAP, SIGABRT, SIGSYS};
	uint64_t want = ~0ull;

	make();
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		want &= ~(1ull << (open[i] - 1));
	/* SIGKILL and SIGSTOP cannot be blocked; libc keeps two for itself */
	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		if (sig != SIGKILL && sig != SIGSTOP && (sig < 32 || sig >= SIGRTMIN))
			ck_assert_msg((blocked >> (sig - 1) & 1) == (want >> (sig - 1) & 1),
				      "signal %d", sig);
	}
}
END_TEST

/* ---- exits ---- */

static const struct {
	uint32_t suberror, ndata;
	const char *lines;
} errors[] = {
	{KVM_INTERNAL_ERROR_DELIVERY_EV, 0,
	 "vCPU 0 cannot go on: KVM's internal error 0x3, at instruction 0\n"},
	{KVM_INTERNAL_ERROR_DELIVERY_EV, 2,
	 "vCPU 0: KVM's error data: 0x100\nvCPU 0: KVM's error data: 0x101\n"
	 "vCPU 0 cannot go on: KVM's internal error 0x3, at instruction 0\n"},
	/* no more than four, whatever their number is said to be */
	{KVM_INTERNAL_ERROR_EMULATION, ~0u,
	 "vCPU 0: KVM's error data: 0x100\nvCPU 0: KVM's error data: 0x101\n"
	 "vCPU 0: KVM's error data: 0x102\nvCPU 0: KVM's error data: 0x103\n"
	 "vCPU 0 cannot go on: KVM cannot emulate an instruction of the guest, error 0x1, at"
	 " instruction 0\n"},
};

static void run_into_error(uint32_t suberror, uint32_t ndata)
{
	make();
	next_exit.exit_reason = KVM_EXIT_INTERNAL_ERROR;
	next_exit.internal.suberror = suberror;
	next_exit.internal.ndata = ndata;
	for (unsigned int i = 0; i < 16; i++)
		next_exit.internal.data[i] = 0x100 + i;
	vcpu_pause_init(&pause_, &vcpu, 1);
	ck_assert_int_eq(vcpu_start(&vcpu, NULL), 0);
	vcpu_join(&vcpu);
	vcpu_pause_fini(&pause_);
}

START_TEST(an_internal_error_is_told_with_its_data)
{
	run_into_error(errors[_i].suberror, errors[_i].ndata);
	ck_assert(failed && !crashed);
	ck_assert_str_eq(lines, errors[_i].lines);
}
END_TEST

/* Intel SDM volume 3, 10.1.4 (first instruction): an INIT of the first CPU. */
START_TEST(without_firmware_its_first_instruction_is_a_reset)
{
	rip = 0xfff0;
	run_into_error(KVM_INTERNAL_ERROR_EMULATION, 2);
	ck_assert(crashed && !failed);
	ck_assert_str_eq(lines, "");
}
END_TEST

START_TEST(another_error_there_is_an_error)
{
	rip = 0xfff0;
	run_into_error(KVM_INTERNAL_ERROR_DELIVERY_EV, 0);
	ck_assert(failed && !crashed);
}
END_TEST

/* Not by a kick: the process was stopped, and goes on. */
START_TEST(a_guest_that_stood_with_its_process_is_told)
{
	interrupted = true;
	kicked = _i == 0;
	run_into_error(KVM_INTERNAL_ERROR_DELIVERY_EV, 0);
	ck_assert(failed && !interrupted);
	ck_assert_int_eq(told_stood, kicked ? 0 : 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine/vcpu");
	TCase *tc = tcase_create("vcpu"), *failing = tcase_create("offers");
	SRunner *runner;
	int n_failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, half_of_amx_is_none, 0, 2);
	tcase_add_test(tc, amx_stays_where_it_is_whole);
	tcase_add_test(tc, a_cpu_without_xsave_has_no_amx);
	tcase_add_loop_test(tc, misc_enable_keeps_what_kvm_has_put_there, 0, 3);
	tcase_add_test(tc, kicks_and_crashes_end_a_run);
	tcase_add_loop_test(tc, an_internal_error_is_told_with_its_data, 0,
			    sizeof(errors) / sizeof(errors[0]));
	tcase_add_test(tc, without_firmware_its_first_instruction_is_a_reset);
	tcase_add_test(tc, another_error_there_is_an_error);
	tcase_add_loop_test(tc, a_guest_that_stood_with_its_process_is_told, 0, 2);
	suite_add_tcase(suite, tc);
	tcase_add_loop_test(failing, offers_that_fail, 0, 2);
	suite_add_tcase(suite, failing);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
