/* SPDX-License-Identifier: MIT */
/* The ports of a machine with hardly any legacy hardware: a 16550A serial port, the
 * CMOS clock, and ACPI's sleep and reset registers. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

#define SLEEP_ENABLE 0x20 /* ACPI 4.8.3.7 */

/* -- Serial port ---------------------------------------------------------- */

#define IER_RX 0x01
#define IER_TX 0x02
#define IIR_NONE 0xc1 /* FIFOs on, nothing pending */
#define IIR_TX 0xc2
#define IIR_RX 0xc4
#define LCR_DLAB 0x80
#define MCR_LOOP 0x10
#define LSR_RX 0x01
#define LSR_TX_EMPTY 0x60
#define MSR_READY 0xb0 /* DCD, DSR, CTS */

static uint8_t serial_iir(const struct serial *serial)
{
	if ((serial->ier & IER_RX) && serial->rx_len)
		return IIR_RX;
	return (serial->ier & IER_TX) && serial->tx_pending ? IIR_TX : IIR_NONE;
}

/* An edge for each thing that became pending: lower, then raise. */
static void serial_irq(struct vm *vm)
{
	vm_irq(vm, IRQ_SERIAL, false);
	if (serial_iir(&vm->serial) != IIR_NONE)
		vm_irq(vm, IRQ_SERIAL, true);
}

static void serial_write(struct vm *vm, uint16_t reg, uint8_t value)
{
	struct serial *serial = &vm->serial;
	bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case 0:
		if (dlab) {
			serial->dll = value;
			break;
		}
		if (!(serial->mcr & MCR_LOOP))
			(void)!write(STDOUT_FILENO, &value, 1);
		serial->tx_pending = true;
		serial_irq(vm);
		break;
	case 1:
		if (dlab) {
			serial->dlm = value;
			break;
		}
		if (!(serial->ier & IER_TX) && (value & IER_TX))
			serial->tx_pending = true;
		serial->ier = value & 0xf;
		serial_irq(vm);
		break;
	case 3:
		serial->lcr = value;
		break;
	case 4:
		serial->mcr = value;
		break;
	case 7:
		serial->scr = value;
		break;
	default:
		break;
	}
}

static uint8_t serial_take(struct vm *vm)
{
	struct serial *serial = &vm->serial;
	uint8_t value;

	if (!serial->rx_len)
		return 0;
	value = serial->rx[serial->rx_head];
	serial->rx_head = (serial->rx_head + 1) % sizeof(serial->rx);
	serial->rx_len--;
	serial_irq(vm);
	return value;
}

static uint8_t serial_iir_read(struct vm *vm)
{
	uint8_t iir = serial_iir(&vm->serial);

	if (iir == IIR_TX) { /* reading it answers it */
		vm->serial.tx_pending = false;
		serial_irq(vm);
	}
	return iir;
}

static uint8_t serial_read(struct vm *vm, uint16_t reg)
{
	struct serial *serial = &vm->serial;
	bool dlab = serial->lcr & LCR_DLAB;

	switch (reg) {
	case 0:
		return dlab ? serial->dll : serial_take(vm);
	case 1:
		return dlab ? serial->dlm : serial->ier;
	case 2:
		return serial_iir_read(vm);
	case 3:
		return serial->lcr;
	case 4:
		return serial->mcr;
	case 5:
		return (uint8_t)(LSR_TX_EMPTY | (serial->rx_len ? LSR_RX : 0));
	case 6: /* looped back: the modem outputs are the inputs (how Linux probes) */
		return serial->mcr & MCR_LOOP ? (uint8_t)((serial->mcr & 0xc) << 4 |
							   (serial->mcr & 2) << 3 |
							   (serial->mcr & 1) << 5) : MSR_READY;
	default:
		return serial->scr;
	}
}

void serial_input(struct vm *vm, const uint8_t *bytes, size_t len)
{
	struct serial *serial = &vm->serial;

	pthread_mutex_lock(&serial->lock);
	while (len-- && serial->rx_len < sizeof(serial->rx)) {
		serial->rx[(serial->rx_head + serial->rx_len) % sizeof(serial->rx)] = *bytes++;
		serial->rx_len++;
	}
	serial_irq(vm);
	pthread_mutex_unlock(&serial->lock);
}

/* -- CMOS clock (MC146818) ------------------------------------------------- */

/* ACPI says that there is none, but Linux reads it all the same, and waits long
 * for one that answers 0xff. */
static uint8_t cmos_read(uint8_t index)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	switch (index) {
	case 0x0: return (uint8_t)tm.tm_sec;
	case 0x2: return (uint8_t)tm.tm_min;
	case 0x4: return (uint8_t)tm.tm_hour;
	case 0x6: return (uint8_t)(tm.tm_wday + 1);
	case 0x7: return (uint8_t)tm.tm_mday;
	case 0x8: return (uint8_t)(tm.tm_mon + 1);
	case 0x9: return (uint8_t)(tm.tm_year % 100);
	case 0xa: return 0x26; /* no update in progress */
	case 0xb: return 0x06; /* 24 hours, binary */
	case 0xd: return 0x80; /* battery is good */
	default: return 0;
	}
}

/* -- All ports ------------------------------------------------------------ */

void ports_init(struct vm *vm)
{
	memset(&vm->serial, 0, sizeof(vm->serial));
	pthread_mutex_init(&vm->serial.lock, NULL);
}

static void serial_access(struct vm *vm, bool out, uint16_t reg, uint8_t *data)
{
	pthread_mutex_lock(&vm->serial.lock);
	if (out)
		serial_write(vm, reg, *data);
	else
		*data = serial_read(vm, reg);
	pthread_mutex_unlock(&vm->serial.lock);
}

static void port_access(struct vm *vm, bool out, uint16_t port, uint8_t *data, uint8_t size)
{
	if (port >= PORT_SERIAL && port < PORT_SERIAL + PORT_SERIAL_LEN) {
		serial_access(vm, out, (uint16_t)(port - PORT_SERIAL), data);
	} else if (vm->ata && port >= PORT_ATA && port < PORT_ATA + PORT_ATA_LEN) {
		ata_access(vm->ata, out, (uint16_t)(port - PORT_ATA), data, size);
	} else if (out && port == PORT_CMOS) {
		vm->cmos_index = *data & 0x7f;
	} else if (!out && port == PORT_CMOS + 1) {
		*data = cmos_read(vm->cmos_index);
	} else if (out && port == PORT_SLEEP) {
		if (*data & SLEEP_ENABLE)
			vm_request(vm, VM_POWER_OFF);
	} else if (out && port == PORT_RESET) {
		vm_request(vm, VM_RESET);
	} else if (!out) {
		memset(data, port == PORT_SLEEP || port == PORT_SLEEP + 1 ? 0 : 0xff, size);
	}
}

void ports_access(struct vm *vm, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t i;

	for (i = 0; i < run->io.count; i++, data += run->io.size)
		port_access(vm, run->io.direction == KVM_EXIT_IO_OUT, run->io.port, data,
			    run->io.size);
}
