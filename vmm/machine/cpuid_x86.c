/*
 * CPUID of the guest: the host CPU's features as KVM passes them on, with what depends on the number of vCPUs
 * rewritten. The guest sees one package with one core for each vCPU and one thread for each core; APIC ids count
 * from 0. VT-x and AMD-V are hidden: they would open all of KVM's nested virtualization to the guest. Leaf numbers and fields: Intel SDM volume 2, AMD APM volume 3; 0x4000_00xx: Documentation/virt/kvm.
 */
#include "vmm/machine/vcpu.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/platform/x86.h>
#include <asm/kvm_para.h>

#define CPUID_1_ECX_VMX		 (1u << 5)
#define CPUID_1_ECX_X2APIC	 (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_HYPERVISOR	 (1u << 31)
#define CPUID_1_EDX_HTT		 (1u << 28)
#define CPUID_80000001_ECX_SVM	 (1u << 2)
#define CPUID_6_EAX_ARAT	 (1u << 2)

/* Those of AMX. */
#define CPUID_7_0_EDX_AMX	  (1u << 22 | 1u << 24 | 1u << 25) /* BF16, TILE, INT8 */
#define CPUID_7_1_EAX_AMX_FP16	  (1u << 21)
#define CPUID_7_1_EDX_AMX_COMPLEX (1u << 8)
#define CPUID_D_1_EAX_XFD	  (1u << 4)
#define XFEATURE_XTILE_CFG	  17
#define XFEATURE_XTILE_DATA	  18

/* A leaf that KVM does not list but the timing leaf of hypervisors needs. */
#define CPUID_HV_TIMING (KVM_CPUID_SIGNATURE + 0x10)

#define CPUID_MAX_ENTRIES 256

/*
 * What libc has read when the program began: where the host is a virtual machine itself, each CPUID takes microseconds. It reads what is
 * above 0x80000000 of CPUs alone whose vendor it knows.
 */
static bool cpuid_of_host(unsigned int libc_index, unsigned int function, unsigned int regs[4])
{
	memcpy(regs, __x86_get_cpuid_feature_leaf(libc_index)->cpuid_array, 4 * sizeof(regs[0]));
	return regs[0] != 0 || __get_cpuid(function, &regs[0], &regs[1], &regs[2], &regs[3]) != 0;
}

bool vcpu_host_has_virtualization(void)
{
	unsigned int regs[4];

	if (cpuid_of_host(CPUID_INDEX_1, 1, regs) && (regs[2] & CPUID_1_ECX_VMX))
		return true;
	return cpuid_of_host(CPUID_INDEX_80000001, 0x80000001, regs) &&
	       (regs[2] & CPUID_80000001_ECX_SVM);
}

unsigned int vcpu_host_address_bits(void)
{
	unsigned int regs[4];

	return cpuid_of_host(CPUID_INDEX_80000008, 0x80000008, regs) ? regs[0] & 0xff : 36;
}

static struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *cpuid, uint32_t function,
					   uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == function && cpuid->entries[i].index == index)
			return &cpuid->entries[i];
	}
	return NULL;
}

static void cpuid_clear(struct kvm_cpuid_entry2 *e)
{
	e->eax = e->ebx = e->ecx = e->edx = 0;
}

static void cpuid_hide_amx_in(struct kvm_cpuid_entry2 *e)
{
	switch (e->function) {
	case 0x7:
		if (e->index == 0) {
			e->edx &= ~CPUID_7_0_EDX_AMX;
		} else if (e->index == 1) {
			e->eax &= ~CPUID_7_1_EAX_AMX_FP16;
			e->edx &= ~CPUID_7_1_EDX_AMX_COMPLEX;
		}
		break;
	case 0xd:
		if (e->index == 0)
			e->eax &= ~(1u << XFEATURE_XTILE_CFG);
		else if (e->index == 1)
			e->eax &= ~CPUID_D_1_EAX_XFD;
		else if (e->index == XFEATURE_XTILE_CFG || e->index == XFEATURE_XTILE_DATA)
			cpuid_clear(e);
		break;
	case 0x1d:
	case 0x1e:
		cpuid_clear(e);
		break;
	}
}

