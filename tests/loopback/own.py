# SPDX-License-Identifier: MIT
"""own.py OWN-DEVICES: examples/own seen by a guest that shares no code with it: a disk of the
VMM's own, disks and network cards that come and go while the guest runs, a disk that grows."""
import os
import pathlib
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples"))
import guest as g  # noqa: E402

NET = g.uuid.UUID("f8615163-df3e-46c5-913f-f2d2f965ed0e")
MIB = 1 << 20
host = subprocess.Popen(sys.argv[1:] + ["bus"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        text=True, bufsize=1)


def says(command, wanted="ok"):
    host.stdin.write(command + "\n")
    line = host.stdout.readline()
    assert wanted in line, f"{command}: {line}"


def capacity(disk, lun):
    """The disk's size in bytes, and the sense that stood in the way of the first answer."""
    cdb, first = b"\x9e\x10" + bytes(11) + b"\x20" + bytes(2), b""
    for _ in range(2):
        _, status, sense, data = disk.scsi(cdb, read=32, lun=lun)
        if status == 0:
            last, sector = struct.unpack_from(">QI", data)
            return (last + 1) * sector, first
        first = sense
    raise AssertionError(f"no capacity: sense {first.hex()}")


def rescan(disk):
    """The host says that the disks are not those it had."""
    before = disk.rescans
    while disk.rescans == before:
        disk.unasked(disk.channel.receive())


def transfer(disk, lun, block, data):
    cdb = struct.pack(">BIBHB", 0, block, 0, len(data) // 512, 0)
    assert disk.scsi(b"\x2a" + cdb, write=data, lun=lun)[1] == 0
    assert disk.scsi(b"\x28" + cdb, read=len(data), lun=lun)[3] == data


def disks(guest):
    offer = next(o for o in guest.offers() if o.interface == g.SCSI)
    disk = g.Storage(g.Channel(guest, offer))
    data = os.urandom(65536)

    says("disk 1 =own.raw")
    rescan(disk)
    assert b"a VMM's own disk"[:8] in disk.scsi(b"\x12\1\x83\0\xff\0", read=255, lun=1)[3]
    assert capacity(disk, 1)[0] == 4 * MIB
    for i in range(16):
        transfer(disk, 1, i * 512, data[i * 512:] + data[:i * 512])
    assert disk.scsi(b"\x35" + bytes(9), lun=1)[1] == 0
    pathlib.Path("own.raw").read_bytes().index(data)
    says("grow 1 8388608", "no image")

    says("disk 0 grows.vhdx")
    rescan(disk)
    transfer(disk, 0, 100, data)
    says(f"grow 0 {MIB}", "grows.vhdx")
    assert capacity(disk, 0) == (16 * MIB, b"")
    says(f"grow 0 {32 * MIB}")
    rescan(disk)
    size, sense = capacity(disk, 0)
    assert size == 32 * MIB and (sense[2] & 15, sense[12], sense[13]) == (6, 0x2a, 9), sense.hex()
    transfer(disk, 0, 20 * MIB // 512, data)
    assert disk.scsi(b"\x28\0\0\0\0\x64\0\0\x80\0", read=65536)[3] == data

    says("remove 1")
    rescan(disk)
    assert disk.scsi(b"\x28" + bytes(7) + b"\1\0", read=512, lun=1)[:2] != (1, 0)
    transfer(disk, 0, 0, data)
    says("remove 1", "No such")


def nics(guest):
    for _ in range(2):
        says("nic 2")
        offer = g.offer_of(guest.expect(g.OFFER)[1])
        assert offer.interface == NET
        channel = g.Channel(guest, offer)
        says("nic 2", "exists")
        says("remove-nic 2")
        assert struct.unpack("<I", guest.expect(g.RESCIND_OFFER)[1])[0] == offer.id
        assert channel.close()
        guest.post(g.RELID_RELEASED, struct.pack("<I", offer.id))


def main():
    assert "may come" in host.stdout.readline()
    says("nic 1", "not connected")
    guest = g.Guest("bus")
    assert guest.contact(6 << 16) == (0, 1)
    disks(guest)
    nics(guest)
    guest.close()
    assert "the guest left" in host.stdout.readline()
    host.stdin.close()
    assert host.wait(60) == 0


try:
    main()
finally:
    host.kill()
