#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the committed seeds: inputs that a fuzzer would need days to find, such as a whole handshake.

    app/test/fuzz/make_seeds.py [DIRECTORY]

An input is read front to back by its target (fuzz_*.c), one byte for each choice; the tables here follow them. When a
target's grammar changes, seeds stay valid inputs (any bytes are), and are written anew so that they reach as far as
before. Other files in the corpus are findings, minimised; they are never written by this script.
"""

import pathlib
import sys

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"

# Requests of the frontend, by number.
GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_LOG_BASE, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 6, 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES = 12, 13, 14, 15, 16
GET_QUEUE_NUM, SET_VRING_ENABLE, SET_BACKEND_REQ_FD, IOTLB_MSG, GET_CONFIG, SET_CONFIG = 17, 18, 21, 22, 24, 25
GET_INFLIGHT_FD, SET_INFLIGHT_FD, RESET_DEVICE, ADD_MEM_REG, REM_MEM_REG, SET_STATUS = 31, 32, 34, 37, 38, 39
ALL_REQUESTS = range(1, 45)

RIGHT = 15  # no deviation, no perturbation, nothing cut
WHOLE = 0
PLAIN_MEMORY = 7
PARCEL_LIES = 8  # of parcel.c


def u64(value):
    return list(value.to_bytes(8, "little"))


def number(value):
    """As fuzz_number() reads any value."""
    return [255, *u64(value)]


def without(*bits):
    """Features that are offered, but for these."""
    return [128, *number(sum(1 << bit for bit in bits))]


def request(number_, *fields, queue=0):
    """A step of fuzz_vhost_user_backend.c: a message whose row is `number_`, answer wanted."""
    return [number_ - 1, 0, queue, *fields, RIGHT, WHOLE]


ASK, ANSWER, REFUSE, HANG_UP, HAND_OVER = 200, 190, 220, 240, 252


def features(packed=False, platform=False, log=False):
    return without(*([] if packed else [34]), *([] if platform else [33]), *([] if log else [26]))


def handshake(**chosen):
    return [*request(GET_FEATURES), *request(GET_PROTOCOL_FEATURES), *request(SET_PROTOCOL_FEATURES, 0),
            *request(GET_QUEUE_NUM), *request(SET_BACKEND_REQ_FD), *request(SET_OWNER),
            *request(SET_FEATURES, *features(**chosen))]


def memory(count=1):
    return request(SET_MEM_TABLE, count - 1, *[PLAIN_MEMORY] * count)


def ring(queue, base=(0,)):
    return [*request(SET_VRING_NUM, 8, queue=queue), *request(SET_VRING_BASE, *base, queue=queue),
            *request(SET_VRING_ADDR, 7, queue=queue), *request(SET_VRING_KICK, 0, queue=queue),
            *request(SET_VRING_CALL, 0, queue=queue), *request(SET_VRING_ENABLE, 1, queue=queue)]


def backend_seeds():
    for profile, name in enumerate(("standard", "extended", "vfio2018")):
        yield f"rings-{name}", [profile, *handshake(), *memory(), *ring(0), *ring(1),
                                ASK, 0, 0, ANSWER, 1, 0, 0, 0, ASK, 0, 3, ANSWER, 3, 0, 0, 0, ASK, 0, 2,
                                *request(GET_VRING_BASE, queue=0), *ring(0), *memory(2), *request(RESET_DEVICE)]
    yield "packed", [0, *handshake(packed=True), *memory(), *ring(0, number(0x80008000)), *request(GET_VRING_BASE)]
    yield "platform", [0, *handshake(platform=True), *memory(), *request(IOTLB_MSG, 15, 9, 17, 3, 2), *ring(0),
                       *request(IOTLB_MSG, 15, 9, 17, 3, 3)]
    yield "slots", [0, *handshake(), *request(ADD_MEM_REG, 7, queue=0), *request(ADD_MEM_REG, 7, queue=1), *ring(0),
                    *request(REM_MEM_REG, 7, queue=1), *request(REM_MEM_REG, 7, queue=0)]
    yield "migration", [0, *handshake(), *memory(), *ring(0), *request(SET_LOG_BASE, 9, 0),
                        *request(SET_FEATURES, *features(log=True)), *request(SET_VRING_ADDR, 2, 0),
                        *request(GET_VRING_BASE)]
    yield "inflight", [0, *handshake(), *request(GET_INFLIGHT_FD, 2, 8), *request(SET_INFLIGHT_FD, 13, 2, 8)]
    yield "configuration", [0, *handshake(), *request(GET_CONFIG, 0, 8, 0), *request(SET_CONFIG, 4, 1, 0),
                            *request(SET_STATUS, 40)]
    yield "owner-refuses", [0, *handshake(), REFUSE, *memory(), *memory(), *ring(0), REFUSE, *memory(2), *ring(0)]
    yield "owner-refuses-slot", [0, *handshake(), REFUSE, *request(ADD_MEM_REG, 7), *request(ADD_MEM_REG, 7)]
    yield "hang-up", [0, *handshake(), *memory(), *ring(0), HANG_UP, *handshake(), *memory(), *ring(1)]
    running = [*handshake(), *memory(2), *ring(0), *ring(1)]
    yield "hand-over", [0, *running, ASK, 0, 0, HAND_OVER, 0, ANSWER, 1, 0, 0, 0, *request(GET_VRING_BASE, queue=0),
                        *memory(), HAND_OVER, 0, *request(RESET_DEVICE)]
    yield "hand-over-packed", [1, *handshake(packed=True), *memory(), *ring(0, number(0x80008000)), HAND_OVER, 0,
                               *request(GET_VRING_BASE)]
    yield "hand-over-migration", [0, *handshake(), *memory(), *ring(0), *request(SET_LOG_BASE, 9, 0), HAND_OVER, 0,
                                  *request(GET_VRING_BASE)]
    for lie in range(PARCEL_LIES):
        # Of the connection, of memory, of a ring: its size, and whether it runs.
        yield f"hand-over-lies-{lie}", [0, *(byte for item in (1, 16, 30, 40) for byte in
                                             [*running, HAND_OVER, 1, item, 0, lie, *([20] if lie >= 4 else [])])]
    yield "every-message", [0, *handshake(), *[byte for id_ in ALL_REQUESTS for byte in request(id_, 0, 0, 0)]]
    yield "many-descriptors", [0, SET_MEM_TABLE - 1, 0, 0, 0, PLAIN_MEMORY, 0, 40, *[0] * 40, WHOLE]


# Steps of fuzz_vhost_user_frontend.c: what the VMM calls, and what the backend says meanwhile.
NEGOTIATE, FEATURES, MEMORY, START, STOP, ENABLE, CALL, CONFIGURE, RESET = 0, 1, 2, 3, 5, 6, 7, 8, 9
SPEAK = 19
YES = [0, 0, 0, WHOLE]  # an answer: of the right value, not perturbed


def vmm(call, queue=0, *more, answers=1):
    return [call, queue, *more, *YES * answers]


def channel(row, *fields, queue=0):
    """A request on the backend channel: 0 VFIO file, 1 notify area of the profile, 2 VRING_HOST_NOTIFIER."""
    return [SPEAK, 0, 144, 2, row, 0, queue, *fields, RIGHT, WHOLE]


def frontend_seeds():
    for mode, name in ((0, "standard"), (1, "extended"), (2, "vfio2018"), (0x82, "need-reply"), (0x40, "deaf")):
        always, profile = bool(mode & 0x80), mode % 3
        start = [mode, *vmm(NEGOTIATE, answers=5 + always), *vmm(FEATURES), *vmm(MEMORY, 0),
                 *vmm(START, 0, 0, answers=5 if always else 2)]
        row = 1 if profile else 2
        area, kind = channel(row, 0, 0), [0] if profile == 1 else []
        yield f"area-{name}", [*start, *area, *area, *channel(row, 255), *area, *vmm(STOP, 0, answers=1), *vmm(RESET)]
        yield f"vfio-file-{name}", [*start, *channel(0, 0, 0, *kind), *channel(0, 0, 200, *kind, queue=1),
                                    *channel(0, 255, *kind[1:]), *vmm(RESET)]
    yield "configuration", [0, *vmm(NEGOTIATE, answers=5), *vmm(CONFIGURE, answers=6), *vmm(ENABLE), *vmm(CALL)]


# Rows of the vfio-user table, in its order; a kind of step is the row's number.
(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ,
 DMA_WRITE, RESET_ROW, DIRTY_PAGES, WRITE_MULTI, DEVICE_FEATURE, MIG_READ, MIG_WRITE, REMAP) = range(19)
ALL_ROWS = range(32)
INVALIDATE, PAGE_RESPONSE, ACCESS_MULTI = 23, 25, 26
REPLY, ACT, REFUSE_NEXT, INTRUDE, COME_AGAIN = 128, 176, 208, 222, 226
PLAIN = 7  # of a choice of eight: as it should be
LATER = 96  # added to a step: nothing is processed behind it


def say(row, *fields, later=0):
    """A step of fuzz_vfio_user_server.c: a command that is right, sent whole."""
    return [row + later, 0, *fields, RIGHT, WHOLE]


def range_(slot, quarters=4):
    return [slot, quarters - 1, PLAIN]


def dma_map(slot, fd=0, quarters=4, **more):
    return say(DMA_MAP, 2, fd, *range_(slot, quarters), 0, **more)


def dma_unmap(slot, quarters=4, flags=0, **more):
    return say(DMA_UNMAP, flags, *range_(slot, quarters), **more)


def set_irqs(kind, action, index, start, count, *data):
    return say(SET_IRQS, kind, action, index, start, count, 0, *data)


def access(row, region, offset, count):
    return say(row, offset % 256, offset // 256, region, count - 1, PLAIN)


MSIX, BAR2, CONFIG, NO_FILE = 2, 2, 7, 7


def trigger(index, vector):
    return [ACT, 255, index, vector]


def dma(slot, write, *places):
    """The device's access: (quarter of memory, bytes) each."""
    return [ACT, 0, slot, 255 * write, len(places), *(byte for at, size in places for byte in (at, size % 256, size // 256, 0))]


def bounce(slot, at, size, access):
    return [ACT, 100, slot, at, size % 256, size // 256, access - 1]


QUIESCED, LATER_ANSWER = [ACT, 170], [ACT, 200]


def feature(index, methods, *fields, data_bytes=16):
    """methods: 1 GET, 2 SET, 4 PROBE."""
    return say(DEVICE_FEATURE, data_bytes, index, methods, *fields[:index == 2], 0, *fields[index == 2:])


def migrate(state):
    return feature(2, 2, state, data_bytes=8)


def answer_dma(twin=False):
    return [REPLY, 0, RIGHT, *[0] * twin, WHOLE]


def vfu_server_seeds():
    hello = say(VERSION, 1)
    infos = [*say(GET_INFO, 64, 0, 0, 0), *(byte for region in range(9) for byte in say(REGION_INFO, 0, 4, region, 0)),
             *say(IO_FDS, 0, 4, 2, 0), *(byte for index in range(5) for byte in say(IRQ_INFO, 16, 0, index, 0))]
    irqs = [*set_irqs(2, 0, MSIX, 0, 8), *set_irqs(0, 0, MSIX, 0, 1), *set_irqs(1, 0, MSIX, 0, 2, 1, 1),
            *set_irqs(2, 0, 0, 0, 1), *set_irqs(0, 1, 0, 0, 1), *trigger(0, 0), *set_irqs(0, 2, 0, 0, 1),
            *set_irqs(0, 0, MSIX, 0, 0)]
    memory_ = [*dma_map(0), *dma_map(4, fd=1), *dma_map(8, fd=NO_FILE), *dma_map(0)]
    yield "boot", [*hello, *memory_, *infos, *irqs, *say(RESET_ROW), *access(REGION_READ, CONFIG, 0, 64)]
    yield "memory", [*hello, *memory_, *dma_unmap(1, 2), *dma_unmap(0, 1), *dma_unmap(3, 6), *dma_map(1, quarters=2),
                     *dma_unmap(0, flags=2), *dma_map(0), *dma_map(3)]
    yield "pipelined", [*hello, *dma_map(0, later=LATER), *dma_map(4, later=LATER), *dma_unmap(0, later=LATER),
                        *dma_map(0, later=LATER), *dma_unmap(4)]
    yield "interrupts", [*hello, *irqs, *access(REGION_WRITE, BAR2, 3, 4), *trigger(MSIX, 1), *irqs]
    yield "registers", [*hello, *access(REGION_READ, 0, 0, 8), *access(REGION_WRITE, 0, 0, 8),
                        *access(REGION_WRITE, BAR2, 1, 1), REFUSE_NEXT, *access(REGION_READ, BAR2, 0, 4),
                        REFUSE_NEXT, *say(RESET_ROW), *access(REGION_READ, CONFIG, 256, 8)]
    yield "every-message", [*say(VERSION, 4), *[byte for row in ALL_ROWS for byte in [row, 0, *[0] * 8, RIGHT, WHOLE]]]
    for terms in range(6):
        yield f"version-{terms}", [*say(VERSION, terms), *dma_map(0), *infos[:16], *say(VERSION, 1)]
    yield "come-again", [*hello, *memory_, *irqs, COME_AGAIN, *hello, *memory_, INTRUDE, *dma_unmap(0), COME_AGAIN]
    yield "many-descriptors", [*hello, DMA_MAP, 0, 2, 0, *range_(0), 0, 0, 40, *[0] * 40, WHOLE]
    for terms, name in ((1, "one-socket"), (3, "twin"), (5, "served")):
        start, answer = [*say(VERSION, terms), *dma_map(0, fd=NO_FILE), *dma_map(4)], answer_dma(name == "twin")
        refusal = [REPLY, 250, 14, *answer[2:]]
        yield f"dma-{name}", [*start, *dma(0, 0, (0, 64)), *dma(1, 1, (1, 64), (4, 64)), *(answer * 3),
                              *dma(2, 0, (0, 300)), *refusal, *dma(3, 0, (3, 16)), *dma(3, 0),
                              *answer, *dma(4, 0, (9, 16)), *dma(4, 1, (0, 100)), *dma_unmap(0), *answer,
                              *dma(5, 0, (0, 8)), *dma_map(0, fd=NO_FILE), *dma(5, 0, (0, 8)), *dma(0, 1, (2, 9)), COME_AGAIN]
    running, stop, stop_copy, resuming, pre_copy = 2, 1, 3, 4, 6
    save, load = say(MIG_READ, 40, 40, 0), say(MIG_WRITE, 40, 40, 0)
    yield "migration", [*hello, *feature(1, 1, 0, 0), *feature(1, 5, 0, 0), *feature(2, 1, 0, data_bytes=8), *save, *migrate(pre_copy), *save,
                        *migrate(stop_copy), *save, *save, *migrate(stop), *migrate(resuming), *load, *load, *migrate(running),
                        *migrate(stop), REFUSE_NEXT, *migrate(resuming), REFUSE_NEXT, *migrate(stop_copy), *save,
                        COME_AGAIN, *hello, *migrate(resuming), *load, COME_AGAIN, *hello, *feature(2, 1, 0, data_bytes=8)]
    yield "probes", [*hello, *[byte for index in range(10) for byte in feature(index, 4, 0, data_bytes=0)]]
    yield "quiescing", [*hello, *dma_map(0, fd=NO_FILE), *dma(0, 0, (0, 64)), REFUSE_NEXT, *migrate(stop), *QUIESCED,
                        *migrate(running), REFUSE_NEXT, *say(RESET_ROW), *dma(1, 0, (0, 64)), COME_AGAIN, *hello]
    page, memory_bytes = 9, 13  # of fuzz_number()
    logged = feature(6, 2, page, 0, data_bytes=16)
    report = feature(8, 1, 15, memory_bytes, page, data_bytes=24)
    yield "logging", [*hello, *dma_map(0), *dma_map(4, fd=NO_FILE), *logged, *dma(0, 1, (0, 64), (4, 64)), *answer_dma(), *report,
                      *bounce(0, 0, 300, 2), *bounce(0, 0, 300, 2), *report, *dma_unmap(0, flags=1), *feature(7, 2, data_bytes=0),
                      *report]
    yield "bounce", [*hello, *dma_map(0, fd=NO_FILE), *dma_map(4), *bounce(0, 0, 300, 1), *bounce(1, 1, 300, 2),
                     *bounce(2, 4, 300, 3), *answer_dma(), *bounce(0, 0, 300, 3), *answer_dma(), *bounce(1, 0, 8, 1),
                     *dma_unmap(0), *answer_dma(), *answer_dma(), *bounce(2, 0, 9, 3), *dma_map(0, fd=NO_FILE),
                     *bounce(3, 0, 300, 1), *answer_dma(), *bounce(4, 0, 300, 1), COME_AGAIN]
    device_file, page = 3, 9
    yield "device-behind-its-end", [*hello, *say(DMA_MAP, 2, device_file, *range_(0), 255, page), *dma(0, 0, (0, 64)),
                                    *say(DMA_MAP, 2, device_file, *range_(8), 0), *dma(0, 1, (8, 64))]
    yield "window", [*say(VERSION, 5), *dma_map(0, fd=NO_FILE), *dma(0, 0, (0, 40000)), *dma(1, 1, (0, 40000)), *answer_dma(),
                     *answer_dma(), *dma(2, 0, (0, 40000), (1, 65535)), COME_AGAIN]
    yield "access-multi", [*say(VERSION, 5), *say(ACCESS_MULTI, 2, 3, BAR2, 4, 1, 0, BAR2, 8, 0, 8, CONFIG, 1, 1, 0),
                           *say(ACCESS_MULTI, 1, 3, BAR2, 4, 1, 0, BAR2, 8, 2, 0), *say(ACCESS_MULTI, 0, 3, BAR2, 4, 0, 224)]
    yield "write-multi", [*hello, *say(WRITE_MULTI, 1, 3, BAR2, 4, 0, 0, 8, 0), *say(WRITE_MULTI, 0, 250, CONFIG, 8, 0)]
    yield "late-answer", [*hello, REFUSE_NEXT, *access(REGION_READ, BAR2, 3, 4), *access(REGION_READ, BAR2, 0, 4), *LATER_ANSWER,
                          REFUSE_NEXT, *access(REGION_READ, BAR2, 1, 8), ACT, 201, REFUSE_NEXT,
                          *access(REGION_READ, BAR2, 1, 8), COME_AGAIN, *LATER_ANSWER]
    remap = say(REMAP, 2, 0, *range_(1, 2), 0)
    yield "remap", [*say(VERSION, 5), *memory_, *remap, *dma(0, 1, (1, 64)), *dma(1, 0, (8, 64)),
                    *say(REMAP, 2, NO_FILE, *range_(8), 0), *answer_dma(), *remap]
    for terms, name in ((6, "one-socket"), (7, "twin")):
        start, sent = [*say(VERSION, terms), *dma_map(0), *dma_map(4, fd=NO_FILE)], [*[0] * (terms == 7), WHOLE]
        present, nowhere = [REPLY, 0, 3, 0, RIGHT, *sent], [REPLY, 0, 0, 0, RIGHT, *sent]
        want, use, ask = ([ACT, 212, first] for first in (0, 112, 176))
        wanted, used, asked = [*want, 1, 1, 0], [*use, 1, 16, 0, 1, 0], [*ask, 2, 0, 1]
        taken_back = say(INVALIDATE, 9, 1, 0, 97)
        with_pasid = [DMA_MAP, 0, 2, 0, *range_(0), 0, 7, 97, WHOLE]
        yield f"iommu-{name}", [*start, *wanted, *present, *used, *taken_back, *used, *wanted, *taken_back, *present, *present,
                                *asked, *say(PAGE_RESPONSE, 1, 0), *wanted, *nowhere, *asked, *say(PAGE_RESPONSE, 2, 162),
                                *say(PAGE_RESPONSE, 0, 163), *with_pasid, *with_pasid, *wanted, COME_AGAIN, *start, *present]
    yield "stray-replies", [*hello, REPLY, 0, RIGHT, WHOLE, REPLY, 250, 5, RIGHT, WHOLE, *dma_map(0)]


# What a server does while fuzz_vfio_user_client.c waits, and what the driver calls.
LEARN, ACCESS, INTERRUPTS, MAP, DOORBELL, DEVICE_RESET, WAIT, LISTEN = 0, 2, 3, 4, 5, 6, 7, 15
CALL_WRITE_MULTI, CALL_FEATURE, CALL_MIGRATE, CALL_LOG, CALL_PLACES, CALL_REMAP, CALL_MANY, CALL_START = range(16, 24)
CALL_IOMMU = 26

def vfu_answer(*fields):
    return [0, 0, *fields, RIGHT, WHOLE]


def order(row, *fields, twin=False):
    """The server's command: 0 DMA_READ, 1 DMA_WRITE, 2 WINDOW_READ, 3 WINDOW_WRITE."""
    return [180, 0, row, 0, *fields, RIGHT, *[0] * twin, WHOLE]


def io_fds(*places, total=False, long=0, count=0):
    """A list of places, or the only page of one: (offset / 4, descriptor) of an eventfd, or with more a shadow's."""
    entries = [byte for at, fd, *shadow in places for byte in (at, fd, 200 if shadow else 0, 0, 0, *shadow)]
    return [len(places), long, *[0, 0] * total, *entries, *([255, *number(count)] if count else [0])]


def vfu_new_calls():
    """What a caller does besides registers and maps; the server has agreed to all of it (terms 5 or 1)."""
    begin = [0, *vfu_answer(5), LEARN, 0, *vfu_answer(0)]
    multi = [0, *vfu_answer(1)]
    less, more, plain = [200], [240, 5], [0]
    for done, name in ((plain, "all"), (less, "less"), (more, "more")):
        yield f"write-multi-{name}", [*multi, CALL_WRITE_MULTI, 3, 0, BAR2, 4, *vfu_answer(*done),
                                      CALL_WRITE_MULTI, 44, 1, BAR2, 8, *vfu_answer(*done), *vfu_answer(*done)]
    resized = [230, 100]
    for size, name in (([0], "right"), (resized, "resized"), ([230, 4], "short")):
        yield f"features-{name}", [*begin, CALL_FEATURE, 0, 0, 8, 1, *vfu_answer(*size), CALL_FEATURE, 1, 64, *vfu_answer(40, *size),
                                   CALL_FEATURE, 1, 8, *vfu_answer(90, *size), CALL_FEATURE, 2, 24, *vfu_answer(0, *size),
                                   CALL_FEATURE, 2, 4, *vfu_answer(200, *number(7), *size)]
        yield f"migration-{name}", [*begin, CALL_MIGRATE, 0, 0, 0, 0, *vfu_answer(0, *size), CALL_MIGRATE, 0, 0, 0, 0, *vfu_answer(240, 2, *size),
                                    CALL_MIGRATE, 1, 0, 0, 0, *vfu_answer(3, *size), CALL_MIGRATE, 1, 0, 0, 0, *vfu_answer(9, *size),
                                    CALL_MIGRATE, 2, 3, 0, 0, *vfu_answer(0, *size),
                                    CALL_MIGRATE, 2, 3, 0, 0, *vfu_answer(200, *number(2), *size)]
    read = [CALL_MIGRATE, 3, 0, 39, 0]
    yield "migration-data", [*begin, *read, *vfu_answer(0, 0), *read, *vfu_answer(200, 0), CALL_MIGRATE, 4, 0, 39, 0, *vfu_answer(),
                             *read, *vfu_answer(240, *number(41), 0), *read, *vfu_answer(0, 240, 9), *read, *vfu_answer(240, *number(5000), 0)]
    small = [4, *vfu_answer(2), LEARN, 0, *vfu_answer(0)]
    yield "migration-data-pieces", [*small, CALL_MIGRATE, 3, 0, 200, 20, *vfu_answer(0, 0), *vfu_answer(0, 0),
                                    CALL_MIGRATE, 4, 0, 200, 20, *vfu_answer(), *vfu_answer()]
    report = [CALL_LOG, 1, 0, 0, 9, 0]
    pieces = [CALL_LOG, 1, 0, 0, 200, 3]
    start = [CALL_LOG, 0, 2]
    for kind, name in ((1, "report"), (3, "unmap")):
        ask = [CALL_LOG, kind, 0, 0, 9, 0]
        size = [0] if kind == 1 else []
        yield f"dirty-{name}", [*begin, *start, *vfu_answer(0, 0), *ask, *vfu_answer(*size, 0), *ask, *vfu_answer(*size, 200, 3),
                                *ask, *vfu_answer(*size, 200, 255), CALL_LOG, 2, *vfu_answer(0, 0), *ask,
                                *vfu_answer(*([230, 50] if kind == 1 else []), 0)]
    yield "dirty-pieces", [*begin, *pieces, *vfu_answer(0, 0) * 4, *report, *vfu_answer(0, 200, 255), CALL_LOG, 3, 0, 0, 200, 7,
                           *vfu_answer(), *vfu_answer(0, 0) * 8]
    yield "dirty-cut", [*begin, *start, *vfu_answer(0, 0), *report, 0, 0, 0, 0, 1, 36, 0, WHOLE]
    yield "dirty-of-none", [*begin, *start, *vfu_answer(200, *number(0), 0), *start, *vfu_answer(200, *number(3), 0)]
    known = [LEARN, 1, 2, *vfu_answer(2, 0)]
    lists = {"one": io_fds((0, 0), total=True), "shadow": io_fds((0, 0, 1, 0, 2), total=True),
             "shadow-outside": io_fds((0, 0, 1, 230, 13), total=True), "shadow-no-file": io_fds((0, 0, 0, 0, 2), total=True),
             "long": io_fds((0, 0, 1, 0, 2), (1, 1), long=200, total=True), "no-eventfd": io_fds((0, 1), total=True),
             "no-descriptor": io_fds((0, 5), total=True), "counted": io_fds((0, 0), total=True, count=5000),
             "shadow-odd": io_fds((0, 0, 1, 230, 2), total=True), "width": [1, 0, 0, 0, 0, 0, 0, 230, 29, 0, 0],
             "wide": [1, 0, 0, 0, 0, 0, 0, 230, 4, 0, 0], "flags": [1, 0, 0, 0, 0, 0, 0, 0, 230, 255, 0],
             "type": [1, 0, 0, 0, 0, 0, 252, 0, 0, 0], "none": io_fds(total=True), "many": io_fds(*[(at, at) for at in range(4)], total=True)}
    for name, list_ in lists.items():
        yield f"places-{name}", [*begin, *known, CALL_PLACES, 2, 16, *vfu_answer(*list_), DOORBELL, 2, 0, *vfu_answer(*list_)]
        plain_list = [*list_[:2], *list_[4:]]
        yield f"places-plain-{name}", [*multi, LEARN, 0, *vfu_answer(0), *known, CALL_PLACES, 2, 16, *vfu_answer(*plain_list),
                                       DOORBELL, 2, 0, *vfu_answer(*plain_list)]
    page = [1, 0, 0, 2, 0, 0, 0, 0, 0, 0]
    yield "places-pages", [*begin, *known, CALL_PLACES, 2, 16, *vfu_answer(*page), *vfu_answer(*page), *vfu_answer(*page),
                           *vfu_answer(1, 0, 0, 0, 0, 0, 0, 0, 0, 0), CALL_PLACES, 2, 16, *vfu_answer(1, 0, 200, *number(70000), *page[4:])]
    yield "places-outside", [*begin, LEARN, 1, 3, *vfu_answer(0, 30, 0), CALL_PLACES, 3, 16, *vfu_answer(*io_fds((1, 0), total=True))]
    for count, total, name in ((1, 70000, "many"), (2, 1, "fewer"), (1, 0, "none"), (0, 1, "empty")):
        yield f"places-total-{name}", [*begin, *known, CALL_PLACES, 2, 1, *vfu_answer(count, 0, 200, *number(total), *[0] * (5 * count + 1))]
    all_ = [CALL_MANY, 0, 4, *[byte for slot in range(4) for byte in (slot, 2, 0)]]
    yield "remap", [*begin, *all_, *vfu_answer() * 4, CALL_REMAP, 1, 2, 0, *vfu_answer(), CALL_REMAP, 2, 2, 101, *vfu_answer(),
                    CALL_REMAP, 3, 2, 100, 250, 22, RIGHT, WHOLE, WAIT, *order(0, 0, 0, 16, 0, 0)]
    yield "many", [*begin, *all_, *vfu_answer() * 4, CALL_MANY, 4, 2, 0, 2, 0, 1, 2, 0, *vfu_answer() * 2, CALL_MANY, 6, 0, *vfu_answer(),
                   CALL_MANY, 7, 1, 0, 2, 0, *vfu_answer()]
    yield "unmap-another", [*begin, *all_, *vfu_answer() * 4, CALL_MANY, 4, 1, 0, 2, 0, 0, 0, 5, 1, 24, WHOLE]
    yield "vectors", [*begin, INTERRUPTS, 2, 0, 170, 0, 40, 0, *vfu_answer() * 3, INTERRUPTS, 2, 0, 170, 1, 20, 0xf0, *vfu_answer() * 9,
                      INTERRUPTS, 2, 0, 220, 2, 8, 3, *vfu_answer(), INTERRUPTS, 2, 0, 221, 0, 8, 3, *vfu_answer(),
                      INTERRUPTS, 2, 3, 100, *vfu_answer(), INTERRUPTS, 2, 3, 140, *vfu_answer(), LEARN, 2, 2, *vfu_answer(240, 21)]
    yield "started", [*begin, CALL_START, 2, 0, 0, 15, 0, CALL_START, 2, 0, 0, 7, 200, *[LISTEN, *vfu_answer()] * 2,
                      CALL_START, 2, 0, 0, 15, 0, WAIT, *vfu_answer(), ACCESS, 2, 0, 0, 7, 0, 250, ACCESS, 2, 0, 0, 7, 0, 0, *vfu_answer()]
    for at, name in ((0, "offset"), (8, "region"), (12, "count")):
        echo = [0, 0, 5, 1, 16 + at, WHOLE]
        yield f"echo-{name}", [*begin, ACCESS, 2, 16, 0, 7, 0, 0, *echo, ACCESS, 2, 16, 0, 7, 0, 200, *echo]
    for at, name in ((0, "argsz"), (4, "flags"), (8, "range"), (24, "pages")):
        flipped = [5, 1, 16 + at, WHOLE]
        yield f"answer-of-another-{name}", [*begin, CALL_FEATURE, 1, 64, 0, 0, 40, 0, *flipped, *report, 0, 0, 0, 0, *flipped,
                                            CALL_LOG, 3, 0, 0, 9, 0, 0, 0, 0, *flipped, LEARN, 2, 2, 0, 0, 0, *flipped,
                                            LEARN, 1, 2, 0, 0, 2, 0, *flipped]
    for at, name in ((0, "argsz"), (8, "region")):
        yield f"places-of-another-{name}", [*begin, *known, CALL_PLACES, 2, 16, 0, 0, *lists["one"], 5, 1, 16 + at, WHOLE]
    area = [0, 0, 7, 0]
    for sparse, name in (([2, 0, 0, 250, 0, 0, 0, 0, 0], "one-place"), ([1, 0, 0, 250, 255, *[255] * 7, 0, 0], "many"),
                         ([1, 0, 0, 0, 250, 32, 0], "twice"), ([1, 0, 0, 0, 250, 32, 250, 9], "circle"),
                         ([1, 0, 0, 0, 250, 255, 0], "behind"), ([1, 0, 0, 0, 250, 8, 250, 9], "inside"),
                         ([1, 250, 1, 0, 0, 0, 0], "no-page"), ([1, 0, 250, 0, 0, 0, 0], "empty"),
                         ([1, 0, 250, 24, 0, 0, 0], "wraps")):
        yield f"areas-{name}", [*begin, LEARN, 1, 0, 0, 0, *area[2:], *sparse, RIGHT, WHOLE]
    for kind, value, name in ((1, 1, "odd"), (1, 24, "far"), (0, 0, "absent"), (0, 29, "odd-size"), (0, 23, "large")):
        yield f"region-{name}", [*begin, LEARN, 1, 7, *vfu_answer(kind, value, 200, 0)]
    yield "region-short-file", [*begin, LEARN, 1, 7, *vfu_answer(2, 230)]
    yield "vectors-too-many", [*begin, LEARN, 2, 2, *vfu_answer(240, 21)]
    for flags, regions, irqs, name in ((3, 91, 31, "regions"), (3, 35, 43, "interrupts"), (2, 2, 31, "few-regions"), (2, 35, 1, "few-interrupts")):
        yield f"device-{name}", [0, *vfu_answer(5), LEARN, 0, *vfu_answer(250, flags, regions, irqs)]


def vfu_client_seeds():
    yield from vfu_new_calls()
    info = [LEARN, 0, *vfu_answer(0)]
    for terms in range(6):
        hello, twin = vfu_answer(terms), terms in (3, 4)
        yield f"boot-{terms}", [terms == 3, *hello, *info, LEARN, 1, 0, *vfu_answer(7, 0, 2, *[0] * 6), LEARN, 1, 2,
                                *vfu_answer(4, 0), LEARN, 2, 2, *vfu_answer(0),
                                DOORBELL, 0, 0, *vfu_answer(*io_fds((0, 0), (1, 1), (2, 2), total=terms > 3)), MAP, 0, 2, 0, 0, *vfu_answer(), *vfu_answer(),
                                INTERRUPTS, 2, 1, 0, *vfu_answer(), ACCESS, 0, 16, 0, 7, 0, 0, *vfu_answer(),
                                ACCESS, 0, 16, 0, 7, 0, 200, *vfu_answer(), DEVICE_RESET, *vfu_answer()]
        orders = [*order(0, 0, 0, 16, 0, 0, twin=twin), *order(1, 0, 0, 16, 0, 0, twin=twin),
                  *order(2, 0, 0, 16, 0, 0, 0, 0, 0, twin=twin), *order(3, 0, 0, 16, 0, 0, 0, 0, 0, twin=twin)]
        served = [*orders, *vfu_answer(), LISTEN]
        yield f"dma-{terms}", [terms in (3, 4), *hello, *info, MAP, 0, 2, 0, 255, *served, MAP, 1, 2, 100, 255, *served,
                               MAP, 2, 2, 200, 255, *served, MAP, 3, 2, 201, 100, *served, WAIT, *served]
    edge_8k, memory_bytes = 10, 13  # of fuzz_number()
    for where, name in ((200, "far"), (100, "here")):
        yield f"dma-large-{name}", [4, *vfu_answer(1), *info, MAP, 0, 2, where, 255, *vfu_answer(),
                                    *[byte for row in (0, 1) for count in (edge_8k, memory_bytes)
                                      for byte in (LISTEN, *order(row, 0, 0, 16, 0, 255, count))], LISTEN]
        yield f"dma-across-{name}", [0, *vfu_answer(1), *info, MAP, 0, 2, where, 255, *vfu_answer(),
                                     LISTEN, *order(0, 9, 0, 64, 192, 0), LISTEN, *order(1, 9, 0, 64, 192, 0),
                                     MAP, 1, 2, where, 255, *vfu_answer(),
                                     LISTEN, *order(0, 9, 0, 64, 192, 0), LISTEN, *order(1, 9, 0, 64, 192, 0), LISTEN]
    outside = 128 + 16  # 1 << 16, the end of the region, and well inside the file
    yield "area-outside", [0, *vfu_answer(1), *info, LEARN, 1, 0, *vfu_answer(7, 0, 1, 255, outside, 0, 0, 0, 0)]
    yield "refused", [0, *vfu_answer(1), LEARN, 0, 0, 250, 22, RIGHT, WHOLE, *info]
    yield "stray-reply", [0, *vfu_answer(1), *info, LISTEN, *vfu_answer(), LEARN, 0]
    question, pages = order(4, 1, 0, 97), order(5, 7, 0, 97, 2, 0)
    take_back, memory_of_pasid = [CALL_IOMMU, 0, 2, *vfu_answer(0)], [CALL_IOMMU, 2, 0, *vfu_answer()]
    yield "iommu", [64, *vfu_answer(6), *info, LISTEN, *question, 3, 0, 0, LISTEN, *question, 3, 0, 130, CALL_IOMMU, 3, 0, 3, 0,
                    *take_back, LISTEN, *pages, 0, LISTEN, *pages, 200, CALL_IOMMU, 4, 7, *memory_of_pasid, LISTEN,
                    *order(0, 0, 0, 16, 0, 0)[:-2], 7, 97, WHOLE, LISTEN, *pages, 200, LISTEN, *pages, CALL_IOMMU, 5, 0, *take_back]
    yield "hang-up", [0, *vfu_answer(1), *info, MAP, 0, 2, 0, 0, 254]


def vfio_info_seeds():
    """A kernel's answers: each is no error, of its own size, then its fields as they should be but for one."""
    said, iommu, regions, irq = [0, 0], 0, 1, 2
    avail = [3, 9, 0]

    def iommu_(*chain, flags=3, sizes=(0,), twice=True):
        fields = [*said, flags, *sizes, *chain]
        return [iommu, *fields, *(fields if twice else [])]

    range_list = [1, 0, 0, 3, 0, *[0, 0] * 3, 0]
    yield "iommu", [*iommu_(2, *range_list, *avail, 0, 0), *iommu_(flags=1, twice=False), *iommu_(flags=1, sizes=(255, 0), twice=False)]
    for name, pairs in (("many", [3, 255, *number(2000), *[0, 0] * 3]), ("none", [0, 0]), ("back", [2, 0, 0, 0, 255, 0, 0]),
                        ("empty", [2, 0, 0, 0, 0, 255, 0]), ("last", [2, 0, 0, 255, *number(2**64 - 1), 255, 0, 0])):
        yield f"iommu-{name}", iommu_(1, 1, 0, 0, *pairs, 0, 0)
    for name, next_ in (("circle", [255, 24]), ("behind", [255, 70]), ("cut", [255, 47])):
        yield f"iommu-{name}", iommu_(1, 4, 0, 0, next_[0], *[next_[1] + 26], 0)
    for next_, name in ((60000, "long"), (8, "short")):
        yield f"iommu-{name}", iommu_(1, 1, 0, 0, 2, 255, *number(2000), *[0, 0] * 2, 255, *number(next_), 0)
    yield "iommu-bare-number", iommu_(1, 3, 0, 250, 0, 0)
    yield "iommu-crowded", iommu_(1, 1, 0, 0, 70, 0, *[0, 0] * 70, 0, 0)
    yield "regions-areas-crowded", [1, *[0, 0, 0, 0, 0, 200, 1, 1, 0, 0, 70, 0, *[0, 0] * 70, 0, 0] * 2]
    yield "iommu-bare", iommu_(1, 1, 0, 250, 0, 0)
    yield "regions-areas-bare", [1, *[0, 0, 0, 0, 0, 200, 1, 1, 0, 250, 0, 0] * 18]
    yield "iommu-grows", [iommu, *[0, 250, 9, 3, 0, 0, 0] * 5]
    plain = [*said, 0, 0, 0, 100]
    sparse = [*said, 0, 0, 0, 200, 1, 1, 0, 0, 2, 0, *[0, 0] * 2, 0, 0]
    window = [1, 10]
    yield "regions", [regions, *plain * 9, *window * 9, regions, *(sparse * 2) * 9, *window * 9]
    for name, one in (("index", [*said, 255, 1, 0, 0, 100]), ("far", [*said, 0, 0, 255, 23, 100]), ("large", [*said, 0, 255, 24, 0, 100]),
                      ("absent", [250])):
        yield f"regions-{name}", [regions, *plain, *one, *plain * 7, *window * 9]
    for name, pairs in (("many", [2, 255, *number(60), *[0, 0] * 2]), ("outside", [2, 0, 255, 14, 0, 0, 0]), ("wrap", [1, 0, 255, 25, 255, 10])):
        bent = [*said, 0, 0, 0, 200, 1, 1, 0, 0, *pairs, 0, 0]
        yield f"regions-areas-{name}", [regions, *plain, *bent * 2, *plain * 7, *window * 9]
    yield "irqs", [irq, 2, *said, 0, 0, irq, 2, *said, 255, 0, 0, irq, 2, *said, 0, 255, 20, irq, 3, 250]


def vring_seeds():
    """The driver offers, the device takes, gives back and decides on an interrupt."""
    offer = [0, 1, 0, 10, 64, 0, 30, 64, 2]
    indirect = [4, 2, 5, 1, 64, 1, 2, 64, 1, 3, 64, 0, 5, *[0, 0, 0, 5, 48, 4]]
    serve = [8, 3, 6, 9, 0, 16, 0, 13]
    for chosen, name in ((0, "plain"), (1, "indirect"), (2, "event-idx"), (3, "both"), (4, "in-order")):
        yield name, [chosen, 8, *indirect, *(offer + serve) * 6]
        yield f"{name}-small", [chosen, 2, *(offer + serve) * 12]
    yield "scribbled", [1, 8, *offer, 5, 2, 16, 4, 255, 255, 255, 255, 6, 5, 0, 0, 8, *[255] * 9, 6]
    yield "unmapped", [0, 8, *offer, 15, 255, 6, 15, 0, 6, 13]
    yield "late", [0, 8, *offer * 4, 6, 6, 6, 6, 11, 3, 1, 0, 1, 0, 1, 0, 12, 14, 1, 9, 0, 0, 0]


def shadow_seeds():
    """The driver offers, the shadow forwards, the device takes and gives back, the shadow returns."""
    offer = [0, 1, 0, 10, 64, 0, 30, 64, 2]
    indirect = [3, 2, 5, 1, 64, 1, 2, 64, 1, 3, 64, 0, 5, *[0, 0, 0, 5, 48, 4]]
    serve = [5, 8, 10, 0, 0, 7]
    late = [5, 8, 8, 8, 10, 0, 2, 10, 0, 0]
    for packed in (0, 1):
        for chosen, name in ((0, "plain"), (1, "indirect"), (2, "event-idx"), (3, "both"), (4, "in-order")):
            begin = [packed, chosen, 8]
            name = ("packed-" if packed else "split-") + name
            yield name, [*begin, 12, 1, *indirect, *(offer + serve) * 6, 14, *(offer + serve) * 3]
            yield f"{name}-drained", [*begin, *offer * 5, *late, 14, *late, 13, 1, *late, 14, *serve]
        lies = [offer[0], *offer[1:], 5, 8, 11, 0, 0, 15, *[1] * 16, 7, 13, 0, *serve, 14]
        yield f"{'packed' if packed else 'split'}-lies", [packed, 0, 8, *lies]


def virtio_seeds():
    """Steps of fuzz_vfio_user_virtio.c: each begins with its number, rest as it reads."""
    set_up, refuse, kick, act, reset, leave, field = [0], [1], [5, 2, 0, 0, 1, 0, *[0] * 2], [7], [8], [9], [10]
    stop = [[2, queue, 1, 1] for queue in range(4)]

    def window(place, length, bar, value):
        return [3, place, length, bar, value]

    def put(number_, value):
        return [*field, number_, value]

    for vectors, name in ((0, "vectors"), (1, "pin")):
        yield f"{name}-stop", [vectors, *set_up, *kick, *refuse, *stop[0], *stop[1], *[*act, 0, 1], *stop[3],
                               *set_up]
        yield f"{name}-reset", [vectors, *set_up, *put(5, 1), *put(13, 1), *put(8, 1), *reset, *set_up, *leave,
                                *put(4, 0)]
        yield f"{name}-window", [vectors, *set_up, *window(22, 2, 2, 1), *window(20, 1, 2, 0),
                                 3, 250, 2, 4, *number(0xfffffffe), 1]
        yield f"{name}-change", [vectors, *set_up, *[*act, 0, 3], *[*act, 1, 2], *[*act, 2, 4], *[*act, 2, 0],
                                 4, 0, 1, 0, 3, 0, *[0] * 4, 6, 0, 2, 0, 19, 0, *range(20)]
        yield f"{name}-refuse", [vectors, *refuse, *set_up, *put(9, 77), *put(6, 0), *put(6, 65), *put(7, 4),
                                 *put(3, 4), *put(5, 3), *put(8, 1), *put(2, 3)]


def main():
    corpus = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS
    for target, seeds in (("vhost_user_backend", backend_seeds()), ("vhost_user_frontend", frontend_seeds()),
                          ("vfio_user_server", vfu_server_seeds()), ("vfio_user_client", vfu_client_seeds()),
                          ("vfio_info", vfio_info_seeds()), ("vfio_user_virtio", virtio_seeds()),
                          ("vring_split", vring_seeds()), ("vring_packed", vring_seeds()),
                          ("vring_shadow", shadow_seeds())):
        (corpus / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds:
            (corpus / target / f"seed-{name}").write_bytes(bytes(data))


if __name__ == "__main__":
    main()
