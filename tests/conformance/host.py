#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""host.py SOCKET: what a guest may rely on, asked of the host that listens there.

Any host will do that speaks the socket protocol of docs/shm-loopback.md and offers a SCSI
controller with a disk at LUN 0 that may be overwritten. Prints TAP; ends with 1 if a line is
"not ok". The guest is examples/guest.py: nothing of the libraries is in it."""
import pathlib
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples"))
import guest as g  # noqa: E402

VERSIONS = [13, 1 << 16 | 1, 2 << 16 | 4, 3 << 16, 4 << 16, 4 << 16 | 1, 5 << 16, 5 << 16 | 1,
            5 << 16 | 2, 5 << 16 | 3, 6 << 16]
PATH = ""
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def connect(version=6 << 16):
    guest = g.Guest(PATH)
    assert guest.contact(version) == (0, 1), "the version is not accepted"
    return guest


def controller(guest):
    return next(o for o in guest.offers() if o.interface == g.SCSI and o.subindex == 0)


def storage(version=6 << 16):
    guest = connect(version)
    return g.Storage(g.Channel(guest, controller(guest)))


def pattern(length, seed):
    return bytes((seed + i * 7 + i // 251) % 256 for i in range(length))


def transfer(disk, block, data):
    """Writes, reads back and compares."""
    cdb = struct.pack(">BIBHB", 0, block, 0, len(data) // 512, 0)
    assert disk.scsi(b"\x2a" + cdb, write=data)[:2] == (1, 0), "the write fails"
    assert disk.scsi(b"\x28" + cdb, read=len(data))[3] == data, "other data is read than was written"


@check
def every_version_works_from_contact_to_io():
    for version in VERSIONS[2:]:  # older ones signal through a shared page
        disk = storage(version)
        transfer(disk, 8, pattern(4096, version & 255))
        assert disk.channel.close(), "the rings are not given back"
        disk.guest.close()


@check
def the_oldest_versions_are_answered():
    for version in VERSIONS[:2]:
        guest = g.Guest(PATH)
        assert guest.contact(version)[0] == 0
        guest.close()


@check
def a_version_that_is_none_is_refused_and_another_accepted():
    guest = g.Guest(PATH)
    for version in (0, 12, 2 << 16, 5 << 16 | 9, 6 << 16 | 1, 0xffffffff):
        assert guest.contact(version) == (0, 0), hex(version)
    assert guest.contact(5 << 16 | 3) == (0, 1)


@check
def offers_name_what_they_offer():
    guest = connect()
    offers = guest.offers()
    assert len({o.id for o in offers}) == len(offers) and all(0 < o.id < 2048 for o in offers)
    assert len({(o.interface, o.instance, o.subindex) for o in offers}) == len(offers)
    assert all(o.subindex == 0 and o.dedicated == 1 for o in offers)
    assert len({o.connection for o in offers}) == len(offers)
    assert all(o.connection not in (0, 1, 2, 3, 4) for o in offers)


@check
def requests_before_contact_have_no_effect():
    guest = g.Guest(PATH)
    guest.post(g.REQUEST_OFFERS, connection=1)
    guest.post(g.OPEN_CHANNEL, struct.pack("<IIIII120s", 1, 1, 1, 0, 1, b""), connection=1)
    assert guest.contact(6 << 16) == (0, 1), "the contact is not answered first"


@check
def a_message_to_nowhere_is_refused_by_the_hypercall():
    guest = connect()
    assert guest.post(g.REQUEST_OFFERS, connection=0x7777) == 0x12
    assert guest.offers()


@check
def a_gpadl_outside_memory_is_refused():
    guest = connect()
    offer = controller(guest)
    assert guest.gpadl(offer.id, 1 << 40, 4)[1] != 0
    handle, status = guest.gpadl(offer.id, guest.pages(4), 4)
    assert status == 0 and guest.teardown(offer.id, handle)


@check
def a_gpadl_of_many_messages_is_put_together():
    guest = connect()
    offer = controller(guest)
    for count in (1, 26, 27, 54, 55, 500):
        handle, status = guest.gpadl(offer.id, guest.pages(count) if count < 500 else 3, count)
        assert status == 0, f"{count} pages"
        assert guest.teardown(offer.id, handle), f"{count} pages"


@check
def an_open_that_cannot_be_is_answered():
    guest = connect()
    offer = controller(guest)
    handle, _ = guest.gpadl(offer.id, guest.pages(8), 8)
    assert guest.open(offer.id, handle + 1, 4) != 0, "a GPADL that is none"
    for pages in (0, 1, 8, 0xffffffff):
        assert guest.open(offer.id, handle, pages) != 0, f"{pages} pages upstream"
    assert guest.open(offer.id, handle, 4) == 0


@check
def a_channel_opens_again_and_again():
    guest = connect()
    offer = controller(guest)
    for i in range(5):
        channel = g.Channel(guest, offer, 2 + i, 6 - i)
        transfer(g.Storage(channel), 64 + i, pattern(512, i))
        assert channel.close()


@check
def a_doorbell_is_only_there_for_an_open_channel():
    guest = connect()
    assert guest.ask(g.DOORBELL_GET, struct.pack("<II", 0x7777, 0))[0] == 0x12
    offer = controller(guest)
    assert guest.ask(g.DOORBELL_GET, struct.pack("<II", offer.connection, 0))[0] == 0x12


@check
def unload_is_answered_last_and_a_new_contact_works():
    disk = storage()
    disk.guest.post(g.UNLOAD)
    disk.guest.expect(g.UNLOAD_COMPLETE)
    assert disk.guest.contact(5 << 16 | 3) == (0, 1)
    transfer(g.Storage(g.Channel(disk.guest, controller(disk.guest))), 0, pattern(512, 1))


@check
def a_contact_out_of_the_blue_closes_everything():
    """kexec: a new kernel knows nothing of what the old one had open."""
    disk = storage()
    assert disk.guest.contact(6 << 16) == (0, 1)
    transfer(g.Storage(g.Channel(disk.guest, controller(disk.guest))), 0, pattern(512, 2))


@check
def transaction_ids_come_back_as_they_are():
    disk = storage()
    for transaction in (0, 1 << 63, 2 ** 64 - 2):
        disk.transaction = transaction
        assert disk.scsi(bytes(6))[0] == 1


@check
def packets_go_round_the_end_of_the_ring():
    guest = connect()
    disk = g.Storage(g.Channel(guest, controller(guest), 2, 2))
    for i in range(200):  # some 25 KiB through rings of 4 KiB
        transfer(disk, i, pattern(512, i))


@check
def data_of_many_pages_is_whole():
    disk = storage()
    for length in (512, 4096, 4608, 65536):
        transfer(disk, 100, pattern(length, length & 255))


@check
def sense_says_what_is_wrong():
    disk = storage()
    for cdb, key, code in ((b"\xff" + bytes(5), 5, 0x20),  # no such command
                           (b"\x28\0\xff\xff\xff\xff\0\0\1\0", 5, 0x21)):  # behind the end
        _, status, sense, _ = disk.scsi(cdb, read=512)
        assert status == 2 and (sense[2] & 15, sense[12]) == (key, code), sense.hex()


@check
def a_lun_without_a_disk_is_told_as_such():
    srb_status, _, _, data = storage().scsi(b"\x12\0\0\0\x24\0", read=36, lun=200)
    assert srb_status in (0x08, 0x0a, 0x20) or data[0] >> 5 == 3, (srb_status, data)


@check
def a_ring_that_is_broken_stops_one_channel_and_no_more():
    for how in ("index", "type", "length", "offset"):
        guest = connect()
        channel = g.Channel(guest, controller(guest))
        if how == "index":
            channel.tx.write_index.value = 12345679
        else:
            words = {"type": (200, 2, 3), "length": (6, 2, 4000), "offset": (6, 9, 3)}[how]
            channel.tx.raw(struct.pack("<HHHHQ", *words, 1, 5) + bytes(16))
        channel.ring()
        try:
            raise AssertionError(f"{how}: the host answers {channel.receive(0.1)}")
        except g.Gone:
            assert channel.close(), f"{how}: the channel does not close"
        transfer(g.Storage(g.Channel(guest, channel.offer)), 7, pattern(512, 7))


@check
def memory_that_is_none_is_not_read_nor_written():
    disk = storage()
    header = struct.pack("<IIIIQ", 0, 1, 512, 0, 1 << 40)
    srb = struct.pack("<HBBBBBBBBBBI20s", 52, 0, 0, 0, 0, 0, 0, 10, 20, 1, 0, 512,
                      b"\x28\0\0\0\0\0\0\0\1\0")
    request = struct.pack("<III", disk.EXECUTE_SRB, 1, 0) + srb.ljust(52, b"\0")
    disk.channel.tx.put(g.GPA_DIRECT, 9, request, header)
    disk.channel.ring()
    packet = disk.channel.receive()
    status, srb_status = struct.unpack_from("<I2xB", packet.payload, 8)
    assert packet.transaction == 9 and (status != 0 or srb_status & 0x3f != 1), "the read succeeds"


@check
def what_is_no_request_ends_the_connection():
    for junk in (b"\1", struct.pack("<II", 2, 9), struct.pack("<II", 77, 9) + bytes(256)):
        guest = connect()
        try:
            guest.socket.send(junk)
            while guest.socket.recv(4096):
                pass  # a word of farewell
        except ConnectionError:
            pass


def main():
    global PATH
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    PATH, failed = sys.argv[1], 0
    print(f"1..{len(CHECKS)}")
    for number, function in enumerate(CHECKS, 1):
        try:
            function()
            why = ""
        except Exception as error:  # whatever a host can make of us
            why = f" # {type(error).__name__} {error}"
            failed = 1
        name = function.__name__.replace("_", " ")
        print(f"{'not ok' if why else 'ok'} {number} - {name}{why}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
