// The guest that shows whether KVM runs guests here, for the start of a BIOS image: real mode, protected mode, long mode, an
// interrupt return in each of the latter, and out to isa-debug-exit. Emulators that do not virtualize (kvm-pvm, and KVM's own
// when it has to emulate) run real mode and stop at the interrupt return in protected mode, which boot loaders and kernels need.
//
//	as --64 -o probe.o probe.S && objcopy -O binary -j .text probe.o probe.bin
//
// The image is in the last 64 KiB below 4 GiB, where the CPU starts, and in those below 1 MiB, where this goes on.
.set low, 0xf0000
.code16
start:
	cli
	data32 lgdt %cs:gdtr - start
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $8, $low + (pm - start)
.balign 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00af9b000000ffff
gdtr:
	.word 31
	.long low + (gdt - start)
.code32
pm:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $0x8000, %esp
	pushfl
	pushl $8
	pushl $low + (back - start)
	iretl
back:
	mov $0x10000, %edi
	xor %eax, %eax
	mov $0xc00, %ecx
	cld
	rep stosl
	movl $0x11003, 0x10000
	movl $0x12003, 0x11000
	movl $0x83, 0x12000
	mov $0x10000, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $0x20, %eax
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	ljmp $24, $low + (lm - start)
.code64
lm:
	mov $0x8000, %esp
	pushq $16
	pushq $0x8000
	pushfq
	pushq $24
	pushq $low + (done - start)
	iretq
done:
	mov $42, %al
	out %al, $0xf4
	hlt
