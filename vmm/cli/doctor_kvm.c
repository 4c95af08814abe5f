/* KVM: whether it is there for us, and how long it takes. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/doctor.h"

#define KVM_VERSION 12
#define SLOW_US	    5000 /* a VM is made in some hundreds of microseconds where nothing waits */
#define FAVOR	    "sudo mount -o remount,favordynmods /sys/fs/cgroup"

/* Hypervisors tell their guests by this bit (CPUID 1, ECX 31). */
static bool doctor_is_guest(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & (1u << 31));
}

static void doctor_no_kvm(struct doctor *d, const struct vmm_host *host)
{
	const char *why = strerror(-host->kvm_error), *mend = NULL;

	if (host->kvm_error == -EACCES)
		mend = doctor_let_in("/dev/kvm");
	else if (host->kvm_error == -EPERM)
		why = "the container does not let it through (docker run --device /dev/kvm)";
	else if (!host->virtualization)
		why = "the CPU shows neither VT-x nor AMD-V; switch it on in the firmware, or "
		      "nested virtualization in the hypervisor around this machine";
	else if (host->kvm_error == -ENOENT)
		mend = "sudo modprobe -a kvm_intel kvm_amd";
	doctor_find(d, DOCTOR_FAIL, "kvm", mend, "cannot open /dev/kvm: %s", why);
}

static void doctor_check_cpu(struct doctor *d, const struct vmm_host *host)
{
	if (!host->virtualization)
		doctor_find(
			d, DOCTOR_FAIL, "cpu", NULL,
			"neither VT-x nor AMD-V: KVM emulates the guest's kernel, slowly, and "
			"Linux does not boot; switch nested virtualization on in the hypervisor "
			"around this machine");
	else if (doctor_is_guest())
		doctor_find(d, DOCTOR_OK, "cpu", NULL,
			    "virtualization, nested: this host is a virtual machine itself: "
			    "what leaves the guest takes longer");
	else
		doctor_find(d, DOCTOR_OK, "cpu", NULL, "hardware virtualization");
}

/* ---- what the kernel waits for ---- */

/* Changes of cgroups wait for a grace period, unless this is set. */
static bool doctor_has_slow_cgroups(void)
{
	FILE *mounts = fopen("/proc/mounts", "re");
	char line[1024];
	bool slow = false;

	while (mounts && fgets(line, sizeof(line), mounts)) {
		if (strstr(line, " /sys/fs/cgroup cgroup2 "))
			slow = !strstr(line, "favordynmods");
	}
	if (mounts)
		fclose(mounts);
	return slow;
}

/* KVM has a thread for each VM against a flaw of some CPUs; until Linux 6.14 it joins our cgroup while the VM is made. */
static bool doctor_has_recovery_thread(unsigned int version)
{
	char text[16];

	doctor_read("/sys/module/kvm/parameters/nx_huge_pages", text, sizeof(text));
	return text[0] && strcmp(text, "never") != 0 && version < 614;
}

static void doctor_check_start(struct doctor *d, const struct vmm_host *host)
{
	unsigned int version = doctor_linux_version();
	bool slow = host->vm_us > SLOW_US;
	const char *ms = "an empty VM is made in %llu.%llu ms%s";
	const char *mend = NULL, *why = "";

	if (doctor_has_recovery_thread(version) && doctor_has_slow_cgroups()) {
		mend = version >= 600 ? FAVOR : NULL;
		why = "; KVM's thread for huge pages joins the cgroup then, which may take tens of "
		      "milliseconds";
	} else if (version < 611) {
		why = "; Linux before 6.11 waits for all CPUs then, 20 ms and more under load";
	} else if (slow) {
		why = "; the host was busy, or its kernel waits for all CPUs then";
	}
	doctor_find(d, *why ? DOCTOR_WARN : DOCTOR_OK, "start", mend, ms,
		    (unsigned long long)host->vm_us / 1000,
		    (unsigned long long)host->vm_us / 100 % 10, why);
}

void doctor_check_kvm(struct doctor *d)
{
	struct vmm_host host;

	vmm_host_examine(&host);
	if (host.kvm_error) {
		doctor_no_kvm(d, &host);
		return;
	}
	if (host.kvm_version != KVM_VERSION)
		doctor_find(d, DOCTOR_FAIL, "kvm", NULL, "/dev/kvm speaks version %d, not %d",
			    host.kvm_version, KVM_VERSION);
	else if (host.kvm_lacks)
		doctor_find(d, DOCTOR_FAIL, "kvm", NULL, "KVM lacks %s; Linux 4.18 or newer has it",
			    host.kvm_lacks);
	else if (host.vm_error)
		doctor_find(d, DOCTOR_FAIL, "kvm", NULL, "cannot make a virtual machine: %s",
			    strerror(-host.vm_error));
	else
		doctor_find(d, DOCTOR_OK, "kvm", NULL, "/dev/kvm has all that vmm needs");
	doctor_check_cpu(d, &host);
	if (!host.kvm_lacks && host.kvm_version == KVM_VERSION && !host.vm_error)
		doctor_check_start(d, &host);
}