/*
 * KVM gives AMX's XTILE_DATA to a process that asks for it (ARCH_REQ_XCOMP_GUEST_PERM), which vmm does not: KVM_GET_XSAVE
 * has no room for it. Without it Linux before 6.4 leaves XTILE_CFG, which nobody may switch on alone, and all versions
 * leave the instructions.
 */
static void cpuid_hide_amx(struct kvm_cpuid2 *cpuid)
{
	const struct kvm_cpuid_entry2 *xcr0 = cpuid_find(cpuid, 0xd, 0);

	if (xcr0 && xcr0->eax & 1u << XFEATURE_XTILE_DATA)
		return;
	for (uint32_t i = 0; i < cpuid->nent; i++)
		cpuid_hide_amx_in(&cpuid->entries[i]);
}

int vcpu_cpuid_supported(const struct vm *vm, struct kvm_cpuid2 **supported)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX_ENTRIES * sizeof(cpuid->entries[0]));
	int err;

	*supported = cpuid;
	if (cpuid) {
		/* Two places stay free for leaves that are added below. */
		cpuid->nent = CPUID_MAX_ENTRIES - 2;
		if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0) {
			cpuid_hide_amx(cpuid);
			return 0;
		}
	}
	err = -errno;
	log_failure(err, "cannot learn what this host's KVM supports");
	free(cpuid);
	*supported = NULL;
	return err == -ENOMEM ? err : -ENOTSUP;
}

struct cpuid_topology {
	const struct vm *vm;
	uint32_t apic_id;
	uint32_t n_vcpus;
	uint32_t core_bits; /* bits of the APIC id that tell cores apart */
	uint32_t tsc_khz;
};

static uint32_t cpuid_bits_for(uint32_t n)
{
	return n > 1 ? 32 - (uint32_t)__builtin_clz(n - 1) : 0;
}

