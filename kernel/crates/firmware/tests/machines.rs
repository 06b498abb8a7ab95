//! The parsers on what real machines told: memory of QEMU 7.2 at the kernel's entry (`-m 64M`, one processor), as a list
//! of segments (address, length, bytes), and on the same memory with bytes changed at random.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use firmware::acpi::{FixedEvents, GenericAddress, Polarity, Space, Tables, TriggerMode, aml};
use firmware::command_line::{self, VirtioMmioDevice};
use firmware::{PhysicalMemory, Protocol, RegionKind, pvh, read_command_line};

const MICROVM: &[u8] = include_bytes!("data/microvm.dump");
const MICROVM_NO_ACPI: &[u8] = include_bytes!("data/microvm-no-acpi.dump");
const Q35: &[u8] = include_bytes!("data/q35.dump");
const PC: &[u8] = include_bytes!("data/pc.dump");

/// The segments of a dump; the first one is the start information.
struct Dump {
    segments: Vec<(u64, Vec<u8>)>,
}

impl Dump {
    fn new(mut bytes: &[u8]) -> Self {
        let mut segments = Vec::new();
        while !bytes.is_empty() {
            let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
            segments.push((address, bytes[12..12 + len].to_vec()));
            bytes = &bytes[12 + len..];
        }
        Self { segments }
    }

    fn start_information(&self) -> u64 {
        self.segments[0].0
    }

    fn dsdt(&self, address: u64) -> Vec<u8> {
        firmware::acpi::Table::at(self, address)
            .map(|table| {
                let mut buffer = vec![0; table.len_bytes as usize];
                table.read(self, &mut buffer).unwrap();
                buffer
            })
            .unwrap()
    }
}

impl PhysicalMemory for Dump {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        for (start, bytes) in &self.segments {
            let Some(offset) = address.checked_sub(*start).and_then(|offset| usize::try_from(offset).ok()) else {
                continue;
            };
            if let Some(part) = bytes.get(offset..offset.saturating_add(out.len())) {
                out.copy_from_slice(part);
                return true;
            }
        }
        false
    }
}

fn port(port: u16, width_bits: u8) -> Option<GenericAddress> {
    Some(GenericAddress { space: Space::Port(port), width_bits })
}

#[test]
fn microvm() {
    let dump = Dump::new(MICROVM);
    let boot = pvh::read(&dump, dump.start_information()).unwrap();
    assert_eq!(boot.protocol, Protocol::Pvh);
    assert_eq!(boot.ramdisk, None);
    let usable: Vec<_> = boot.memory_map.usable().map(|region| (region.start, region.end)).collect();
    assert_eq!(usable, [(0, 0x9_fc00), (0x10_0000, 0x400_0000)]);
    assert!(boot.memory_map.regions().iter().any(|region| region.kind == RegionKind::AcpiNvs));
    let mut line = [0; 256];
    assert_eq!(read_command_line(&dump, boot.command_line.unwrap(), &mut line), b"log=debug tty=0,1,2");

    let tables = Tables::find(&dump, boot.rsdp).unwrap();
    let madt = tables.madt(&dump).unwrap();
    assert_eq!(madt.local_apic_address, 0xfee0_0000);
    let io_apics: Vec<_> = madt.io_apics().map(|io_apic| (io_apic.address, io_apic.first_interrupt)).collect();
    assert_eq!(io_apics, [(0xfec0_0000, 0), (0xfec1_0000, 24)]);
    assert_eq!(madt.processors().count(), 1);
    assert!(tables.mcfg(&dump).is_none());

    let fadt = tables.fadt(&dump).unwrap();
    assert!(fadt.is_hardware_reduced && !fadt.has_fixed_power_button && fadt.events.is_none());
    assert_eq!(fadt.sleep_control, Some(GenericAddress { space: Space::Memory(0xfea0_0200), width_bits: 8 }));
    assert_eq!(fadt.reset, Some((GenericAddress { space: Space::Memory(0xfea0_0202), width_bits: 8 }, 0x42)));
    assert_eq!(fadt.timer, None);

    let dsdt = dump.dsdt(fadt.dsdt.unwrap());
    assert_eq!(aml::sleep_type(&dsdt, *b"_S5_"), Some((5, 0)));
    let devices: Vec<_> = aml::virtio_mmio_devices(&dsdt).collect();
    assert_eq!(
        devices,
        [
            VirtioMmioDevice { address: 0xfeb0_2e00, len_bytes: 512, interrupt: 47 },
            VirtioMmioDevice { address: 0xfeb0_2c00, len_bytes: 512, interrupt: 46 },
        ]
    );
    let events = aml::generic_event_device(&dsdt).unwrap();
    assert_eq!((events.interrupt, events.selector), (9, 0xfea0_0000));
}

#[test]
fn microvm_without_acpi() {
    let dump = Dump::new(MICROVM_NO_ACPI);
    let boot = pvh::read(&dump, dump.start_information()).unwrap();
    assert!(Tables::find(&dump, boot.rsdp).is_err());
    let mut buffer = [0; 256];
    let line = read_command_line(&dump, boot.command_line.unwrap(), &mut buffer);
    let devices: Vec<_> = command_line::virtio_mmio_devices(line).collect();
    assert_eq!(
        devices,
        [
            VirtioMmioDevice { address: 0xfeb0_0e00, len_bytes: 512, interrupt: 12 },
            VirtioMmioDevice { address: 0xfeb0_0c00, len_bytes: 512, interrupt: 11 },
        ]
    );
}

