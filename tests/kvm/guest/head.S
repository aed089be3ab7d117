/* SPDX-License-Identifier: MIT */
/* A bzImage as far as a loader looks at it (64-bit boot protocol): one boot sector,
 * one setup sector with the header, then the image, entered at its byte 0x200. */
	.section .head, "a"
	.org 0x1f1
	.byte 1			/* setup_sects */
	.word 0
	.long 0
	.word 0, 0, 0
	.word 0xaa55
	.byte 0xeb, 0x66	/* jump: the end of the header */
	.ascii "HdrS"
	.word 0x20f		/* version of the protocol */
	.long 0
	.word 0, 0
	.byte 0, 1		/* loadflags: LOADED_HIGH */
	.word 0
	.long 0x100000		/* code32_start */
	.long 0, 0, 0
	.word 0
	.byte 0, 0
	.long 0
	.long 0x7fffffff	/* initrd_addr_max */
	.long 0x100000		/* kernel_alignment */
	.byte 0, 20
	.word 1			/* xloadflags: XLF_KERNEL_64 */
	.long 2047		/* cmdline_size */
	.long 0
	.quad 0
	.long 0, 0
	.quad 0
	.quad 0x100000		/* pref_address */
	.long 0x200000		/* init_size */
	.long 0
	.org 0x400

	.section .entry, "ax"
	.org 0x200
	.code64
	.globl _start
_start:
	lea	bss_start(%rip), %rdi
	lea	bss_end(%rip), %rcx
	sub	%rdi, %rcx
	xor	%eax, %eax
	rep stosb
	lea	stack_top(%rip), %rsp
	mov	%rsi, %rdi
	call	guest_main
1:	cli
	hlt
	jmp	1b

/* VMBUS_SINT's interrupt */
	.text
	.globl sint_entry
sint_entry:
	push	%rax
	incl	sint_count(%rip)
	mov	$0xfee000b0, %eax
	movl	$0, (%rax)	/* end of interrupt */
	pop	%rax
	iretq

/* #GP: only wrmsr and rdmsr may cause it, two bytes each */
	.globl gp_entry
gp_entry:
	incl	gp_count(%rip)
	addq	$2, 8(%rsp)
	add	$8, %rsp	/* error code */
	iretq

	.bss
	.balign 16
	.skip 16384
stack_top:
	.section .note.GNU-stack, "", @progbits
