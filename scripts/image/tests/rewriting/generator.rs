//! Random functions around system calls, in a program that prints what they leave behind.
//!
//! A function is a list of [`Item`]s; branches lead to any of them, or into the inside of one that is made for it. Every function
//! ends: all branches lead forward but those that count r15 down. rax always holds a number that no system call has, but for a
//! moment around those calls that succeed, so that a `syscall` may be reached from everywhere.

const TEXT: u64 = 0x40_1000;
const DATA: u64 = 0x60_0000;
/// Where the program collects what it prints; tables come before it.
const OUTPUT: u64 = DATA + 0x8000;
const FUNCTIONS: u64 = 24;
/// How much each function prints at most.
const OUTPUT_SIZE: u64 = 0x100;
/// How far tables lie apart.
const TABLE_STRIDE: usize = 64;
/// Registers that functions use: all but rax, rsp and r15.
const REGISTERS: [u8; 13] = [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
/// Registers that are printed: r11 and the flags are nobody's behind a return.
const PRINTED: [u8; 13] = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14];
/// How many words of the red zone are printed.
const RED_ZONE_WORDS: u8 = 8;
const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const R15: u8 = 15;
/// mov eax, 0x90909090: a number of no system call, and a nop at every byte but the first.
const MOV_OF_NOPS: [u8; 5] = [0xb8, 0x90, 0x90, 0x90, 0x90];
/// sched_yield, getuid, geteuid and two that do not exist.
const NUMBERS: [u32; 5] = [24, 102, 107, 1000, 0x9090_9090];

/// Random numbers: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(u64::try_from(list.len()).expect("a list is short")))
            .expect("an index is small")]
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// A place in the program: an item of a function and a byte in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Label {
    item: usize,
    inside: u8,
}

impl Label {
    /// The same where only instructions are entered.
    fn outside(self) -> Self {
        Self { inside: 0, ..self }
    }
}

/// How the last bytes of an item are made from labels.
#[derive(Clone, Copy)]
enum Fix {
    /// The distance from the end of the item, of one byte if it is near enough and of four otherwise.
    Branch { short: &'static [u8], long: &'static [u8], to: Label },
    /// The distance from the end of the item, of four bytes.
    Relative { to: Label },
    /// Four bytes of an address.
    Absolute { to: Label },
    /// Four bytes: how far one label is from another.
    Between { from: Label, to: Label },
    /// Four bytes of a table's address, or of the distance to it.
    Table { number: usize, is_relative: bool },
}

struct Item {
    bytes: Vec<u8>,
    fix: Option<Fix>,
}

/// A table of labels in the data.
enum Table {
    Addresses(Vec<Label>),
    /// Distances from the table, or from a label.
    Distances(Vec<Label>, Option<Label>),
}

/// An ELF file with random functions.
pub(crate) fn program(random: &mut Random) -> Vec<u8> {
    // The first table is for those who read one.
    let first = Table::Addresses(vec![Label { item: 0, inside: 0 }; 4]);
    let mut assembler = Assembler { items: Vec::new(), tables: vec![first] };
    let functions: Vec<usize> = (0..FUNCTIONS).map(|_| assembler.function(random)).collect();
    let entry = assembler.items.len();
    for (number, &function) in (0..).zip(&functions) {
        assembler.call(random, function, OUTPUT + number * OUTPUT_SIZE);
    }
    assembler.print(FUNCTIONS * OUTPUT_SIZE);
    assembler.finish(entry)
}

struct Assembler {
    items: Vec<Item>,
    tables: Vec<Table>,
}

impl Assembler {
    fn push(&mut self, bytes: &[u8]) {
        self.items.push(Item { bytes: bytes.to_vec(), fix: None });
    }

    fn push_fixed(&mut self, bytes: &[u8], fix: Fix) {
        self.items.push(Item { bytes: bytes.to_vec(), fix: Some(fix) });
    }

