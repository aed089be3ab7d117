#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""guest.py SOCKET [SECTOR]: a guest that shares no code with the libraries.

Written from docs/shm-loopback.md and the layouts in include/vmbus/wire.h and
include/vsp/storvsp-wire.h. It opens the first SCSI controller of a host (vmbus-loopback host,
serve-disk, or one of yours) and prints a sector of the disk at LUN 0. Try it:
  ./run vmbus-loopback host --socket /tmp/bus --disk disk.vhd & examples/guest.py /tmp/bus
tests/conformance/host.py uses it as a module."""
import collections
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import threading
import time
import uuid

HELLO, POST_MESSAGE, EOM, DOORBELL_GET, BYE, REPLY = 1, 2, 3, 4, 0x40, 0x80
PAGE, SIMP, SIEFP = 4096, 1, 2  # the pages that the SynIC has in our memory
SINT = 2 * 256                  # where VMBus' part of each begins
(OFFER, RESCIND_OFFER, REQUEST_OFFERS, ALL_OFFERS, OPEN_CHANNEL, OPEN_RESULT, CLOSE_CHANNEL,
 GPADL_HEADER, GPADL_BODY, GPADL_CREATED, GPADL_TEARDOWN, GPADL_TORNDOWN, RELID_RELEASED,
 INITIATE_CONTACT, VERSION_RESPONSE, UNLOAD, UNLOAD_COMPLETE) = range(1, 18)
INBAND, GPA_DIRECT, COMPLETION = 6, 9, 11
SCSI = uuid.UUID("ba6163d9-04a1-4d29-b605-72e2ffb1dc7f")
PATIENCE = 60  # seconds: a host that says nothing for so long is broken

Offer = collections.namedtuple("Offer", "interface instance subindex id dedicated connection")
Packet = collections.namedtuple("Packet", "type flags transaction header payload")
_lock = threading.Lock()


class Gone(Exception):
    """The host turned us away, ended the connection, or does not answer."""


def fence():
    """Orders our writes to shared memory before it with our reads after it: on x86 any
    atomic operation does, and a lock has one."""
    with _lock:
        pass


class Guest:
    """The socket, our memory, the messages that go through a SynIC elsewhere."""

    def __init__(self, path, pages=1024):
        fd = os.memfd_create("guest", os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, pages * PAGE)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.memory = mmap.mmap(fd, pages * PAGE)
        self.free_page, self.next_gpadl, self.sequence, self.connection = 3, 1, 0, 1
        self.interrupt = os.eventfd(0, os.EFD_NONBLOCK)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        vps = struct.pack("<QQ", SIMP * PAGE, SIEFP * PAGE).ljust(64 * 16, b"\0")
        hello = struct.pack("<8sIIQ", b"VMBUSSHM", 1, 1, pages * PAGE) + vps
        status, text, _ = self.ask(HELLO, hello, [fd, self.interrupt])
        os.close(fd)
        if status:
            raise Gone(text)

    def close(self):
        self.socket.close()
        os.close(self.interrupt)

    def send(self, kind, body, fds=()):
        self.sequence += 1
        socket.send_fds(self.socket, [struct.pack("<II", kind, self.sequence) + body], fds)

    def ask(self, kind, body, fds=()):
        """Returns status, text and descriptors of the reply."""
        self.send(kind, body, fds)
        reply, came, _, _ = socket.recv_fds(self.socket, 4096, 1)
        if len(reply) != 136 or struct.unpack_from("<I", reply)[0] == BYE:
            raise Gone(reply[12:132].split(b"\0")[0].decode() or "the host closed the connection")
        if struct.unpack_from("<II", reply) != (kind | REPLY, self.sequence):
            raise Gone("a reply to something else: " + reply[:8].hex())
        return struct.unpack_from("<I", reply, 8)[0], reply[12:132].split(b"\0")[0].decode(), came

    def word(self, offset):
        """Four bytes of our memory that the host uses at the same time."""
        return ctypes.c_uint32.from_buffer(self.memory, offset)

    def pages(self, count):
        """Fresh pages, neighbours; returns the first one's number."""
        self.free_page += count
        return self.free_page - count

    def wait(self, look, seconds=PATIENCE):
        """Sleeps on the interrupt until look() returns something."""
        end = time.monotonic() + seconds
        while True:
            ctypes.memset(ctypes.addressof(self.word(SIEFP * PAGE + SINT)), 0, 256)
            fence()
            found = look()
            if found is not None:
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise Gone("no answer")
            if self.socket in select.select([self.interrupt, self.socket], [], [], left)[0]:
                raise Gone("the host ended the connection")
            try:
                os.eventfd_read(self.interrupt)
            except BlockingIOError:
                pass

    # -- Control messages ---------------------------------------------------------------

    def post(self, kind, body=b"", connection=None):
        """HvCallPostMessage with a message of VMBus; returns the hypercall's status."""
        message = struct.pack("<II", kind, 0) + body
        call = struct.pack("<IIII", connection or self.connection, 0, 1, len(message))
        while True:
            status = self.ask(POST_MESSAGE, call + message.ljust(240, b"\0"))[0]
            if status != 0x13:  # too much waits for us: try again, as guests do
                return status
            time.sleep(0.01)

    def take(self):
        """The message in the slot, if there is one: its type and what follows the header."""
        slot = SIMP * PAGE + SINT
        if not self.word(slot).value:
            return None
        data = self.memory[slot + 16:slot + 16 + self.memory[slot + 4]]
        self.word(slot).value = 0
        fence()
        if self.memory[slot + 5] & 1:
            self.send(EOM, struct.pack("<II", 0, 0))
        return struct.unpack_from("<I", data)[0], data[8:]

    def expect(self, *kinds):
        kind, body = self.wait(self.take)
        if kind not in kinds:
            raise Gone(f"message {kind} came instead of {kinds}")
        return kind, body

    def contact(self, version, features=0, connection=None):
        """INITIATE_CONTACT; returns what VERSION_RESPONSE says, or the hypercall's status if
        that is not 0."""
        new = version >= 5 << 16
        target = struct.pack("<BBHI", 2, 0, 0, features) if new else bytes(8)
        body = struct.pack("<II8sQQ16s", version, 0, target, 0, 0, bytes(16))
        status = self.post(INITIATE_CONTACT, body if version >= 6 << 16 else body[:32],
                           connection or (4 if new else 1))
        if status:
            return status, 0
        _, answer = self.expect(VERSION_RESPONSE)
        supported, state, _, number = struct.unpack_from("<BBHI", answer)
        if supported and not state:
            self.connection = number if new else 1
        return 0, supported

    def offers(self):
        self.post(REQUEST_OFFERS)
        found = []
        while True:
            kind, body = self.expect(OFFER, ALL_OFFERS)
            if kind == ALL_OFFERS:
                return found
            found.append(offer_of(body))

    def gpadl(self, channel, first, count):
        """Hands @count pages from @first on to the host; returns its handle and status."""
        handle, self.next_gpadl = self.next_gpadl, self.next_gpadl + 1
        words = struct.pack(f"<II{count}Q", count * PAGE, 0, *range(first, first + count))
        header = struct.pack("<IIHH", channel, handle, len(words), 1)
        self.post(GPADL_HEADER, header + words[:27 * 8])
        for at in range(27 * 8, len(words), 28 * 8):
            self.post(GPADL_BODY, struct.pack("<II", 0, handle) + words[at:at + 28 * 8])
        _, body = self.expect(GPADL_CREATED)
        if struct.unpack_from("<II", body) != (channel, handle):
            raise Gone("GPADL_CREATED for another one")
        return handle, struct.unpack_from("<I", body, 8)[0]

    def teardown(self, channel, handle):
        self.post(GPADL_TEARDOWN, struct.pack("<II", channel, handle))
        _, body = self.expect(GPADL_TORNDOWN)
        return struct.unpack_from("<I", body)[0] == handle

    def open(self, channel, handle, upstream_pages):
        """Returns the status in OPEN_RESULT."""
        self.post(OPEN_CHANNEL,
                  struct.pack("<IIIII120s", channel, 77, handle, 0, upstream_pages, b""))
        _, body = self.expect(OPEN_RESULT)
        if struct.unpack_from("<II", body) != (channel, 77):
            raise Gone("OPEN_RESULT for another one")
        return struct.unpack_from("<I", body, 8)[0]


