# SPDX-License-Identifier: BSD-3-Clause
"""The programs of Ringpass around a test guest: what the demo and the end-to-end tests share.

    programs.py     softaccel, ringpassd and ringpass-ctl: how they are started and asked
    bridge.py       a bridge of the kernel's, which accelerator and software backend both reach
    scenario.py     guests on ports on functions of one softaccel, with an uplink or without
    passthrough.py  a guest whose card is a function of softaccel, passed through whole
    testpmd.py      DPDK's testpmd with virtio-user ports as a frontend without a guest
    backend_*.py    software backends: testpmd's net_vhost, Open vSwitch with DPDK, qemu-storage-daemon
    ping.py         a stream of pings of which the fate of each is known
    migration.py    a guest's way from one QEMU to another, and what shows that no write was missed
    bulk.py         data that flow both ways in the background, and are compared at the end
    transfer.py     bulk data with a checksum at both ends
    demo.py         what `make demo` shows
    summary.py      its figures, table and verdict
"""