    /// A random function; says at which item it begins.
    fn function(&mut self, random: &mut Random) -> usize {
        let start = self.items.len();
        let groups = 2 + random.below(3);
        for _ in 0..groups {
            for _ in 0..random.below(4) {
                self.plain(random);
            }
            if random.one_in(2) {
                self.branch(random, start);
            }
            self.system_call(random);
            if random.one_in(2) {
                self.branch(random, start);
            }
        }
        let end = self.items.len();
        self.aim(random, start, end);
        self.push(&[0xc3]);
        if random.one_in(2) {
            self.push(&[0xcc; 11][..usize::try_from(random.below(12)).expect("it is small")]);
        }
        start
    }

    /// `mov eax, number`, perhaps something, `syscall`, perhaps something, and rax is out of the way.
    fn system_call(&mut self, random: &mut Random) {
        for _ in 0..random.below(3) {
            self.harmless(random);
        }
        let number = random.pick(&NUMBERS);
        match random.below(4) {
            0 if number < 128 => self.push(&[0x6a, number.to_le_bytes()[0], 0x58]),
            1 => self.push(&[&[0x48, 0xc7, 0xc0][..], &number.to_le_bytes()].concat()),
            // It may be reached with another number.
            2 => self.push(&MOV_OF_NOPS),
            _ => self.push(&[&[0xb8][..], &number.to_le_bytes()].concat()),
        }
        for _ in 0..random.below(3) {
            self.harmless(random);
        }
        self.push(&[0x0f, 0x05]);
        for _ in 0..random.below(4) {
            self.harmless(random);
        }
        let register = random.pick(&REGISTERS);
        self.push(&register_pair(0x89, RAX, register));
        self.push(&MOV_OF_NOPS);
    }

    /// An instruction that leaves rax and the flow of control alone.
    fn harmless(&mut self, random: &mut Random) {
        let (left, right) = (random.pick(&REGISTERS), random.pick(&REGISTERS));
        let slot = (0_u8).wrapping_sub(8 * (1 + random.byte() % RED_ZONE_WORDS));
        let condition = random.byte() & 15;
        match random.below(17) {
            0 => self.push(&register_pair(0x89, left, right)),
            1 => self.push(&register_pair(random.pick(&[0x01, 0x29, 0x11, 0x19, 0x31, 0x39, 0x85]), left, right)),
            2 => self.push(&with_immediate(left, random.next())),
            3 => self.push(&[rex(0, left), 0x83, random.pick(&[0xc0, 0xe8, 0xf8]) | left & 7, random.byte()]),
            // The red zone.
            4 | 5 => self.push(&[rex(left, 4), 0x89, 0x44 | (left & 7) << 3, 0x24, slot]),
            6 => self.push(&[rex(left, 4), 0x8b, 0x44 | (left & 7) << 3, 0x24, slot]),
            // setcc, cmovcc.
            7 | 8 => self.push(&[rex(0, left), 0x0f, 0x90 | condition, 0xc0 | left & 7]),
            9 => self.push(&[rex(left, right), 0x0f, 0x40 | condition, 0xc0 | (left & 7) << 3 | right & 7]),
            // pushfq and pop.
            10 => self.push(&[0x9c, 0x40 | left >> 3, 0x58 | left & 7]),
            11 => {
                self.push(random.pick(&[&[0xf8][..], &[0xf9], &[0xf5], &[0x90], &[0x66, 0x90], &[0x0f, 0x1f, 0x40, 0]]))
            }
            // mov register, r11 or rcx: what a system call leaves there.
            12 | 13 => {
                let source = random.pick(&[11, RCX]);
                self.push(&register_pair(0x89, source, left));
            }
            14 => self.push(&[rex(0, left), 0xff, 0xc0 | left & 7]),
            // shl register, cl.
            15 => self.push(&[rex(0, left), 0xd3, 0xe0 | left & 7]),
            _ => self.push(&[rex(0, left), 0x0f, 0xba, 0xe0 | left & 7, random.byte()]),
        }
    }