static void cpuid_features(struct kvm_cpuid_entry2 *e, const struct cpuid_topology *t)
{
	uint32_t logical = 1u << t->core_bits;

	/* Initial APIC id, logical processors in the package; CLFLUSH and brand stay. */
	e->ebx = (e->ebx & 0xffff) | (logical < 255 ? logical : 255) << 16 | t->apic_id << 24;
	e->ecx |= CPUID_1_ECX_HYPERVISOR | CPUID_1_ECX_X2APIC;
	e->ecx &= ~CPUID_1_ECX_VMX;
	/* KVM emulates it with its local APIC, but does not list it everywhere. */
	if (ioctl(t->vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		e->ecx |= CPUID_1_ECX_TSC_DEADLINE;
	e->edx &= ~CPUID_1_EDX_HTT;
	if (t->n_vcpus > 1)
		e->edx |= CPUID_1_EDX_HTT;
}

/* Leaf 4 and 0x8000001d: how many threads share a cache. Levels 1 and 2 are a core's own, 3 is the package's. */
static void cpuid_cache(struct kvm_cpuid_entry2 *e, const struct cpuid_topology *t)
{
	uint32_t level = e->eax >> 5 & 7;
	uint32_t sharing = level >= 3 ? (1u << t->core_bits) - 1 : 0;

	if ((e->eax & 0x1f) == 0)
		return;
	e->eax = (e->eax & ~(0xfffu << 14)) | (sharing & 0xfff) << 14;
	if (e->function == 4)
		e->eax = (e->eax & 0x03ffffff) | (((1u << t->core_bits) - 1) & 0x3f) << 26;
}

/* Leaf 0xb: one thread a core, then the cores of the package. */
static void cpuid_x2apic_topology(struct kvm_cpuid_entry2 *e, const struct cpuid_topology *t)
{
	e->edx = t->apic_id;
	e->ecx = e->index;
	switch (e->index) {
	case 0:
		e->eax = 0;
		e->ebx = 1;
		e->ecx |= 1 << 8; /* SMT level */
		break;
	case 1:
		e->eax = t->core_bits;
		e->ebx = t->n_vcpus;
		e->ecx |= 2 << 8; /* core level */
		break;
	default:
		e->eax = 0;
		e->ebx = 0;
	}
}

static void cpuid_timing(struct kvm_cpuid_entry2 *e, const struct cpuid_topology *t)
{
	*e = (struct kvm_cpuid_entry2){.function = CPUID_HV_TIMING,
				       .eax = t->tsc_khz,
				       .ebx = 1000000}; /* local APIC bus, kHz: 1 GHz in KVM */
}

static void cpuid_patch(struct kvm_cpuid_entry2 *e, const struct cpuid_topology *t)
{
	switch (e->function) {
	case 0x1:
		cpuid_features(e, t);
		break;
	case 0x4:
	case 0x8000001d:
		cpuid_cache(e, t);
		break;
	case 0x6:
		e->eax |= CPUID_6_EAX_ARAT; /* KVM's local APIC timer never stops */
		break;
	case 0xb:
		cpuid_x2apic_topology(e, t);
		break;
	case 0x1f:	 /* the same with more levels; without it kernels take 0xb */
	case 0x8000000a: /* SVM's own leaf */
		cpuid_clear(e);
		break;
	case 0x80000001:
		e->ecx &= ~CPUID_80000001_ECX_SVM;
		break;
	case KVM_CPUID_SIGNATURE:
		e->eax = CPUID_HV_TIMING;
		break;
	case 0x80000008: /* AMD: bits of the core id, number of threads less one */
		e->ecx = (e->ecx & ~0xf0ffu) | t->core_bits << 12 | (t->n_vcpus - 1);
		break;
	case 0x8000001e: /* AMD: extended APIC id, core and node; one thread a core */
		e->eax = t->apic_id;
		e->ebx = t->apic_id & 0xff;
		e->ecx = 0;
		e->edx = 0;
		break;
	}
}

/* KVM may list leaf 0xb with its first level only, or not at all where the host has none. */
static void cpuid_add_core_level(struct kvm_cpuid2 *cpuid)
{
	if (!cpuid_find(cpuid, 0xb, 0) || cpuid_find(cpuid, 0xb, 1))
		return;
	cpuid->entries[cpuid->nent++] = (struct kvm_cpuid_entry2){
		.function = 0xb, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
}

int vcpu_x86_set_cpuid(struct vcpu *vcpu, unsigned int n_vcpus, const struct kvm_cpuid2 *supported)
{
	size_t size = sizeof(*supported) + CPUID_MAX_ENTRIES * sizeof(supported->entries[0]);
	int tsc_khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
	struct cpuid_topology t = {.vm = vcpu->vm,
				   .apic_id = vcpu->index,
				   .n_vcpus = n_vcpus,
				   .core_bits = cpuid_bits_for(n_vcpus),
				   .tsc_khz = tsc_khz > 0 ? (uint32_t)tsc_khz : 0};
	struct kvm_cpuid2 *cpuid = malloc(size);
	int err = 0;

	if (!cpuid)
		return -ENOMEM;
	vcpu->tsc_khz = t.tsc_khz;
	memcpy(cpuid, supported, size);
	cpuid_add_core_level(cpuid);
	if (!cpuid_find(cpuid, CPUID_HV_TIMING, 0))
		cpuid_timing(&cpuid->entries[cpuid->nent++], &t);
	for (uint32_t i = 0; i < cpuid->nent; i++)
		cpuid_patch(&cpuid->entries[i], &t);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		err = -errno;
	free(cpuid);
	return err;
}
