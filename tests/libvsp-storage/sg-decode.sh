#!/bin/bash
# SPDX-License-Identifier: MIT
# sg3-utils, which many an administrator looks at disks with, reads what a disk of ours says
# as it is meant. The disk: 1 MiB, blocks of 512 in 4096, UNMAP in units of 64 KiB that then
# read as zeros, the GUID's bytes 10 to 1f.
command -v sg_vpd >/dev/null || { echo "SKIP: no sg3-utils here"; exit 77; }
print=$top_builddir/tests/libvsp-storage/scsi-print
status=0

# reads NAME DECODER CDB: decodes, and expects the lines of standard input in its output
reads() {
	local text line
	text=$($print $3 | $2 2>&1) || { echo "$1: $2 fails: $text"; status=1; return; }
	while IFS= read -r line; do
		grep -qF -- "$line" <<<"$text" && continue
		echo "$1: '$line' is not in what $2 says:"
		echo "$text"
		status=1
	done
}

reads "standard INQUIRY" "sg_inq --inhex=-" "12 00 00 00 ff" <<'END'
PQual=0  PDT=0  RMB=0
version=0x05  [SPC-3]
Resp_data_format=2
CmdQue=1
length=104 (0x68)   Peripheral device type: disk
Vendor identification: Msft    
Product identification: Virtual Disk    
Product revision level: 1.0 
END
reads "its version descriptors" "sg_inq --inhex=- --descriptors" "12 00 00 00 ff" <<'END'
SAM-5 (no version claimed)
SPC-3 (no version claimed)
SBC-3 (no version claimed)
END
reads "the list of pages" "sg_vpd --inhex=- --page=0" "12 01 00 00 ff" <<'END'
Supported VPD pages [sv]
Unit serial number [sn]
Device identification [di]
Block limits (SBC) [bl]
Block device characteristics (SBC) [bdc]
Logical block provisioning (SBC) [lbpv]
0xce
0xcf
END
reads "the serial number" "sg_vpd --inhex=- --page=0x80" "12 01 80 00 ff" <<'END'
Unit serial number: 101112131415161718191a1b1c1d1e1f
END
reads "the identification" "sg_vpd --inhex=- --page=0x83" "12 01 83 00 ff" <<'END'
Addressed logical unit:
designator type: T10 vendor identification,  code set: Binary
vendor id: Msft    
vendor specific: 0x101112131415161718191a1b1c1d1e1f
designator type: NAA,  code set: Binary
0x600224801011121314151a1b1c1d1e1f
END
reads "the block limits" "sg_vpd --inhex=- --page=0xb0" "12 01 b0 00 ff" <<'END'
Write same non-zero (WSNZ): 0
Maximum compare and write length: 0 blocks [Command not implemented]
Optimal transfer length granularity: 8 blocks
Maximum transfer length: 0 blocks [not reported]
Maximum unmap LBA count: -1 [unbounded]
Maximum unmap block descriptor count: 256
Optimal unmap granularity: 128 blocks
Unmap granularity alignment valid: true
Unmap granularity alignment: 0
Maximum write same length: 0x4000 blocks
END
reads "the characteristics" "sg_vpd --inhex=- --page=0xb1" "12 01 b1 00 ff" <<'END'
Non-rotating medium (e.g. solid state)
END
reads "the provisioning" "sg_vpd --inhex=- --page=0xb2" "12 01 b2 00 ff" <<'END'
Unmap command supported (LBPU): 1
Write same (16) with unmap bit supported (LBPWS): 1
Write same (10) with unmap bit supported (LBPWS10): 1
Logical block provisioning read zeros (LBPRZ): 1
Anchored LBAs supported (ANC_SUP): 0
Threshold exponent: 1
Provisioning type: 2 (thin provisioned)
END
reads "the state of blocks" "sg_get_lba_status --inhex=-" "9e 12 00 00 00 00 00 00 00 05 00 00 00 ff" <<'END'
LBA: 0x0000000000000005  blocks:       2043  mapped (or unknown)
END
reads "an unknown opcode's sense" "sg_decode_sense --file=-" "ff" <<'END'
Fixed format, current; Sense key: Illegal Request
Invalid command operation code
END
reads "a wrong page's sense" "sg_decode_sense --file=-" "12 01 42 00 ff" <<'END'
Sense key: Illegal Request
Invalid field in cdb
END
reads "the sense of a range past the end" "sg_decode_sense --file=-" "28 00 00 00 08 00 00 00 01" <<'END'
Sense key: Illegal Request
Logical block address out of range
END
reads "the sense of saved pages" "sg_decode_sense --file=-" "1a 00 ff 00 ff" <<'END'
Sense key: Illegal Request
Saving parameters not supported
END
exit $status