    fn plain(&mut self, random: &mut Random) {
        if random.one_in(8) {
            // mov register, [rip + table 0], which is there in any case.
            let register = random.pick(&REGISTERS);
            let load = [rex(register, 0), 0x8b, 0x05 | (register & 7) << 3];
            self.push_fixed(&load, Fix::Table { number: 0, is_relative: true });
        } else {
            self.harmless(random);
        }
    }

    /// A branch whose target [`Self::aim`] will set.
    fn branch(&mut self, random: &mut Random, start: usize) {
        let nowhere = Label { item: usize::MAX, inside: 0 };
        let table = self.tables.len();
        match random.below(16) {
            0..=2 => {
                let (short, long) = random.pick(&CONDITIONAL);
                self.push_fixed(&[], Fix::Branch { short, long, to: nowhere });
            }
            3 => self.push_fixed(&[], Fix::Branch { short: &[0xeb], long: &[0xe9], to: nowhere }),
            // jrcxz; there is no long form, so nop and jc stand for it.
            4 => self.push_fixed(&[], Fix::Branch { short: &[0xe3], long: &[0x90, 0x0f, 0x82], to: nowhere }),
            5 | 6 => {
                // dec r15d; jns to somewhere before.
                let label = self.any(random, start, self.items.len());
                let is_target = self.items.get(label.item).is_some_and(|_| self.is_target(label.item));
                // Otherwise to the dec itself.
                let to = if is_target { label } else { Label { item: self.items.len(), inside: 0 } };
                self.push(&[0x41, 0xff, 0xcf]);
                self.push_fixed(&[], Fix::Branch { short: &[0x79], long: &[0x0f, 0x89], to });
            }
            7 => {
                // lea rdx, [rip + label]; jmp rdx.
                self.push_fixed(&[0x48, 0x8d, 0x15], Fix::Relative { to: nowhere });
                self.push(&[0xff, 0xe2]);
            }
            8 => {
                // lea rdx, [rip + label]; add rdx, how far another label is; jmp rdx.
                self.push_fixed(&[0x48, 0x8d, 0x15], Fix::Relative { to: nowhere });
                self.push_fixed(&[0x48, 0x81, 0xc2], Fix::Between { from: nowhere, to: nowhere });
                self.push(&[0xff, 0xe2]);
            }
            9 => {
                // push label; ret.
                self.push_fixed(&[0x68], Fix::Absolute { to: nowhere });
                self.push(&[0xc3]);
            }
            10 => {
                // mov edx, label; jmp rdx.
                self.push_fixed(&[0xba], Fix::Absolute { to: nowhere });
                self.push(&[0xff, 0xe2]);
            }
            11 | 12 => {
                // and ecx, 3; jmp [rcx * 8 + table].
                self.tables.push(Table::Addresses(vec![nowhere; 4]));
                self.push(&[0x83, 0xe1, 3]);
                self.push_fixed(&[0xff, 0x24, 0xcd], Fix::Table { number: table, is_relative: false });
            }
            13 | 14 => {
                // lea r9, [rip + table]; and ecx, 3; movsxd rcx, [r9 + rcx * 4]; add rcx, r9; jmp rcx.
                self.tables.push(Table::Distances(vec![nowhere; 4], None));
                self.push_fixed(&[0x4c, 0x8d, 0x0d], Fix::Table { number: table, is_relative: true });
                self.push(&[0x83, 0xe1, 3, 0x49, 0x63, 0x0c, 0x89, 0x4c, 0x01, 0xc9, 0xff, 0xe1]);
            }
            _ => {
                // lea r9, [rip + label]; and ecx, 3; movsxd rcx, [rcx * 4 + table]; add rcx, r9; jmp rcx.
                let from = self.any(random, start, self.items.len());
                self.tables.push(Table::Distances(vec![nowhere; 4], Some(from)));
                self.push_fixed(&[0x4c, 0x8d, 0x0d], Fix::Relative { to: from });
                self.push(&[0x83, 0xe1, 3]);
                self.push_fixed(&[0x48, 0x63, 0x0c, 0x8d], Fix::Table { number: table, is_relative: false });
                self.push(&[0x4c, 0x01, 0xc9, 0xff, 0xe1]);
            }
        }
    }

