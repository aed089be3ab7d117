/* SPDX-License-Identifier: MIT */
/* The processor: MSRs that may fault, hypercalls, the SynIC and its interrupt; the
 * console; and the two functions every C compiler calls. */
#include "guest.h"

#define PORT_SERIAL 0x3f8
#define PORT_SLEEP 0x600
#define SLEEP_NOW 0x34 /* S5, enable */
#define LAPIC_SPURIOUS 0xfee000f0u
#define LAPIC_ENABLE 0x1ffu
#define GP_VECTOR 13

#define OS_ID 0x8100000000010000ull /* open source, Linux */
#define ENABLE 1ull

uint8_t simp[PAGE] __attribute__((aligned(PAGE)));
uint8_t siefp[PAGE] __attribute__((aligned(PAGE)));
uint8_t hypercall_page[PAGE] __attribute__((aligned(PAGE)));
volatile uint32_t sint_count, gp_count;

void sint_entry(void);
void gp_entry(void);

void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memset(void *to, int value, size_t len);
int memcmp(const void *a, const void *b, size_t len);

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
	return start;
}

void *memset(void *to, int value, size_t len)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(value) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *left = a, *right = b;

	for (; len && *left == *right; len--)
		left++, right++;
	return len ? *left - *right : 0;
}

/* -- Instructions --------------------------------------------------------- */

void cpuid(uint32_t leaf, uint32_t regs[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
			 : "a"(leaf), "c"(0));
}

bool msr_write(uint32_t index, uint64_t value)
{
	uint32_t faults = gp_count;

	__asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
	return gp_count == faults;
}

bool msr_read(uint32_t index, uint64_t *value)
{
	uint32_t faults = gp_count, low = 0, high = 0;

	__asm__ volatile("rdmsr" : "+a"(low), "+d"(high) : "c"(index) : "memory");
	*value = (uint64_t)high << 32 | low;
	return gp_count == faults;
}

uint16_t hypercall(uint64_t control, uint64_t param)
{
	register uint64_t r8 __asm__("r8") = 0;
	uint64_t status;

	__asm__ volatile("call *%[page]"
			 : "=a"(status), "+c"(control), "+d"(param), "+r"(r8)
			 : [page] "r"((uintptr_t)hypercall_page)
			 : "r9", "r10", "r11", "cc", "memory");
	return (uint16_t)status;
}

/* -- Interrupt ------------------------------------------------------------ */

struct gate {
	uint16_t offset0, selector, flags, offset1;
	uint32_t offset2, reserved;
};
static struct gate idt[256];

static void gate_set(unsigned int vector, void (*entry)(void))
{
	uint64_t address = (uintptr_t)entry;
	uint16_t cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	idt[vector] = (struct gate){
		.offset0 = (uint16_t)address, .selector = cs, .flags = 0x8e00,
		.offset1 = (uint16_t)(address >> 16), .offset2 = (uint32_t)(address >> 32),
	};
}

void interrupts_start(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	gate_set(GP_VECTOR, gp_entry);
	gate_set(SINT_VECTOR, sint_entry);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	*(volatile uint32_t *)(uintptr_t)LAPIC_SPURIOUS = LAPIC_ENABLE;
}

void sint_wait(uint32_t *seen)
{
	__asm__ volatile("cli");
	while (sint_count == *seen)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	*seen = sint_count;
	__asm__ volatile("sti");
}

/* -- SynIC ---------------------------------------------------------------- */

bool hypercall_start(void)
{
	uint64_t value = 0;

	return msr_write(MSR_GUEST_OS_ID, OS_ID) &&
	       msr_write(MSR_HYPERCALL, (uintptr_t)hypercall_page | ENABLE) &&
	       msr_read(MSR_HYPERCALL, &value) && (value & ENABLE);
}

/* In Linux' order. */
bool synic_start(void)
{
	return msr_write(MSR_SIMP, (uintptr_t)simp | ENABLE) &&
	       msr_write(MSR_SIEFP, (uintptr_t)siefp | ENABLE) &&
	       msr_write(MSR_SINT0 + VMBUS_SINT, SINT_VECTOR) && msr_write(MSR_SCONTROL, ENABLE);
}

void synic_stop(void)
{
	msr_write(MSR_SINT0 + VMBUS_SINT, 0x10000 | SINT_VECTOR);
	msr_write(MSR_SIMP, 0);
	msr_write(MSR_SIEFP, 0);
	msr_write(MSR_SCONTROL, 0);
}

/* -- Console -------------------------------------------------------------- */

void print(const char *text)
{
	while (*text)
		outb(PORT_SERIAL, (uint8_t)*text++);
}

void print_number(uint64_t value)
{
	char digits[21];
	unsigned int at = sizeof(digits) - 1;

	digits[at] = '\0';
	do
		digits[--at] = (char)('0' + value % 10);
	while (value /= 10);
	print(&digits[at]);
}

bool expect(const char *name, uint64_t got, uint64_t want)
{
	print(got == want ? "ok " : "not ok ");
	print(name);
	if (got != want) {
		print(": got ");
		print_number(got);
		print(", want ");
		print_number(want);
	}
	print("\n");
	return got == want;
}

void power_off(void)
{
	for (;;) {
		outb(PORT_SLEEP, SLEEP_NOW);
		__asm__ volatile("cli; hlt");
	}
}
