#!/usr/bin/env python3
"""Records what Linux's line discipline does with random settings and input, for tests/line_discipline.rs.

usage: record_tty.py CASES SEED > data/tty.txt

Each line is one fresh terminal and the steps done to it, in order, separated by spaces (bytes in hexadecimal):
  t:IFLAG:OFLAG:LFLAG:MIN   settings
  iBYTE>OUT                 a byte from the device, and what the terminal then sends
  wBYTES>OUT                bytes written by a program, and what the terminal sends
  rSIZE=BYTES               a non-blocking read and its answer, ! for EAGAIN
  qCOUNT                    what FIONREAD says
  p0 p1                     whether poll says that there is input
"""
import fcntl, os, random, select, struct, sys, termios, time

ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH = 0o2, 0o10, 0o20, 0o40, 0o100, 0o200
ECHOCTL, ECHOPRT, ECHOKE, IEXTEN, ISIG = 0o1000, 0o2000, 0o4000, 0o100000, 0o1
PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IUTF8 = 0o10, 0o40, 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000, 0o40000
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS = 0o1, 0o2, 0o4, 0o10, 0o20, 0o40, 0o14000
TCGETS, TCSETS = 0x5401, 0x5402
EOL, EOL2 = ord('|'), ord('#')


def settings(rng):
    kind = rng.random()
    iflag, oflag, lflag = ICRNL | IXON, OPOST | ONLCR, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN
    if kind < 0.25:
        pass
    elif kind < 0.75:
        for _ in range(rng.randrange(1, 4)):
            lflag ^= rng.choice([ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, ECHOCTL, ECHOPRT, ECHOKE, IEXTEN, ISIG])
        for _ in range(rng.randrange(0, 3)):
            iflag ^= rng.choice([PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IUTF8, IUTF8])
        for _ in range(rng.randrange(0, 3)):
            oflag ^= rng.choice([OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS])
    elif kind < 0.85:
        iflag, oflag, lflag = 0, 0, 0
    else:
        iflag = sum(f for f in [PARMRK, ISTRIP, INLCR, IGNCR, ICRNL, IUCLC, IXON, IXANY, IUTF8] if rng.random() < 0.5)
        oflag = sum(f for f in [OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET, XTABS] if rng.random() < 0.5)
        lflag = sum(f for f in [ICANON, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, ECHOCTL, ECHOPRT, ECHOKE, IEXTEN, ISIG] if rng.random() < 0.5)
    return iflag, oflag, lflag, rng.choice([0, 1, 1, 1, 3])


PLAIN = [bytes([c]) for c in b"abcXYZ019_ ,. \xe9\x80"] + ["é".encode(), "漢".encode(), "ß".encode(), b"foo bar", b"a\tb", b"\tx"]
SPECIAL = [bytes([c]) for c in b"\r\n\n\n\x7f\x7f\x7f\x15\x17\x17\x04\x04\x16\x12\x03\x1c\x1a\x13\x11\x11|#\x00\xff\x08\x1b\x01\t\t"]


class Terminal:
    def __init__(self):
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        os.set_blocking(self.slave, False)

    def set(self, iflag, oflag, lflag, minimum):
        raw = bytearray(fcntl.ioctl(self.slave, TCGETS, bytes(36)))
        _, _, cflag, _ = struct.unpack_from("IIII", raw)
        struct.pack_into("IIII", raw, 0, iflag, oflag, cflag, lflag)
        cc = 17
        raw[cc + 6], raw[cc + 5], raw[cc + 11], raw[cc + 16] = minimum, 0, EOL, EOL2
        fcntl.ioctl(self.slave, TCSETS, bytes(raw))

    def settle(self):
        # Looking at an empty terminal makes Linux process what is under way; otherwise only time does.
        if select.select([self.slave], [], [], 0)[0]:
            time.sleep(0.02)

    def sent(self):
        self.settle()
        out = b""
        while True:
            select.select([self.master], [], [], 0)
            try:
                out += os.read(self.master, 65536)
            except BlockingIOError:
                return out

    def close(self):
        os.close(self.slave)
        os.close(self.master)


def case(rng):
    terminal, steps = Terminal(), []
    current = settings(rng)

    def set_now():
        terminal.set(*current)
        steps.append("t:%o:%o:%o:%d" % current)
        out = terminal.sent()
        assert not out or is_stopped, out

    is_stopped = False
    set_now()
    for _ in range(rng.randrange(5, 60)):
        what = rng.random()
        if what < 0.80:
            for byte in (rng.choice(PLAIN) if rng.random() < 0.6 else rng.choice(SPECIAL)):
                os.write(terminal.master, bytes([byte]))
                steps.append("i%02x>%s" % (byte, terminal.sent().hex()))
                if byte == 0x13:
                    is_stopped = True
                elif byte in (0x11, 0x03, 0x1c, 0x1a):
                    is_stopped = False
        elif what < 0.88:
            size = rng.choice([1, 2, 3, 5, 100])
            try:
                steps.append("r%d=%s" % (size, os.read(terminal.slave, size).hex()))
            except BlockingIOError:
                steps.append("r%d=!" % size)
        elif what < 0.92 and not is_stopped and not current[0] & IXANY:
            data = b"".join(rng.choice(PLAIN + [b"\n", b"\r", b"\t", b"\b"]) for _ in range(rng.randrange(1, 5)))
            try:
                if os.write(terminal.slave, data) == len(data):
                    steps.append("w%s>%s" % (data.hex(), terminal.sent().hex()))
                else:
                    return None
            except BlockingIOError:
                return None
        elif what < 0.95:
            steps.append("q%d" % struct.unpack("i", fcntl.ioctl(terminal.slave, termios.FIONREAD, bytes(4)))[0])
        elif what < 0.97:
            steps.append("p%d" % len(select.select([terminal.slave], [], [], 0)[0]))
        elif not is_stopped:
            current = settings(rng)
            set_now()
    for _ in range(5):
        try:
            steps.append("r100=%s" % os.read(terminal.slave, 100).hex())
        except BlockingIOError:
            steps.append("r100=!")
            break
    terminal.close()
    return " ".join(steps)


def main():
    cases, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    done = 0
    while done < cases:
        line = case(rng)
        if line:
            print(line)
            done += 1


main()