    /// A label at some item, or inside one that is made for it.
    fn any(&self, random: &mut Random, start: usize, end: usize) -> Label {
        let count = u64::try_from(end - start).expect("a function is short").max(1);
        let item = start + usize::try_from(random.below(count)).expect("a function is short");
        let is_open = self.items.get(item).is_some_and(|item| item.bytes == MOV_OF_NOPS);
        Label { item, inside: if is_open && random.one_in(4) { random.byte() % 5 } else { 0 } }
    }

    /// Gives a target behind it to every branch of a function that has none.
    fn aim(&mut self, random: &mut Random, start: usize, end: usize) {
        for index in start..end {
            // What a branch consists of is never entered in the middle, as that may lead anywhere.
            let first = (index + 1..end).find(|&item| self.is_target(item)).unwrap_or(end);
            let mut target = || loop {
                let label = self.any(random, first, end + 1);
                if label.item == end || self.is_target(label.item) {
                    return label;
                }
            };
            let fix = match self.items[index].fix {
                Some(Fix::Branch { short, long, to }) if to.item == usize::MAX => {
                    Fix::Branch { short, long, to: target() }
                }
                Some(Fix::Relative { to }) if to.item == usize::MAX => Fix::Relative { to: target() },
                Some(Fix::Absolute { .. }) => Fix::Absolute { to: target() },
                Some(Fix::Between { .. }) => {
                    let Some(Fix::Relative { to: from }) = self.items[index - 1].fix else {
                        unreachable!("a label comes first")
                    };
                    Fix::Between { from, to: target().outside() }
                }
                Some(Fix::Table { number, is_relative }) => {
                    let targets: Vec<Label> = (0..4).map(|_| target()).collect();
                    match &mut self.tables[number] {
                        Table::Addresses(labels) if labels[0].item == usize::MAX => *labels = targets,
                        Table::Distances(labels, _) if labels[0].item == usize::MAX => {
                            *labels = targets.into_iter().map(Label::outside).collect();
                        }
                        Table::Addresses(_) | Table::Distances(..) => {}
                    }
                    Fix::Table { number, is_relative }
                }
                _ => continue,
            };
            self.items[index].fix = Some(fix);
        }
    }

    /// Whether a branch may lead to an item.
    fn is_target(&self, item: usize) -> bool {
        let is_branch_part = |bytes: &[u8]| {
            bytes.ends_with(&[0xff, 0xe2])
                || bytes.ends_with(&[0xff, 0xe1])
                || bytes == [0xc3]
                || bytes.starts_with(&[0x83, 0xe1])
        };
        let Item { bytes, fix } = &self.items[item];
        let has_tail = matches!(fix, Some(Fix::Between { .. } | Fix::Absolute { .. } | Fix::Table { .. }));
        let is_counted = matches!(fix, Some(Fix::Branch { short: [0x79], .. }));
        !is_branch_part(bytes) && !has_tail && !is_counted
    }