def offer_of(body):
    """The fields of OFFER behind its header that a guest needs."""
    interface, instance = (uuid.UUID(bytes_le=body[i:i + 16]) for i in (0, 16))
    subindex, channel, dedicated, connection = struct.unpack_from("<H2xI2xHI", body, 172)
    return Offer(interface, instance, subindex, channel, dedicated, connection)


class Ring:
    """A control page and data pages behind it: of one producer and one consumer."""

    def __init__(self, guest, first, pages):
        self.guest, self.data, self.size = guest, (first + 1) * PAGE, (pages - 1) * PAGE
        self.write_index, self.read_index = (guest.word(first * PAGE + i) for i in (0, 4))

    def copy(self, at, length):
        start = self.data + at % self.size
        first = min(length, self.data + self.size - start)
        return (self.guest.memory[start:start + first] +
                self.guest.memory[self.data:self.data + length - first])

    def put(self, kind, transaction, payload, header=b"", flags=1):
        """Writes one packet and shows it to the host."""
        payload += bytes(-len(payload) % 8)
        start = 16 + len(header)
        end = start + len(payload)
        self.raw(struct.pack("<HHHHQ", kind, start // 8, end // 8, flags, transaction) +
                 header + payload + struct.pack("<II", 0, self.write_index.value))

    def raw(self, data):
        at = self.write_index.value
        if len(data) > (self.read_index.value - at - 1) % self.size:
            raise Gone("our ring is full")
        for i in range(0, len(data), 8):
            place = self.data + (at + i) % self.size
            self.guest.memory[place:place + 8] = data[i:i + 8]
        self.write_index.value = (at + len(data)) % self.size

    def get(self):
        """The next packet, None if there is none."""
        at = self.read_index.value
        if self.write_index.value == at:
            return None
        kind, offset, length, flags, transaction = struct.unpack("<HHHHQ", self.copy(at, 16))
        body = self.copy(at + 16, length * 8 - 16)
        self.read_index.value = (at + length * 8 + 8) % self.size
        return Packet(kind, flags, transaction, body[:offset * 8 - 16], body[offset * 8 - 16:])


class Channel:
    """An open channel: two rings and a doorbell."""

    def __init__(self, guest, offer, upstream=17, downstream=17):
        self.guest, self.offer = guest, offer
        first = guest.pages(upstream + downstream)
        self.gpadl, status = guest.gpadl(offer.id, first, upstream + downstream)
        status = status or guest.open(offer.id, self.gpadl, upstream)
        if status:
            raise Gone(f"the channel does not open: {status:#x}")
        self.tx, self.rx = Ring(guest, first, upstream), Ring(guest, first + upstream, downstream)
        status, _, fds = guest.ask(DOORBELL_GET, struct.pack("<II", offer.connection, 0))
        if status or len(fds) != 1:
            raise Gone("no doorbell for an open channel")
        self.doorbell = fds[0]

    def ring(self):
        """After each packet: a guest that looks at the interrupt mask saves most of it."""
        os.eventfd_write(self.doorbell, 1)

    def receive(self, seconds=PATIENCE):
        return self.guest.wait(self.rx.get, seconds)

    def close(self):
        """The rings are ours again afterwards."""
        self.guest.post(CLOSE_CHANNEL, struct.pack("<I", self.offer.id))
        os.close(self.doorbell)
        return self.guest.teardown(self.offer.id, self.gpadl)


class Storage:
    """storvsp on a channel."""
    COMPLETE_IO, EXECUTE_SRB, BEGIN, END, VERSION, PROPERTIES, ENUMERATE_BUS = 1, 3, 7, 8, 9, 10, 11

    def __init__(self, channel):
        self.channel, self.guest, self.transaction, self.rescans = channel, channel.guest, 0, 0
        self.buffer = channel.guest.pages(16)
        self.initialise()

    def exchange(self, operation, body=b"", data_pages=0, length=0):
        """Sends one request; returns status and body of its completion."""
        self.transaction += 1
        payload = struct.pack("<III", operation, 1, 0) + body.ljust(52, b"\0")
        header = struct.pack(f"<IIII{data_pages}Q", 0, 1, length, 0,
                             *range(self.buffer, self.buffer + data_pages)) if data_pages else b""
        self.channel.tx.put(GPA_DIRECT if data_pages else INBAND, self.transaction, payload, header)
        self.channel.ring()
        while True:
            packet = self.channel.receive()
            if packet.type == COMPLETION and packet.transaction == self.transaction:
                operation, _, status = struct.unpack_from("<III", packet.payload)
                return status, packet.payload[12:]
            self.unasked(packet)

    def unasked(self, packet):
        if (packet.type, packet.payload[:4]) != (INBAND, struct.pack("<I", self.ENUMERATE_BUS)):
            raise Gone(f"a packet that answers nothing: {packet}")
        self.rescans += 1

    def initialise(self):
        for operation, body in ((self.BEGIN, b""), (self.VERSION, struct.pack("<HH", 0x602, 0)),
                                (self.PROPERTIES, b""), (self.END, b"")):
            status, answer = self.exchange(operation, body)
            if status:
                raise Gone(f"storvsp: operation {operation} fails: {status:#x}")
            if operation == self.PROPERTIES:
                self.max_sub_channels, self.max_transfer = struct.unpack_from("<H6xI", answer, 4)

    def scsi(self, cdb, read=0, write=b"", lun=0):
        """Returns SRB status, SCSI status, sense and the data that was read, up to 64 KiB."""
        length = read or len(write)
        place = self.buffer * PAGE
        self.guest.memory[place:place + length] = write or bytes(length)
        srb = struct.pack("<HBBBBBBBBBBI20s", 52, 0, 0, 0, 0, 0, lun, len(cdb), 20,
                          1 if read else 0 if write else 2, 0, length, cdb)
        status, answer = self.exchange(self.EXECUTE_SRB, srb, -(-length // PAGE), length)
        srb_status, scsi_status, sense_length, done = struct.unpack_from("<2xBB5xB2xI", answer)
        sense = answer[16:16 + sense_length] if srb_status & 0x80 else b""
        data = self.guest.memory[place:place + min(done, read)]
        return srb_status & 0x3f, scsi_status, sense, data


def main():
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    guest = Guest(sys.argv[1])
    if not guest.contact(6 << 16)[1]:
        sys.exit("the host does not speak 6.0")
    disk = next((o for o in guest.offers() if o.interface == SCSI and not o.subindex), None)
    if not disk:
        sys.exit("the host has no SCSI controller")
    storage = Storage(Channel(guest, disk))
    capacity = storage.scsi(b"\x9e\x10" + bytes(11) + b"\x20" + bytes(2), read=32)[3]
    last, sector = struct.unpack_from(">QI", capacity)
    print(f"LUN 0: {last + 1} sectors of {sector} bytes")
    cdb = struct.pack(">BBIBHB", 0x28, 0, int(sys.argv[2]) if len(sys.argv) > 2 else 0, 0, 1, 0)
    _, status, sense, data = storage.scsi(cdb, read=sector)
    if status:
        sys.exit(f"the read failed: sense {sense.hex()}")
    for i in range(0, sector, 32):
        print(f"{i:4x}  {data[i:i + 32].hex(' ', 4)}")


if __name__ == "__main__":
    try:
        main()
    except (Gone, OSError) as error:
        sys.exit(f"guest.py: {error}")