#[test]
fn q35() {
    let dump = Dump::new(Q35);
    let boot = pvh::read(&dump, dump.start_information()).unwrap();
    let tables = Tables::find(&dump, boot.rsdp).unwrap();
    let madt = tables.madt(&dump).unwrap();
    assert!(madt.has_8259);
    let timer = madt.isa_interrupt(0);
    assert_eq!((timer.interrupt, timer.polarity, timer.trigger_mode), (2, Polarity::Bus, TriggerMode::Bus));
    let system_control = madt.isa_interrupt(9);
    assert_eq!((system_control.polarity, system_control.trigger_mode), (Polarity::High, TriggerMode::Level));
    assert_eq!(madt.isa_interrupt(4).interrupt, 4);

    let windows: Vec<_> = tables.mcfg(&dump).unwrap().windows().collect();
    assert_eq!(windows.len(), 1);
    assert_eq!((windows[0].address, windows[0].first_bus, windows[0].last_bus), (0xb000_0000, 0, 255));

    let fadt = tables.fadt(&dump).unwrap();
    assert!(!fadt.is_hardware_reduced && fadt.has_fixed_power_button);
    assert_eq!(fadt.pm1a_control, port(0x604, 16));
    assert_eq!(fadt.pm1b_control, None);
    assert_eq!(fadt.sleep_control, None);
    assert_eq!(fadt.reset, Some((port(0xcf9, 8).unwrap(), 0x0f)));
    assert_eq!(fadt.events, Some(FixedEvents { status: 0x600, enable: 0x602, interrupt: 9 }));
    assert_eq!(fadt.enable_command, Some((0xb2, 2)));
    assert_eq!(fadt.timer, Some((port(0x608, 32).unwrap(), false)));
    assert_eq!(fadt.century_register, Some(0x32));
    let dsdt = dump.dsdt(fadt.dsdt.unwrap());
    assert_eq!(aml::sleep_type(&dsdt, *b"_S5_"), Some((0, 0)));
    assert_eq!(aml::virtio_mmio_devices(&dsdt).count(), 0);
    assert_eq!(aml::generic_event_device(&dsdt), None);
}

#[test]
fn pc() {
    let dump = Dump::new(PC);
    let boot = pvh::read(&dump, dump.start_information()).unwrap();
    let tables = Tables::find(&dump, boot.rsdp).unwrap();
    assert!(tables.mcfg(&dump).is_none());
    // A table of ACPI 1: 116 bytes, ports only.
    let fadt = tables.fadt(&dump).unwrap();
    assert_eq!(fadt.pm1a_control, port(0x604, 16));
    assert_eq!(fadt.reset, None);
    assert_eq!(fadt.enable_command, Some((0xb2, 0xf1)));
    assert_eq!(fadt.timer, Some((port(0x608, 32).unwrap(), false)));
    let dsdt = dump.dsdt(fadt.dsdt.unwrap());
    assert_eq!(aml::sleep_type(&dsdt, *b"_S5_"), Some((0, 0)));
}

/// Everything that the kernel asks, on memory that lies.
fn ask_everything(dump: &Dump) {
    let Ok(boot) = pvh::read(dump, dump.start_information()) else { return };
    let mut buffer = [0; 256];
    let line = boot.command_line.map(|address| read_command_line(dump, address, &mut buffer)).unwrap_or_default();
    let _ = command_line::Options::parse(line);
    let _ = command_line::virtio_mmio_devices(line).count();
    let Ok(tables) = Tables::find(dump, boot.rsdp) else { return };
    let _ = tables.madt(dump).map(|madt| madt.processors().count() + madt.io_apics().count());
    let _ = tables.mcfg(dump).map(|mcfg| mcfg.windows().count());
    let _ = tables.fadt(dump);
}

#[test]
fn lies_do_no_harm() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    println!("seed {state:#x}");
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap()
    };
    for machine in [MICROVM, Q35, PC] {
        for _ in 0..2000 {
            let mut dump = Dump::new(machine);
            for _ in 0..1 + random() % 8 {
                let segment = random() % dump.segments.len();
                let bytes = &mut dump.segments[segment].1;
                let at = random() % bytes.len().min(64);
                bytes[at] = random().to_le_bytes()[0];
                // Make the sums right again, or the tables would be refused before they are parsed.
                if bytes.len() > 40 && at != 9 {
                    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                    bytes[9] = bytes[9].wrapping_sub(sum);
                }
            }
            ask_everything(&dump);
        }
    }
}

#[test]
fn a_lying_definition_block_does_no_harm() {
    let dump = Dump::new(MICROVM);
    let block = dump.segments.iter().map(|(_, bytes)| bytes).find(|bytes| bytes.starts_with(b"DSDT")).unwrap();
    for at in 0..block.len() {
        for value in [0, 1, 0x3f, 0x7f, 0x80, 0xc0, 0xff] {
            let mut block = block.clone();
            block[at] = value;
            let _ = aml::sleep_type(&block, *b"_S5_");
            let _ = aml::virtio_mmio_devices(&block).count();
            let _ = aml::generic_event_device(&block);
            let _ = aml::virtio_mmio_devices(&block[..at]).count();
        }
    }
}