    /// Sets all registers, calls a function and keeps what it leaves.
    fn call(&mut self, random: &mut Random, function: usize, output: u64) {
        for register in REGISTERS {
            self.push(&with_immediate(register, random.next()));
        }
        self.push(&with_immediate(R15, random.below(5)));
        self.push(&MOV_OF_NOPS);
        // cmp eax, number: flags are nobody's behind a return, so the last function's must not be seen.
        self.push(&[0x3d, random.byte(), random.byte(), random.byte(), random.byte()]);
        // Something definite in the red zone.
        for slot in 1..=RED_ZONE_WORDS {
            self.push(&[0x48, 0x89, 0x44, 0x24, (0_u8).wrapping_sub(8 + 8 * slot)]);
        }
        let to = Label { item: function, inside: 0 };
        self.push_fixed(&[], Fix::Branch { short: &[0xe8], long: &[0xe8], to });
        let mut place = output;
        let mut keep = |assembler: &mut Self, register: u8| {
            let address = u32::try_from(place).expect("data lies low").to_le_bytes();
            assembler.push(&[&[rex(register, 0), 0x89, 0x04 | (register & 7) << 3, 0x25][..], &address].concat());
            place += 8;
        };
        for register in PRINTED {
            keep(self, register);
        }
        for slot in 1..=RED_ZONE_WORDS {
            self.push(&[0x48, 0x8b, 0x44, 0x24, (0_u8).wrapping_sub(8 + 8 * slot)]);
            keep(self, RAX);
        }
    }

    /// write(1, output, size); exit(0).
    fn print(&mut self, size: u64) {
        for (register, value) in [(RAX, 1), (7, 1), (6, OUTPUT), (RDX, size)] {
            self.push(&with_immediate(register, value));
        }
        self.push(&[0x0f, 0x05]);
        self.push(&[0x31, 0xff, 0xb8, 231, 0, 0, 0, 0x0f, 0x05, 0xf4]);
    }
}

impl Assembler {
    /// Lays everything out, makes branches long until all are near enough, and writes the file.
    fn finish(&self, entry: usize) -> Vec<u8> {
        let mut is_long: Vec<bool> =
            self.items.iter().map(|item| matches!(item.fix, Some(Fix::Branch { short: [0xe8], .. }))).collect();
        let layout = loop {
            let layout = self.layout(&is_long);
            let mut is_settled = true;
            for (index, item) in self.items.iter().enumerate() {
                if let Some(Fix::Branch { to, .. }) = item.fix
                    && !is_long[index]
                    && i8::try_from(layout.distance(layout.end(index), to)).is_err()
                {
                    is_long[index] = true;
                    is_settled = false;
                }
            }
            if is_settled {
                break layout;
            }
        };
        let mut text = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            text.extend(self.encode(item, &layout, index, is_long[index]));
        }
        let mut data = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            data.resize(number * TABLE_STRIDE, 0);
            match table {
                Table::Addresses(labels) => {
                    labels.iter().for_each(|&label| data.extend(layout.address(label).to_le_bytes()))
                }
                Table::Distances(labels, from) => {
                    let base = from.map_or(table_address(number), |from| layout.address(from));
                    labels.iter().for_each(|&label| data.extend(layout.distance(base, label).to_le_bytes()));
                }
            }
        }
        elf(layout.address(Label { item: entry, inside: 0 }), &text, &data)
    }

    fn layout(&self, is_long: &[bool]) -> Layout {
        let mut addresses = vec![TEXT];
        for (item, &is_long) in self.items.iter().zip(is_long) {
            let size = item.bytes.len()
                + match item.fix {
                    None => 0,
                    Some(Fix::Branch { short, long, .. }) => {
                        if is_long {
                            long.len() + 4
                        } else {
                            short.len() + 1
                        }
                    }
                    Some(_) => 4,
                };
            let last = addresses[addresses.len() - 1];
            addresses.push(last + u64::try_from(size).expect("an item is small"));
        }
        Layout(addresses)
    }

    fn encode(&self, item: &Item, layout: &Layout, index: usize, is_long: bool) -> Vec<u8> {
        let mut bytes = item.bytes.clone();
        let end = layout.end(index);
        let low = |address: u64| u32::try_from(address).expect("everything lies low").to_le_bytes();
        match item.fix {
            None => {}
            Some(Fix::Branch { long, to, .. }) if is_long => {
                bytes.extend(long);
                bytes.extend(layout.distance(end, to).to_le_bytes());
            }
            Some(Fix::Branch { short, to, .. }) => {
                bytes.extend(short);
                bytes.extend(i8::try_from(layout.distance(end, to)).expect("it is near").to_le_bytes());
            }
            Some(Fix::Relative { to }) => bytes.extend(layout.distance(end, to).to_le_bytes()),
            Some(Fix::Absolute { to }) => bytes.extend(low(layout.address(to))),
            Some(Fix::Between { from, to }) => bytes.extend(layout.distance(layout.address(from), to).to_le_bytes()),
            Some(Fix::Table { number, is_relative: false }) => bytes.extend(low(table_address(number))),
            Some(Fix::Table { number, is_relative: true }) => {
                bytes.extend(between(end, table_address(number)).to_le_bytes())
            }
        }
        bytes
    }
}

/// The addresses of all items, and the end of the last one.
struct Layout(Vec<u64>);

impl Layout {
    fn address(&self, label: Label) -> u64 {
        self.0[label.item] + u64::from(label.inside)
    }

    fn end(&self, item: usize) -> u64 {
        self.0[item + 1]
    }

    fn distance(&self, from: u64, to: Label) -> i32 {
        between(from, self.address(to))
    }
}

fn between(from: u64, to: u64) -> i32 {
    i32::try_from(to.cast_signed() - from.cast_signed()).expect("a program is small")
}

fn table_address(number: usize) -> u64 {
    DATA + u64::try_from(number * TABLE_STRIDE).expect("there are few tables")
}

fn rex(register: u8, memory: u8) -> u8 {
    0x48 | register >> 3 << 2 | memory >> 3
}

/// An instruction of two registers, the second of which it may write.
fn register_pair(opcode: u8, source: u8, destination: u8) -> [u8; 3] {
    [rex(source, destination), opcode, 0xc0 | (source & 7) << 3 | destination & 7]
}

/// mov register, value.
fn with_immediate(register: u8, value: u64) -> Vec<u8> {
    [&[rex(0, register), 0xb8 | register & 7][..], &value.to_le_bytes()].concat()
}

/// A file with code, data and a header to spare.
fn elf(entry: u64, text: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x1000];
    bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    bytes[20] = 1;
    bytes[24..32].copy_from_slice(&entry.to_le_bytes());
    (bytes[32], bytes[52], bytes[54], bytes[56]) = (64, 64, 56, 3);
    let size = |bytes: &[u8]| u64::try_from(bytes.len()).expect("a program is small");
    let data_offset = (0x1000 + size(text)).next_multiple_of(0x1000);
    let segments = [
        (5_u8, 0x1000, TEXT, size(text), size(text)),
        (6, data_offset, DATA, size(data), OUTPUT - DATA + FUNCTIONS * OUTPUT_SIZE),
    ];
    for (index, (flags, offset, address, file_size, memory_size)) in segments.into_iter().enumerate() {
        let at = 64 + index * 56;
        (bytes[at], bytes[at + 4]) = (1, flags);
        for (field, value) in [offset, address, address, file_size, memory_size, 0x1000].into_iter().enumerate() {
            bytes[at + 8 + field * 8..at + 16 + field * 8].copy_from_slice(&value.to_le_bytes());
        }
    }
    bytes.extend(text);
    bytes.resize(usize::try_from(data_offset).expect("a program is small"), 0);
    bytes.extend(data);
    bytes
}

/// Conditional branches, short and long.
const CONDITIONAL: [(&[u8], &[u8]); 6] = [
    (&[0x72], &[0x0f, 0x82]),
    (&[0x74], &[0x0f, 0x84]),
    (&[0x75], &[0x0f, 0x85]),
    (&[0x76], &[0x0f, 0x86]),
    (&[0x78], &[0x0f, 0x88]),
    (&[0x7f], &[0x0f, 0x8f]),
];
